# A `fusewire run` in a namespace: what is mounted around it is seen in it, what is mounted in it is seen there alone.
. "$SCENARIO/lib.sh"
mkdir -p m src n k
rule "a mount around" fusewire fs memfs m
echo outer > m/file
mkdir m/dir
echo native > src/x
in_run() { fusewire run -- bash -c "set -e -o pipefail; $1"; }
said() { # what is expected, then a command
  local wanted=$1 got
  shift
  got=$("$@" 2>&1)
  [ "$got" = "$wanted" ] || { echo "wanted '$wanted', got '$got'"; return 1; }
}
rule "its files are read in an inner run" said outer fusewire run -- cat m/file
rule "three runs deep" said outer fusewire run -- fusewire run -- fusewire run -- cat m/file
rule "without any environment" said outer env -i "$(command -v fusewire)" run -- /bin/cat m/file
rule "the working directory stays in the mount" said dir bash -c 'cd m/dir && fusewire run -- sh -c "ls .. | head -1"'
rule "standard input is a file of it" said outer bash -c 'fusewire run -- cat < m/file'
rule_sh "standard output is one" 'fusewire run -- echo "out of it" > m/out && [ "$(cat m/out)" = "out of it" ]'
rule_sh "a descriptor reaches the command" 'exec 7>> m/out; fusewire run -- sh -c "echo more >&7"; [ "$(tail -1 m/out)" = more ]'
rule_sh "programs of the mount are executed" 'cp /bin/true m/true && fusewire run -- m/true && rm m/true'
rule "a daemon in it works on files of the mount around" in_run '
  bindfs m n; [ "$(cat n/file)" = outer ]; echo from > n/below; [ "$(cat m/below)" = from ]; fusermount -u n'
rule "/proc/self/mounts lists what is mounted around and in it" in_run "
  fusewire fs memfs n; grep -q '^memfs $PWD/n ' /proc/self/mounts; grep -q '^memfs $PWD/m ' /proc/self/mounts"
rule "symlinks lead from one into the other" in_run '
  fusewire fs memfs n; ln -s "$PWD/n/there" m/to_inner; ln -s "$PWD/m/file" n/to_outer; echo inner > n/there
  [ "$(cat m/to_inner)" = inner ]; [ "$(cat n/to_outer)" = outer ]'
rule_fails "outside of it the symlink leads nowhere" "No such file" cat m/to_inner
rule "what was mounted in it has ended with it" is_free n
rule "so have its daemons" said "" bash -c "ps -eo args | grep '[b]indfs .*$PWD' || true"
rule "what is mounted in it is not seen around it" bash -c '
  mkfifo go gone
  fusewire run -- bash -c "fusewire fs memfs n; echo inner > n/y; echo > go; read -r _ < gone; cat n/y" > said & run=$!
  read -r _ < go
  [ -z "$(ls n)" ] && ! mountpoint -q n && ! grep -q "$PWD/n " /proc/self/mounts; seen=$?
  ! fusewire ps | grep -q "$PWD/n "; listed=$?
  ! fusewire umount n; found=$?
  fusewire fs memfs n; echo mine > n/y
  echo > gone; wait $run; ended=$?
  [ "$(cat said)" = inner ] && [ "$(cat n/y)" = mine ] && fusewire umount n || exit 1
  [ "$seen$listed$found$ended" = 0000 ]'
rule "two inner runs at once mount on one directory" bash -c '
  one() { fusewire run -- bash -c "fusewire fs memfs k; echo $1 > k/who; cat k/who; ls k; fusewire umount k"; }
  one a > a.said & one b > b.said; wait
  [ "$(cat a.said)" = "a
who" ] && [ "$(cat b.said)" = "b
who" ]'
rule "a mount of the middle one is seen in the innermost, and not the other way" in_run '
  fusewire fs memfs n; echo middle > n/f
  fusewire run -- sh -c "cat n/f; fusewire fs memfs k; echo deep > k/f; cat k/f" > said
  [ "$(cat said)" = "middle
deep" ]; [ -z "$(ls k)" ]'
rule_fails "what is mounted around is not unmounted in it" "nvalid argument\|not mounted" fusewire run -- umount m
rule "fusewire ps in it lists both" in_run '
  fusewire fs memfs n; fusewire ps | grep -q "$PWD/m "; fusewire ps | grep "$PWD/n " | grep -q "in inner run"'
rule_fails "fusewire abort in it works by number" "not connected" fusewire run -- bash -c '
  fusewire fs memfs n; id=$(fusewire ps | grep "$PWD/n " | { read -r id _; echo "$id"; }); fusewire abort "$id"; ls n'
rule "fusewire umount too" in_run 'fusewire fs memfs n; fusewire umount n; ! mountpoint -q n'
rule "its exit status" bash -c 'fusewire run -- sh -c "exit 7"; [ $? = 7 ]'
rule "its signal" bash -c 'fusewire run -- sh -c "kill -USR1 \$\$" 2> /dev/null; [ $? = 138 ]'
rule "there is no such command" bash -c 'fusewire run -- nothing-there 2> /dev/null; [ $? = 127 ]'
rule "a signal ends the run and all of its processes" bash -c '
  rm -f go; mkfifo go
  fusewire run -- bash -c "fusewire fs memfs n; echo \$\$ > go; sleep 1000" & run=$!
  read -r shell < go; kill -TERM $run; wait $run; [ $? = 143 ] && ! kill -0 $shell'
rule "a run that is killed takes its mounts along" bash -c '
  rm -f go; mkfifo go
  fusewire run -- bash -c "fusewire fs memfs n; echo \$\$ > go; exec sleep 1000" & run=$!
  read -r shell < go; kill -KILL $run; wait $run
  for i in $(seq 500); do grep -q -a "n is unmounted" "$FUSEWIRE_NAMESPACE/log" && break; sleep 0.02; done
  kill $shell; grep -q -a "n is unmounted" "$FUSEWIRE_NAMESPACE/log"'
rule "--report tells of what was refused in it alone" bash -c '
  fusewire run --report -- python3 -c "
import os, ctypes
ctypes.CDLL(None).acct(b\"m/file\")" 2> report; grep -q acct report
  fusewire run --report -- true 2> report; ! grep -q acct report'
rule "--trace tells of what is mounted in it" bash -c '
  fusewire run --trace "$PWD/trace" -- sh -c "fusewire fs memfs n; echo > n/traced; cat m/file" && grep -q traced trace'
rule "fusewire trace works in it" bash -c 'fusewire trace sh -c "fusewire fs memfs n; mkdir n/d" | grep -q MKDIR'
if [ "$WHO" = root ]; then
  chmod 777 . src n k
  as() { setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; }
  rule "another user's run is one in it too" bash -c "
    $(declare -f as)"'; umount m; fusewire fs memfs -o allow_other m || exit 1; chmod 755 m; echo outer > m/file
    [ "$(as fusewire run -- cat m/file)" = outer ]'
  rule "and he mounts what a user may" bash -c "$(declare -f as)"'
    mkdir -m 700 his; chown 65534 his
    [ "$(as fusewire run -- sh -c "fusewire fs memfs his && echo text > his/f && cat his/f")" = text ] && [ -z "$(ls his)" ]'
fi
rule "umount" fusewire umount m
finish
