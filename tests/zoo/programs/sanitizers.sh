# packages: gcc
# quick
# Programs with the thread and address sanitizers, built and run on the mount.
set -e
printf '#include <pthread.h>\n#include <stdio.h>\nint n; void* f(void* x) { n++; return x; }\nint main(void) { pthread_t t; pthread_create(&t, 0, f, 0); pthread_join(t, 0); FILE* g = fopen("out", "w"); fprintf(g, "%%d", n); fclose(g); printf("%%d\\n", n); }\n' > m.c
for s in thread address; do gcc -g -fsanitize=$s m.c -o m-$s -lpthread && ./m-$s; done; cat out
