# Completion of fusewire for bash.
_fusewire() {
  local cur prev words cword command="" i
  _init_completion 2>/dev/null || {
    cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} words=("${COMP_WORDS[@]}") cword=$COMP_CWORD
  }
  for ((i = 1; i < cword; i++)); do
    case ${words[i]} in
      run | trace | fs | ps | abort | umount | doctor) command=${words[i]}; break ;;
    esac
  done
  case $command in
    "") mapfile -t COMPREPLY < <(compgen -W "run trace fs ps abort umount doctor --help --version" -- "$cur") ;;
    run)
      case $prev in --trace | --gate) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;; esac
      case $cur in
        -*) mapfile -t COMPREPLY < <(compgen -W "--trace --gate --native-setid --report --view-after --verbose --help" -- "$cur") ;;
        *) mapfile -t COMPREPLY < <(compgen -c -f -- "$cur") ;;
      esac ;;
    trace)
      case $prev in
        --gate) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
        --on) mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
      esac
      case $cur in
        -*) mapfile -t COMPREPLY < <(compgen -W "--on --call --json --gate --help" -- "$cur") ;;
        *) mapfile -t COMPREPLY < <(compgen -c -f -- "$cur") ;;
      esac ;;
    fs)
      case $cur in
        -*) mapfile -t COMPREPLY < <(compgen -W "--foreground --options --threads --help" -- "$cur") ;;
        *)
          if [ "$prev" = fs ]; then
            mapfile -t COMPREPLY < <(compgen -W "memfs" -- "$cur")
          else
            mapfile -t COMPREPLY < <(compgen -d -- "$cur")
          fi ;;
      esac ;;
    ps) mapfile -t COMPREPLY < <(compgen -W "--json --help" -- "$cur") ;;
    doctor) mapfile -t COMPREPLY < <(compgen -W "--json --gate --help" -- "$cur") ;;
    abort)
      case $cur in
        -*) COMPREPLY=(--help) ;;
        *) mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
      esac ;;
    umount)
      case $cur in
        -*) mapfile -t COMPREPLY < <(compgen -W "--force --lazy --help" -- "$cur") ;;
        *) mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
      esac ;;
  esac
}
complete -o filenames -F _fusewire fusewire
