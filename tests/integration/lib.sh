# Words of the scenarios. A rule is a sentence and a command that must succeed; every broken one is told, and the
# scenario fails at its end.
broken=0
rule() {
  local text=$1
  shift
  if "$@" > rule.out 2>&1; then
    echo "ok    $text"
  else
    echo "FAIL  $text: $* (status $?)"
    sed 's/^/      | /' rule.out | head -20
    broken=$((broken + 1))
  fi
}
# The same for a line of shell.
rule_sh() { rule "$1" bash -c "set -e -o pipefail; $2"; }
# The command fails, and says the text.
rule_fails() {
  local text=$1 words=$2
  shift 2
  if "$@" > rule.out 2>&1; then
    echo "FAIL  $text: $* succeeded"
    broken=$((broken + 1))
  elif ! grep -q -e "$words" rule.out; then
    echo "FAIL  $text: $* does not say '$words':"
    sed 's/^/      | /' rule.out | head
    broken=$((broken + 1))
  else
    echo "ok    $text"
  fi
}
# Waits until the command succeeds; the limit only ends a run that would hang.
wait_until() {
  local deadline=$((SECONDS + 30))
  until "$@" > /dev/null 2>&1; do
    if [ $SECONDS -gt $deadline ]; then echo "FAIL  never came true: $*"; broken=$((broken + 1)); return 1; fi
    sleep 0.02
  done
}
connection_of() { fusewire ps --json | python3 -c '
import json, sys
for n in json.load(sys.stdin):
    for m in n["mounts"]:
        if m["path"].endswith("/" + sys.argv[1]): print(m[sys.argv[2]])' "$1" "${2:-connection}"; }
# A tree of files, directories, a symlink and names that need care.
make_tree() {
  mkdir -p "$1/sub/deep" "$1/empty"
  for i in $(seq 20); do seq $((i * 300)) > "$1/sub/f$i"; done
  head -c 2000000 /dev/urandom > "$1/sub/deep/random"
  printf x > "$1/sub/with space"
  printf x > "$1/sub/ünïcode"
  : > "$1/zero"
  chmod 640 "$1/sub/f1"
  touch -d "2001-02-03 04:05:06 UTC" "$1/sub/f2"
}
# What a writable file system must do with the tree $1 on the mount $2.
tree_rules() {
  rule "a tree is copied with everything" cp -a "$1" "$2/tree"
  rule "it is the same" diff -r "$1" "$2/tree"
  rule_sh "modes and times too" "cmp <(cd '$1' && find . -type f -printf '%p %s %m %Ts\\n' | sort) <(cd '$2/tree' && find . -type f -printf '%p %s %m %Ts\\n' | sort)"
  rule_sh "append and truncate" "echo more >> '$2/tree/zero' && truncate -s 3 '$2/tree/zero' && test \"\$(cat '$2/tree/zero')\" = mor"
  rule_sh "rename over a file" "mv '$2/tree/sub/f3' '$2/tree/sub/f4' && cmp '$1/sub/f3' '$2/tree/sub/f4' && test ! -e '$2/tree/sub/f3'"
  rule_sh "an open file outlives its name" "exec 7<> '$2/tree/sub/f5'; rm '$2/tree/sub/f5'; test \"\$(head -1 <&7)\" = 1"
  rule_sh "the tree is removed" "rm -rf '$2/tree' && test ! -e '$2/tree'"
}
is_mounted() { mountpoint -q "$1"; }
is_free() { ! mountpoint -q "$1"; }
# 32 threads in one program and 16 programs at once, for a minute, on the mount mnt.
stress_mnt() {
  local pids=() i pid
  stress 32 "${SOAK:-25}" mnt & pids+=($!)
  for i in $(seq 16); do stress 2 "${SOAK:-25}" mnt "p$i" & pids+=($!); done
  for pid in "${pids[@]}"; do wait "$pid" || broken=$((broken + 1)); done
  rule "everything was removed" test -z "$(ls -A mnt)"
  rule "no request is lost" test "$(connection_of mnt waiting)" = 0
}
finish() {
  if [ $broken -gt 0 ]; then echo "$broken rules broken"; exit 1; fi
  exit 0
}
