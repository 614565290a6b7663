# outside the namespace
. "$SCENARIO/lib.sh"
status() { local wanted=$1; shift; "$@" > out 2> err; local got=$?; [ $got = "$wanted" ] || { echo "status $got"; cat err; return 1; }; }
one_line() { [ "$(wc -l < err)" = 1 ]; }
rule "the exit status is the command's" status 7 fusewire run -- sh -c 'exit 7'
rule "128 + signal when it was killed" status 143 fusewire run -- sh -c 'kill -TERM $$'
rule "127 when it is not found" status 127 fusewire run -- no-such-command
rule "126 when it is not executable" status 126 fusewire run -- /etc/passwd
rule "standard input and output are the command's" test "$(echo hello | fusewire run -- cat)" = hello
rule "an unknown option is status 2" status 2 fusewire run --no-such-option
rule "and one line" one_line
rule "an unknown command is status 2" status 2 fusewire no-such-command
rule "and one line" one_line
rule "help is status 0" status 0 fusewire --help
rule "version is status 0" status 0 fusewire --version
rule "doctor says that it can run here" status 0 fusewire doctor
rule "an unknown file system is status 2" status 2 fusewire fs nosuchfs /tmp
rule "umount of nothing is status 2 or 1 with one line" bash -c 'fusewire umount /nowhere 2> err; test $? -ge 1 -a $(wc -l < err) = 1'
rule "abort of nothing fails with one line" bash -c 'fusewire abort 4711 2> err; test $? -ge 1 -a $(wc -l < err) = 1'
mkdir -p mnt
rule "with standard descriptors closed a file system is served" fusewire run -- bash -c 'timeout 20 fusewire fs memfs mnt <&- >&- && echo x > mnt/f && grep -q x mnt/f'
rule "and with all three" fusewire run -- bash -c '(timeout 20 fusewire fs memfs mnt <&- >&- 2>&-) && echo x > mnt/f && grep -q x mnt/f'
rule_fails "a mount option that nobody knows is named" "unknown mount option 'bogus'" fusewire run -- fusewire fs memfs -o bogus mnt
: > file
rule_fails "a directory is not mounted on a file" "it is a file" fusewire fs memfs file
rule "a mount made inside ends with the namespace" fusewire run -- bash -c 'fusewire fs memfs mnt && echo x > mnt/f && cat mnt/f'
rule "nothing was written beneath" test -z "$(ls -A mnt)"
rule "a trace has every step" bash -c 'fusewire run --trace t.jsonl -- bash -c "fusewire fs memfs mnt && : > mnt/f && rm mnt/f" && grep -q "\"UNLINK\"" t.jsonl && python3 -c "import json; [json.loads(l) for l in open(\"t.jsonl\")]"'
for step in call queued read replied ended returned; do
  rule "the trace has $step of UNLINK or its call" grep -q "\"$step\"" t.jsonl
done
rule "trace --on draws the five steps of the unlink" bash -c 'fusewire run -- bash -c "fusewire fs memfs mnt && : > mnt/f && fusewire trace --on mnt -- rm mnt/f" > ladder; for n in 1 2 3 4 5; do grep -q "($n)" ladder || { cat ladder; exit 1; }; done; grep -q UNLINK ladder'
rule "a namespace runs inside another" fusewire run -- bash -c 'fusewire fs memfs mnt && mkdir mnt/deep && fusewire run -- bash -c "mkdir -p inner && fusewire fs memfs inner && echo x > inner/f && cat inner/f" && echo y > mnt/f && cat mnt/f'
rule "a report tells who was refused what, and what it did next" bash -c 'fusewire run --report -- bash -c "fusewire fs memfs mnt && python3 -c \"
import mmap, os
f = os.open(\\\"mnt/f\\\", os.O_RDWR | os.O_CREAT)
os.ftruncate(f, 4096)
for i in range(3):
    try: mmap.mmap(f, 4096)
    except OSError: os.pread(f, 1, 0)
\"" 2> err; grep -E "^ +3  python3 +mmap +ENODEV .*; 3 close" err || { cat err; exit 1; }'
rule "and says so when nothing was" bash -c 'fusewire run --report true 2> err; grep -q "no call was refused" err'
export left=4711.$$  # a sleep of nobody else
rule "a background program left behind is ended" fusewire run -- bash -c 'sleep 4711.$left & exit 0'
rule "it is gone" bash -c '! pgrep -f "^sleep 4711.$left"'
finish
