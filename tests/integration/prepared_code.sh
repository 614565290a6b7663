# The C library's code is a copy that is made for the namespace: programs see the library's own, and can do with it what
# they do elsewhere.
. "$SCENARIO/lib.sh"
cat > maps.py <<'PY'
import collections, os, re, sys
seen = collections.defaultdict(dict)
for line in open(f"/proc/{sys.argv[1]}/maps"):
    fields = line.split(None, 5)
    if len(fields) < 6 or "x" not in fields[1]: continue
    path = fields[5].strip()
    if not re.search(r"/(libc\.so\.6|ld-linux-x86-64\.so\.2)$", path): continue
    low, high = (int(a, 16) for a in fields[0].split("-"))
    seen[path][int(fields[2], 16)] = high - low
    status = os.stat(path)
    assert int(fields[4]) == status.st_ino, line
    major, minor = (int(a, 16) for a in fields[3].split(":"))
    assert os.makedev(major, minor) == status.st_dev, line
    assert line.index("/") == 73, line
for path, parts in seen.items():
    # In one piece, whatever pieces it is mapped in.
    end = min(parts)
    for offset in sorted(parts):
        assert offset == end, (path, parts)
        end += parts[offset]
print(len(seen))
PY
rule "a program sees the libraries that its code is of" test "$(python3 maps.py self)" = 2
sleep 60 & other=$!
rule "and those of another program" wait_until test "$(python3 maps.py "$other")" = 2
kill "$other"
rule "smaps tells the same" sh -c "grep -q '/libc.so.6$' /proc/self/smaps"

# The same library loaded again and again, at places where it was and where others were.
cat > reload.c <<'C'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>
int main(int argc, char** argv) {
  for (int i = 0; i < 40; i++) {
    void* libc = dlmopen(LM_ID_NEWLM, argv[1], RTLD_NOW);
    if (libc == NULL) return fprintf(stderr, "%s\n", dlerror()), 1;
    int (*other_getppid)(void) = (int (*)(void))dlsym(libc, "getppid");
    ssize_t (*other_write)(int, const void*, size_t) = (ssize_t(*)(int, const void*, size_t))dlsym(libc, "write");
    if (other_getppid() != getppid() || other_write(1, ".", 1) != 1 || other_write(-1, ".", 1) != -1) return 2;
    if (i % 3 == 0) mmap(NULL, 1 << 16, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    dlclose(libc);
  }
  return argc != 2;
}
C
if cc -o reload reload.c -ldl; then
  rule "it may be loaded many times" test "$(./reload libc.so.6)" = "$(printf '.%.0s' $(seq 40))"
fi

# A copy is another file, and one that was changed is not what was copied.
loader=$(ldd /bin/true | grep -o '/[^ ]*ld-linux[^ ]*')
mkdir own && cp "$(ldd /bin/true | grep -o '/[^ ]*libc.so.6')" own/libc.so.6
rule "a copy of it runs by itself" env LD_LIBRARY_PATH="$PWD/own" "$loader" /bin/sh -c 'test -e own/libc.so.6'

if command -v gdb > /dev/null; then
  gdb -batch -ex 'set debuginfod enabled off' -ex 'break getppid' -ex run -ex bt -ex kill python3 --args python3 -c \
    'import os; os.getppid()' > gdb.out 2>&1
  rule "a debugger stops in its functions" grep -q 'Breakpoint 1, .*getppid' gdb.out
fi
finish
