. "$SCENARIO/lib.sh"
# What /proc tells of other processes of the namespace is what it would tell without a gate.
mkdir mnt
rule "memfs mounts" fusewire fs memfs mnt
mkdir mnt/dir mnt/programs
seq 1000 > mnt/dir/file
cat > hold.py <<'P'
import mmap, os, sys, time
os.chdir("mnt/dir")
held = os.open("file", os.O_RDWR | os.O_APPEND)
os.lseek(held, 42, os.SEEK_SET)
os.dup2(held, 9)
os.set_inheritable(9, True)
mapped = mmap.mmap(held, 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
open("../../ready", "w").close()
sys.stdin.read()
P
mkfifo stdin
python3 hold.py < stdin &
pid=$!
exec 8> stdin
wait_until test -e ready
export pid HERE="$PWD"
rule_sh "its program" 'test "$(readlink /proc/$pid/exe)" = "$(readlink -f "$(python3 -c "import sys; print(sys.executable)")")"'
rule_sh "by its own name" 'readlink -f /proc/$pid/exe | grep -q python && cmp /proc/$pid/exe "$(readlink /proc/$pid/exe)"'
rule_sh "its working directory" 'test "$(readlink /proc/$pid/cwd)" = "$HERE/mnt/dir"'
rule_sh "which is entered through it" 'test "$(head -1 /proc/$pid/cwd/file)" = 1 && test "$(ls /proc/$pid/cwd/)" = file && cd /proc/$pid/cwd && test "$(pwd -P)" = "$HERE/mnt/dir"'
rule_sh "also of a thread" 'test "$(readlink /proc/$pid/task/$pid/cwd)" = "$HERE/mnt/dir" && readlink /proc/$pid/task/$pid/exe | grep -q python'
rule_sh "its root" 'test "$(readlink /proc/$pid/root)" = /'
rule_sh "its descriptors" 'test "$(readlink /proc/$pid/fd/9)" = "$HERE/mnt/dir/file" && ls -l /proc/$pid/fd | grep -q -- "9 -> $HERE/mnt/dir/file"'
rule_sh "a descriptor's state" 'grep -qx "pos:.42" /proc/$pid/fdinfo/9 && grep -qx "flags:.0*1*02002" /proc/$pid/fdinfo/9'
rule_sh "and its inode" 'test "$(sed -n "s/^ino:.//p" /proc/$pid/fdinfo/9)" = "$(stat -c %i mnt/dir/file)"'
rule_sh "and its mount" 'id=$(sed -n "s/^mnt_id:.//p" /proc/$pid/fdinfo/9) && grep "^$id " /proc/self/mountinfo | grep -q " $HERE/mnt "'
rule_sh "what it maps" 'grep -q " $HERE/mnt/dir/file$" /proc/$pid/maps && ! grep -q memfd:fusewire-mapping /proc/$pid/maps'
rule_sh "its threads' mounts" 'grep -q " $HERE/mnt " /proc/$pid/task/$pid/mounts && grep -q " $HERE/mnt " /proc/$pid/task/$pid/mountinfo'
for file in mounts mountinfo mountstats; do
  rule_sh "its $file" "grep -q ' $HERE/mnt ' /proc/\$pid/$file && cmp /proc/\$pid/$file /proc/self/$file"
done
rule_sh "by descriptors of its directories" 'python3 - <<"P"
import os
pid, here = os.environ["pid"], os.environ["HERE"]
def read(directory, name):
    fd = os.open(name, os.O_RDONLY, dir_fd=directory)
    try: return os.read(fd, 1 << 20).decode()
    finally: os.close(fd)
proc, fdinfo = os.open("/proc/" + pid, os.O_RDONLY), os.open(f"/proc/{pid}/fdinfo", os.O_RDONLY)
assert f" {here}/mnt " in read(proc, "mounts")
assert f" {here}/mnt " in read(proc, "./mountinfo")
assert "pos:\t42\n" in read(fdinfo, "9"), read(fdinfo, "9")
assert "pos:\t42\n" in read(proc, "fdinfo/9")
assert os.readlink("cwd", dir_fd=proc) == here + "/mnt/dir"
assert "python" in os.readlink("exe", dir_fd=proc)
own = os.open("/proc/self", os.O_RDONLY)
assert "python" in os.readlink("exe", dir_fd=own)
assert f" {here}/mnt " in read(own, "mounts")
assert "python" in os.readlink("/proc/thread-self/exe")
os.chdir("/proc/" + pid)
assert f" {here}/mnt " in open("mounts").read()
P'
rule_sh "the own state" 'python3 - <<"P"
import os
fd = os.open("mnt/dir/file", os.O_RDONLY)
os.lseek(fd, 7, os.SEEK_SET)
text = open(f"/proc/self/fdinfo/{fd}").read()
assert text.startswith("pos:\t7\nflags:\t0"), text
assert int(text.split()[3], 8) & 0o2000000, text
os.set_inheritable(fd, True)
assert not int(open(f"/proc/thread-self/fdinfo/{fd}").read().split()[3], 8) & 0o2000000
P'
if command -v lsof > /dev/null; then
  rule_sh "lsof" 'lsof -b -w -p $pid > lsof.out 2> /dev/null; grep -q "cwd.*$HERE/mnt/dir$" lsof.out && grep -q "9u.*$HERE/mnt/dir/file$" lsof.out && grep -q "txt.*python" lsof.out'
fi
if command -v fuser > /dev/null; then rule_sh "fuser -m" 'fuser -m mnt 2> /dev/null | tr " " "\n" | grep -q "^$pid"'; fi
rule_sh "a program stored on the mount" 'cp /bin/sleep mnt/programs/; mnt/programs/sleep 60 & sleeper=$!
until test "$(tr "\0" " " < /proc/$sleeper/cmdline)" = "mnt/programs/sleep 60 "; do :; done
shown=$(readlink /proc/$sleeper/exe); grep -q " $HERE/mnt/programs/sleep$" /proc/$sleeper/maps && cmp /proc/$sleeper/exe /bin/sleep; mapped=$?
kill $sleeper; test "$shown" = "$HERE/mnt/programs/sleep" && test $mapped = 0'
rule_sh "a process that is not under the gate keeps its own view" '! grep -q " $HERE/mnt " /proc/1/mounts'
exec 8>&-
wait $pid
rule "umount" fusewire umount mnt
finish
