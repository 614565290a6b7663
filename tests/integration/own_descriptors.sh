. "$SCENARIO/lib.sh"
mkdir mnt
rule "memfs mounts" fusewire fs memfs mnt
echo hello > mnt/file
# The program's limit, and its hard one where that is lowered.
fill() {
  python3 -c '
import os, resource, sys
soft, hard = int(sys.argv[1]), int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
assert resource.getrlimit(resource.RLIMIT_NOFILE) == (soft, hard), resource.getrlimit(resource.RLIMIT_NOFILE)
if sys.argv[3] == "used": os.stat("mnt/file")
own = os.open("own", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
for i in range(own + 1, soft): os.dup2(own, i)
for _ in range(50): assert os.stat("mnt/file").st_size == 6
try: os.dup(own)
except OSError as e: assert e.errno == 24, e
else: assert False, "a number is left"
try: os.dup2(own, soft)
except OSError as e: assert e.errno in (9, 22), e
else: assert False, "beyond the limit"
assert os.fstat(own).st_size == 0, os.fstat(own).st_size
for i in range(own + 1, soft): os.close(i)
assert os.read(os.open("mnt/file", os.O_RDONLY), 9) == b"hello\n"
os.closerange(own + 1, 1 << 16)
assert os.stat("mnt/file").st_size == 6' "$@"
}
rule_sh "a program starts with room for one more descriptor" 'test "$(bash -c "for i in {3..30}; do eval exec \$i\>\&-; done; ulimit -n 4; exec /bin/echo started" | cat)" = started'
for state in used unused; do
  rule "a table filled by dup2, the mount $state" fill 300 300 $state
  rule "the same below a higher hard limit, the mount $state" fill 300 600 $state
done
rule "the limit may go up and down while the mount is used" python3 -c '
import os, resource
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
for soft in (100, 200, 60, 400, 100):
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    own = os.open("own", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    for i in range(own + 1, soft): os.dup2(own, i)
    assert os.stat("mnt/file").st_size == 6 and os.fstat(own).st_size == 0
    os.closerange(own, soft)'
rule "processes that share the descriptors and not the memory go on when one of them ends" python3 -c '
import ctypes, os, signal
libc = ctypes.CDLL(None, use_errno=True)
CLONE_FILES = 0x400
own = os.open("own", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
f = os.open("mnt/file", os.O_RDWR)
for i in range(8):
    child = libc.syscall(56, CLONE_FILES | signal.SIGCHLD, 0, 0, 0, 0)
    if child == 0:
        good = os.stat("mnt/file").st_size == 6
        for n in range(f + 1, 1024): os.dup2(own, n)
        good = good and os.stat("mnt/file").st_size == 6
        os._exit(0 if good else 1)
    assert os.waitpid(child, 0)[1] == 0
    for n in range(f + 1, 1024): os.dup2(own, n)
    os.closerange(f + 1, 1024)
    assert os.stat("mnt/file").st_size == 6 and os.pwrite(f, b"H", 0) == 1
assert os.fstat(own).st_size == 0'
rule "a child of vfork has a working directory of its own" python3 -c '
import os, subprocess
for i in range(20):
    assert subprocess.run(["cat", "file"], cwd="mnt", stdout=subprocess.PIPE).stdout[1:] == b"ello\n"
    assert not os.path.exists("file")'
rule "umount" fusewire umount mnt
finish
