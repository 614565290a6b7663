# packages: strace gcc
set -e
echo 'int main(void) { return 0; }' > m.c; gcc m.c -o m
strace -f -o t ./m && grep -c 'exit_group(0)' t; strace -e trace=none -p $$ -o /dev/null true 2> /dev/null || true
