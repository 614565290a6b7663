# outside the namespace
. "$SCENARIO/lib.sh"
mkdir -p tree mnt
seq 1000 > tree/f
mksquashfs tree t.sqfs -quiet -no-progress > /dev/null
rule "a run under strace" strace -f -qq -o calls -e trace=open,openat,openat2,mount,fsopen,fsmount,move_mount,umount2,unshare,clone \
  fusewire run -- bash -c 'squashfuse t.sqfs mnt && cmp mnt/f tree/f && mkdir mnt2 && fusewire fs memfs mnt2 && echo x > mnt2/f && fusewire umount mnt2 && fusewire umount mnt'
rule "the daemon's own calls were seen" grep -q "libfuse3" calls
rule "no call opened /dev/fuse" bash -c '! grep -E "open(at2?)?\(.*\"/dev/fuse\"" calls'
rule "no call mounted" bash -c '! grep -E "(mount|fsopen|fsmount|move_mount)\(" calls'
rule "no call made a user namespace" bash -c '! grep -E "CLONE_NEWUSER|CLONE_NEWNS" calls'
rule "no real mount is there" bash -c '! grep -q " $PWD/mnt " /proc/self/mountinfo'
openat2() {
  fusewire run -- python3 -c "
import ctypes, os, stat, sys
libc = ctypes.CDLL(None, use_errno=True)
how = (ctypes.c_uint64 * 3)(os.O_RDWR if 'fuse' in sys.argv[1] else os.O_RDONLY, 0, int(sys.argv[2]))
fd = libc.syscall(437, -100, sys.argv[1].encode(), how, 24)
print('socket' if fd >= 0 and stat.S_ISSOCK(os.fstat(fd).st_mode) else 'file' if fd >= 0 else os.strerror(ctypes.get_errno()))
" "$1" "$2"
}
rule_sh "openat2 with restrictions opens the namespace's device too" "$(declare -f openat2); openat2 /dev/fuse 2 | grep -qx socket; openat2 /dev/fuse 4 | grep -qx socket"
rule_sh "and keeps to them" "$(declare -f openat2); openat2 /proc/mounts 4 | grep -q 'Too many levels'; openat2 /proc/mounts 2 | grep -qx file"
finish
