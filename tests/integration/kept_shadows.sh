# A process that closes a file keeps its shadow for the next one that it opens (kept_shadows.h). Whoever has a descriptor
# from it has the file that he was given, whatever it opens afterwards.
. "$SCENARIO/lib.sh"
mkdir mnt
rule "memfs mounts" fusewire fs memfs mnt
for name in a b c; do echo $name > mnt/$name; done
cat > files.py <<'E2'
import os, sys
def opened(name, flags=os.O_RDONLY): return os.open("mnt/" + name, flags)
def look(fd): return os.pread(fd, 9, 0).decode().strip()
# Shadows are kept from the third close on; then the next open is served by one.
def warm():
    for name in "abcabc":
        fd = opened(name)
        assert look(fd) == name
        os.close(fd)
def others(times=20):
    for i in range(times):
        fd = opened("bc"[i % 2])
        assert look(fd) == "bc"[i % 2], look(fd)
        os.close(fd)
warm()
E2
python() { python3 -c "exec(open('files.py').read())
$1"; }
open_files() { connection_of mnt open_files; }
nothing_is_open() { test "$(open_files)" = 0; }
rule "a copy made by dup is of the file that it was made of" python '
import fcntl
fd = opened("a"); copies = [os.dup(fd), fcntl.fcntl(fd, fcntl.F_DUPFD, 10), os.dup2(fd, 40)]
os.close(fd); others()
assert [look(c) for c in copies] == ["a"] * 3'
rule "a file that takes the place of another at its number is that one" python '
a, b = opened("a"), opened("b")
os.dup2(a, b); os.close(a); others()
assert look(b) == "a"'
rule "a child of fork has the files that were open then" python '
a = opened("a"); r, w = os.pipe()
if (child := os.fork()) == 0:
    os.close(w); os.read(r, 1)
    good = look(a) == "a"
    others()
    os._exit(0 if good and look(a) == "a" else 1)
os.close(r); os.close(a); others(); os.close(w)
assert os.waitpid(child, 0)[1] == 0'
rule "a program that is started has the files that it inherits" python '
import subprocess
a = opened("a"); os.set_inheritable(a, True)
p = subprocess.Popen(["sh", "-c", "read go; cat <&%d" % a], stdin=subprocess.PIPE, stdout=subprocess.PIPE, close_fds=False)
os.close(a); others()
assert p.communicate(b"\n")[0] == b"a\n"'
rule "the program that takes the place of one has its files" python '
a = opened("a"); os.set_inheritable(a, True)
os.execvp("sh", ["sh", "-c", "test \"$(cat <&%d)\" = a" % a])'
rule "a file that is sent is the receiver's" python '
import socket
one, other = socket.socketpair()
a = opened("a"); socket.send_fds(one, [b"x"], [a]); os.close(a); others()
received = socket.recv_fds(other, 1, 1)[1][0]
assert look(received) == "a"'
rule "other processes find by /proc what stands at the number now" python '
r, w = os.pipe(); ready, tell = os.pipe()
if (child := os.fork()) == 0:
    warm(); a = opened("a"); os.write(tell, bytes([a])); os.read(r, 1)
    os.close(a); b = opened("b"); assert b == a, (a, b)
    os.write(tell, b"x"); os.read(r, 1); os._exit(0)
path = f"/proc/{child}/fd/{os.read(ready, 1)[0]}"
assert os.readlink(path).endswith("/mnt/a")
assert look(os.open(path, os.O_RDONLY)) == "a"
os.write(w, b"x"); os.read(ready, 1)
assert os.readlink(path).endswith("/mnt/b")
assert look(os.open(path, os.O_RDONLY)) == "b"
os.write(w, b"x")
assert os.waitpid(child, 0)[1] == 0'
rule "a descriptor taken from another process is of the file that it has there" python '
import ctypes, signal
libc = ctypes.CDLL(None, use_errno=True)
r, w = os.pipe(); ready, tell = os.pipe()
if (child := os.fork()) == 0:
    libc.prctl(0x59616d61, -1, 0, 0, 0)
    warm(); a = opened("a"); os.write(tell, bytes([a])); os.read(r, 1)
    os.close(a); others(); os.write(tell, b"x"); os.read(r, 1); os._exit(0)
number = os.read(ready, 1)[0]
taken = libc.syscall(438, os.pidfd_open(child), number, 0)
assert taken >= 0, ctypes.get_errno()
os.write(w, b"x"); os.read(ready, 1)
assert look(taken) == "a"
os.write(w, b"x"); assert os.waitpid(child, 0)[1] == 0'
is_killed() { python "$1"; test $? = 137; }
rule "close_range and the end of a program close what shadows stand for" is_killed '
fds = [opened(name) for name in "abc"]
os.closerange(min(fds), max(fds) + 1)
others()
a = opened("a"); os.kill(os.getpid(), 9)'
wait_until nothing_is_open
rule "every file has gone back to the daemon" nothing_is_open
rule "the lowest number is given, and none when the table is full" python '
import resource
low = opened("a"); os.close(low)
fd = opened("b"); assert fd == low; os.close(fd)
resource.setrlimit(resource.RLIMIT_NOFILE, (low, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
for i in range(3):
    try: opened("a")
    except OSError as e: assert e.errno == 24, e
    else: assert False, "a number is left"
resource.setrlimit(resource.RLIMIT_NOFILE, (low + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
others()'
rule "a thread closes what was opened before it began" python '
import threading
a, b = opened("a"), opened("b")
t = threading.Thread(target=lambda: (os.close(a), others())); t.start(); t.join()
assert look(b) == "b"; os.close(b); others()'
wait_until nothing_is_open
rule "it is unmounted, since nothing keeps it busy" fusermount -u mnt
finish
