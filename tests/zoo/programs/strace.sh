# packages: strace gcc
# A program of the mount is followed to its end.
set -e
echo 'int main(void) { return 0; }' > m.c; gcc m.c -o m
strace -f -o t ./m && grep -c 'exit_group(0)' t
