. "$SCENARIO/lib.sh"
mkdir mnt
rule "memfs mounts" fusewire fs memfs mnt
printf 'int answer = 4;\nint f(int x) { return x + answer; }\nint main(void) { return f(1); }\n' > program.c
rule "a program is built" gcc -g program.c -o mnt/program
has() { command -v "$1" > /dev/null || { echo "cannot be tried here: $1"; return 1; }; }
under_gdb() { gdb -q -nx -batch -iex 'set debuginfod enabled off' "$@" mnt/program; }
has gdb && rule_sh "gdb starts a program" "$(declare -f under_gdb); under_gdb -ex run 2>&1 | grep 'exited with code 05'"
has gdb && rule_sh "gdb stops it at a breakpoint and reads its memory" "$(declare -f under_gdb)
  under_gdb -ex 'break f' -ex run -ex bt -ex 'print x + answer' -ex continue > out 2>&1 && grep '^#1 .* in main () at program.c:3' out && grep '^\$1 = 5' out && grep 'exited with code 05' out"
has gdb && rule_sh "a debugger sees no signal of the gate's" "! grep SIGSYS out"
has strace && rule_sh "strace starts a program" 'strace -o out mnt/program || test $? = 5; grep "exited with 5" out'
has strace && rule_sh "strace follows six hundred processes, one after the other, each to its end" \
  'strace -f -o out sh -c "for i in $(seq -s " " 600); do /bin/true; done"; test $(grep -c "+++ exited with 0 +++" out) = 601'
has valgrind && rule_sh "valgrind runs a program" 'valgrind -q mnt/program || test $? = 5'
rule "umount" fusewire umount mnt
finish
