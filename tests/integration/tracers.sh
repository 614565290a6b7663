. "$SCENARIO/lib.sh"
mkdir mnt
rule "memfs mounts" fusewire fs memfs mnt
echo 'int main(void) { return 5; }' > program.c
rule "a program is built" gcc -g program.c -o mnt/program
has() { command -v "$1" > /dev/null || { echo "cannot be tried here: $1"; return 1; }; }
started_by_gdb() { gdb -nx -batch -iex 'set debuginfod enabled off' -iex 'handle SIGSYS nostop noprint pass' -ex run mnt/program; }
has gdb && rule_sh "gdb starts a program" "$(declare -f started_by_gdb); started_by_gdb 2>&1 | grep 'exited with code 05'"
has strace && rule_sh "strace starts a program" 'strace -o out mnt/program || test $? = 5; grep "exited with 5" out'
has valgrind && rule_sh "valgrind runs a program" 'valgrind -q mnt/program || test $? = 5'
rule "umount" fusewire umount mnt
finish
