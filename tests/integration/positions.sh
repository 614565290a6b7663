# Where a file is read and written next, its program keeps in memory that it shares with the host (RingPosition), and
# what fstat tells is read from the view. Both are one for all who have the file.
. "$SCENARIO/lib.sh"
mkdir mnt
rule "memfs mounts" fusewire fs memfs mnt
rule "a position is one for a program and its children" python3 -c '
import os
fd = os.open("mnt/f", os.O_RDWR | os.O_CREAT); os.write(fd, bytes(range(200)))
for i in range(0, 100, 2):
    os.lseek(fd, i, os.SEEK_SET)
    if (child := os.fork()) == 0:
        good = os.lseek(fd, 0, os.SEEK_CUR) == i and os.read(fd, 1) == bytes([i])
        os._exit(0 if good else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert os.lseek(fd, 0, os.SEEK_CUR) == i + 1 and os.read(fd, 1) == bytes([i + 1])'
rule "it stays where a program left it that was killed" python3 -c '
import os, signal
for i in range(20):
    fd = os.open("mnt/f", os.O_RDONLY); go, tell = os.pipe()
    if (middle := os.fork()) == 0:
        own = os.open("mnt/f", os.O_RDONLY); os.lseek(own, 5, os.SEEK_SET)
        if (last := os.fork()) == 0:
            os.close(tell); os.read(go, 1)
            os._exit(0 if os.lseek(own, 0, os.SEEK_CUR) == 50 + i and os.read(own, 1) == bytes([50 + i]) else 1)
        os.lseek(own, 50 + i, os.SEEK_SET); os.write(tell, b"x")
        status = os.waitpid(last, 0)[1]
        os.kill(os.getpid(), signal.SIGKILL if status == 0 else signal.SIGTERM)
    assert os.waitpid(middle, 0)[1] == signal.SIGKILL
    os.close(fd); os.close(go); os.close(tell)'
rule "threads that read one file share no byte and miss none, while others ask where it is" python3 -c '
import os, threading
size = 6000
fd = os.open("mnt/many", os.O_RDWR | os.O_CREAT); os.write(fd, b"".join(i.to_bytes(4, "big") for i in range(size)))
os.lseek(fd, 0, os.SEEK_SET); seen = [[] for _ in range(3)]; ended = False
def read(to):
    while record := os.read(fd, 4): to.append(record)
def ask():
    last = 0
    while not ended:
        at = os.lseek(fd, 0, os.SEEK_CUR)
        assert at >= last and at % 4 == 0, (at, last)
        last = at
threads = [threading.Thread(target=read, args=(s,)) for s in seen]; asker = threading.Thread(target=ask)
asker.start(); [t.start() for t in threads]; [t.join() for t in threads]; ended = True; asker.join()
assert sorted(sum(seen, [])) == [i.to_bytes(4, "big") for i in range(size)]'
rule "a file that is closed and another at its number have positions of their own" python3 -c '
import os
for name in "ab": open("mnt/" + name, "w").write(name * 9)
for i in range(300):
    fd = os.open("mnt/" + "ab"[i % 2], os.O_RDONLY)
    assert os.lseek(fd, 0, os.SEEK_CUR) == 0
    assert os.lseek(fd, i % 9, os.SEEK_SET) == i % 9 and os.read(fd, 1) == "ab"[i % 2].encode()
    assert os.lseek(fd, -1, os.SEEK_CUR) == i % 9
    try: os.lseek(fd, -20, os.SEEK_CUR)
    except OSError as e: assert e.errno == 22
    else: assert False
    os.close(fd)'
rule "a thousand open files have positions of their own" python3 -c '
import os, resource
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
fds = [os.open("mnt/f", os.O_RDONLY) for _ in range(1000)]
for i, fd in enumerate(fds): os.lseek(fd, i % 200, os.SEEK_SET)
for i, fd in enumerate(fds): assert os.lseek(fd, 0, os.SEEK_CUR) == i % 200 and os.read(fd, 1) == bytes([i % 200])'
rule "fstat shows at once what others have changed" python3 -c '
import os, subprocess
fd = os.open("mnt/seen", os.O_RDWR | os.O_CREAT)
for i in range(200): os.fstat(fd)
for n in range(1, 30):
    subprocess.run(["sh", "-c", f"printf x >> mnt/seen; chmod {600 + n % 8} mnt/seen"], check=True)
    st = os.fstat(fd)
    assert st.st_size == n and oct(st.st_mode)[-3:] == str(600 + n % 8), st
os.unlink("mnt/seen"); assert os.fstat(fd).st_nlink == 0
other = os.open("mnt/f", os.O_RDONLY); assert os.fstat(other).st_ino != os.fstat(fd).st_ino
os.dup2(other, fd); assert os.fstat(fd).st_size == 200'
rule "it is unmounted, since nothing keeps it busy" fusermount -u mnt
finish
