# Flags of one mount and another of a file system, bind mounts of parts of it, and mounts that are moved. Every rule here
# is Linux's too: with "SCENARIO=$PWD WHO=root unshare -m bash mount_binds.sh" root tries it on the real one.
. "$SCENARIO/lib.sh"
export top=$PWD
mkdir one mnt
echo text > one/file
mkdir one/dir one/dir/sub
echo deep > one/dir/sub/deep
# mount(2) and umount2(2) as they are: the errno, 0 for none.
cat > calls.py <<'END'
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
flag = dict(ro=1, nosuid=2, nodev=4, noexec=8, remount=32, noatime=1024, bind=4096, move=8192, rec=16384)
def mount(source, point, flags, kind=None, data=None):
    text = lambda t: t.encode() if t is not None else None
    bits = sum(flag[f] for f in flags.split(",") if f)
    return ctypes.get_errno() if libc.mount(text(source), text(point), text(kind), ctypes.c_ulong(bits), text(data)) else 0
def umount(point, flags=0): return ctypes.get_errno() if libc.umount2(point.encode(), flags) else 0
def error(call, *arguments):
    try: call(*arguments)
    except OSError as e: return e.errno
    return 0
def line(point):  # root, options of the mount, options of the file system
    for l in open("/proc/self/mountinfo"):
        words = l.split()
        if words[4] == os.path.abspath(point): found = words
    return found[3], found[5], found[-1]
END
export PYTHONPATH=$top
errno_of() { python3 -B -c "from calls import *; print($1)"; }
holds() { python3 -B -c "from calls import *; assert $1, [$1]"; }

# Flags.
mkdir first second third
python3 "$SCENARIO/programs/spliced_daemon.py" first second=7 third=14 > daemon.out 2>&1 &
wait_until grep -q serving daemon.out
rule "a device is mounted again with flags of its own" holds "(line('first')[1:], line('second')[1:2], line('third')[1:2]) == (('rw,nosuid,nodev,relatime', line('first')[2]), ('ro,nosuid,nodev,relatime',), ('rw,nosuid,nodev,noexec,relatime',))"
rule "the file system's own are those of the first" holds "line('second')[2] == line('first')[2] and line('second')[2].startswith('rw')"
rule "nothing is written through the read-only one" holds "error(os.open, 'second/big', os.O_RDWR) == 30"
rule "it is read" holds "error(os.open, 'second/big', os.O_RDONLY) == 0"
rule "the other is written as before" holds "error(os.open, 'first/big', os.O_RDWR) == 0"
rule "statvfs tells each one's flags" holds "[bool(os.statvfs(m).f_flag & os.ST_RDONLY) for m in ('first', 'second', 'third')] == [False, True, False] and os.statvfs('third').f_flag & os.ST_NOEXEC and not os.statvfs('first').f_flag & os.ST_NOEXEC"
exec 7<> first/big
rule "what is open for writing through it keeps a mount from getting read-only" test "$(errno_of 'mount(None, "first", "remount,bind,ro")')" = 16
rule "and its file system" test "$(errno_of 'mount(None, "second", "remount,ro")')" = 16
rule "and not the others" test "$(errno_of 'mount(None, "third", "remount,bind,ro,nosuid,nodev")')" = 0
exec 7<&-
rule "which is read-only then" holds "error(os.open, 'third/big', os.O_RDWR) == 30 and line('third')[1].startswith('ro')"
rule "the first goes on" holds "error(os.open, 'first/big', os.O_RDWR) == 0 and line('first')[1].startswith('rw')"
rule "a mount is writable again" holds "mount(None, 'third', 'remount,bind,nosuid,nodev') == 0 and error(os.open, 'third/big', os.O_RDWR) == 0"
rule "the file system gets read-only" test "$(errno_of 'mount(None, "first", "remount,ro,nosuid,nodev")')" = 0
rule "through each mount" holds "[error(os.open, m + '/big', os.O_RDWR) for m in ('first', 'second', 'third')] == [30] * 3"
rule "whose own flags tell nothing of it" holds "line('third')[1].startswith('rw') and line('third')[2].startswith('ro')"
rule "and writable, but for the mount that is not" holds "mount(None, 'first', 'remount,nosuid,nodev') == 0 and [error(os.open, m + '/big', os.O_RDWR) for m in ('first', 'second', 'third')] == [0, 30, 0]"
for m in first second third; do rule "umount of the $m" umount $m; done
wait_until is_free third

# Parts of it. To bind takes CAP_SYS_ADMIN, which a user has in namespaces of his own.
bindfs one mnt
mkdir here
if [ "$WHO" = root ]; then
  bash "$SCENARIO/mount_binds_inside.sh"
else
  rule "who has no rights binds nothing" test "$(errno_of 'mount("mnt/dir", "here", "bind")')" = 1
  if unshare -rm true 2> /dev/null; then unshare -rm bash "$SCENARIO/mount_binds_inside.sh"; fi
fi || broken=$((broken + 1))
rule "umount" umount mnt
wait_until is_free mnt
finish
