# packages: ccache gcc
# The second compilation is a hit.
set -e
export CCACHE_DIR=$PWD/cache; echo 'int main(void) { return 7; }' > m.c
ccache gcc -c m.c -o a.o && ccache gcc -c m.c -o b.o && cmp a.o b.o && gcc a.o -o a && ./a || echo $?
ccache -s | grep -c -i hits
