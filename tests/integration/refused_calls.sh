# outside the namespace
# Where a container's filter refuses a system call, a run works all the same, or its first message names the call and
# doctor does too. Root meets EPERM, users ENOSYS.
. "$SCENARIO/lib.sh"
[ "$WHO" = root ] && error=1 || error=38
cat > steps << 'END'
set -e
cd "$(mktemp -d "$HOME/steps.XXXX")"
mkdir m
[ "$1" = native ] || fusewire fs memfs m
ls -la m > /dev/null
echo hi > m/f
test "$(cat m/f)" = hi
cp /bin/true m/true
m/true
mkdir m/d
mv m/f m/d/g
stat m/d/g > /dev/null
rm -r m/d
[ "$1" = native ] || fusewire umount m
END
works_or_says() {
  timeout 60 refuse "$error" "$1" fusewire run -- bash steps virtual > said 2>&1 && return 0
  head -1 said | grep -qw "$1" || { echo "the first message: $(head -1 said)"; return 1; }
  refuse "$error" "$1" fusewire doctor | grep -qE "^(no|limited) .*system call $1 "
}
for call in $(refuse --list); do
  # What the shell and its programs cannot do without cannot be tried.
  timeout 60 refuse "$error" "$call" bash steps native > /dev/null 2>&1 || continue
  rule "$call refused: it works, or the first message names it" works_or_says "$call"
done
rule "a filter that refuses nothing that Fusewire needs is no finding" bash -c 'fusewire doctor | grep -q "^ok .*system calls "'
rule "what is done in another way is said" bash -c 'refuse 1 faccessat2 fusewire doctor | grep -q "^limited .*system call faccessat2 "'
finish
