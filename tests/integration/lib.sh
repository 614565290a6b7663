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
# 32 threads in one program and 16 programs at once, for a minute, on the mount mnt.
stress_mnt() {
  local pids=() i pid
  stress 32 "${SOAK:-60}" mnt & pids+=($!)
  for i in $(seq 16); do stress 2 "${SOAK:-60}" mnt "p$i" & pids+=($!); done
  for pid in "${pids[@]}"; do wait "$pid" || broken=$((broken + 1)); done
  rule "everything was removed" test -z "$(ls -A mnt)"
  rule "no request is lost" test "$(connection_of mnt waiting)" = 0
}
finish() {
  if [ $broken -gt 0 ]; then echo "$broken rules broken"; exit 1; fi
  exit 0
}
