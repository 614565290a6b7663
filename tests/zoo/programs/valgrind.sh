# packages: valgrind gcc
# An invalid write is found.
set -e
printf '#include <stdlib.h>\nint main(void) { char* p = malloc(10); p[10] = 1; free(p); return 0; }\n' > m.c; gcc -g m.c -o m
valgrind -q ./m 2>&1 | grep -c 'Invalid write'
