# Mounts over and inside other mounts. Every rule here is Linux's too: with "SCENARIO=$PWD unshare -m bash mount_trees.sh"
# root tries it on the real one.
. "$SCENARIO/lib.sh"
mkdir one two three
echo 1 > one/file
echo 2 > two/file
echo 3 > three/file
mkdir one/dir two/dir one/dir/below
fs() { bindfs -o nonempty "$@"; }
# umount2(2) as it is: its errno, 0 for none.
umount2() { python3 -c "
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
print(ctypes.get_errno() if libc.umount2(sys.argv[1].encode(), int(sys.argv[2])) else 0)" "$1" "$2"; }

# Over a mount.
mkdir mnt
fs one mnt
exec 7< mnt/file
cd mnt/dir
rule "a mount covers another" fs "$OLDPWD/two" "$OLDPWD/mnt"
rule "the newest is seen" test "$(cat "$OLDPWD/mnt/file")" = 2
rule "an open file of the covered one goes on" test "$(cat <&7)" = 1
rule "so does a working directory" test -d below
rule "whose path is what it was" test "$(/bin/pwd)" = "$OLDPWD/mnt/dir"
rule_sh "the way up from it ends at the newest mount's root" 'test "$(cat ../file)" = 2'
cd "$OLDPWD"
rule_sh "mounts are listed in their order" "grep ' $PWD/mnt ' /proc/self/mounts | cut -d' ' -f1 | tr '\n' ' ' | grep -q '^$PWD/one $PWD/two \$'"
rule "the upper one's parent is the lower one" python3 -c "
lines = [l.split() for l in open('/proc/self/mountinfo') if l.split()[4] == '$PWD/mnt']
assert len(lines) == 2, lines
assert lines[1][1] == lines[0][0], lines
assert lines[0][3] == lines[1][3] == '/', lines
assert lines[0][2] != lines[1][2], lines"
rule "a third one" fs three mnt
rule "is seen" test "$(cat mnt/file)" = 3
rule_sh "its .. is the directory that holds all of them" 'test "$(stat -c %i mnt/..)" = "$(stat -c %i .)"'
rule "umount takes the top off" umount mnt
rule "and the older one shows again" test "$(cat mnt/file)" = 2
rule "fusermount takes the next" fusermount3 -u mnt
rule "and the oldest shows" test "$(cat mnt/file)" = 1
exec 7<&-
rule "umount of the last" umount mnt
rule "nothing is left" test -z "$(ls -A mnt)"
fs one mnt
cd mnt
fs "$OLDPWD/two" "$OLDPWD/mnt"
rule "umount of a covered working directory takes the top off" test "$(umount2 . 0)" = 0
rule "and then that" test "$(umount2 . 0)" = 16
cd "$OLDPWD"
rule "the covered one shows" test "$(cat mnt/file)" = 1
rule "which goes" umount mnt
rule "nothing is left" test -z "$(ls -A mnt)"
rule_sh "nor in the list" "! grep -q ' $PWD/mnt ' /proc/self/mounts"

# Inside a mount.
export top=$PWD
mkdir two/inner two/inner/deep
fs one mnt
fs two mnt/dir
rule "a mount inside a mount is seen" test "$(cat mnt/dir/file)" = 2
rule "what it covers is not" test ! -e mnt/dir/below
rule "the outer one goes on" test "$(cat mnt/file)" = 1
rule_sh "stat of the mount point is of the inner root" 'test "$(stat -c %d mnt/dir)" = "$(stat -c %d mnt/dir/file)" -a "$(stat -c %d mnt/dir)" != "$(stat -c %d mnt)"'
rule "it is a mount point" mountpoint -q mnt/dir
rule_sh "find walks through" 'test "$(find mnt -name file | sort | tr "\n" " ")" = "mnt/dir/file mnt/file "'
rule_sh "and keeps to a file system when told" 'test "$(find mnt -xdev -name file)" = mnt/file'
ln -s ../one/dir one/link
ln -s "$top/mnt/dir" absolute
rule_sh "a symlink outside leads in" 'test "$(cat absolute/file)" = 2'
ln -s dir one/into
ln -s dir/file one/straight
rule_sh "a symlink in the outer mount leads into the inner" 'test "$(cat mnt/into/file)" = 2 -a "$(cat mnt/straight)" = 2'
ln -s ../file two/up
rule_sh "one of the inner leads out to the outer" 'test "$(cat mnt/dir/up)" = 1'
rule_sh ".. leads out of the inner mount" 'test "$(cat mnt/dir/../file)" = 1 -a "$(cat mnt/dir/inner/../../file)" = 1'
rule_sh "and in again" 'test "$(cat mnt/dir/../dir/file)" = 2'
rule_sh "and out of both" 'test "$(stat -c %i mnt/dir/../..)" = "$(stat -c %i .)"'
rule_sh "a working directory in the inner mount has its path" 'cd mnt/dir/inner && test "$(/bin/pwd)" = "$top/mnt/dir/inner"'
rule_sh "relative paths go in and out" 'cd mnt && test "$(cat dir/file)" = 2 && cd dir && test "$(cat ../file)" = 1 && cd .. && test "$(/bin/pwd)" = "$top/mnt"'
exec 7< mnt/dir/file
rule "an open file's path goes through both" test "$(readlink /proc/self/fd/7)" = "$top/mnt/dir/file"
exec 7<&-
rule_sh "both are listed, the inner one below the outer" 'python3 -c "
lines = [l.split() for l in open(\"/proc/self/mountinfo\")]
outer, = [l for l in lines if l[4] == \"$top/mnt\"]
inner, = [l for l in lines if l[4] == \"$top/mnt/dir\"]
assert inner[1] == outer[0]"'
rule_sh "a name is made in the inner" 'echo made > mnt/dir/made && test "$(cat two/made)" = made && rm mnt/dir/made && test ! -e two/made'
python_errno() { python3 -c "
import os, sys
try: eval(sys.argv[1])
except OSError as e: print(e.errno)
else: print(0)" "$1"; }
rule "the mount point is not removed" test "$(python_errno 'os.rmdir("mnt/dir")')" = 16
rule "nor renamed" test "$(python_errno 'os.rename("mnt/dir", "mnt/other")')" = 16
rule "nor replaced" test "$(mkdir mnt/empty; python_errno 'os.rename("mnt/empty", "mnt/dir")')" = 16
rule "nor unlinked" test "$(python_errno 'os.unlink("mnt/dir")')" = 21
rule "nor made" test "$(python_errno 'os.mkdir("mnt/dir")')" = 17
rule "nothing is renamed from one into the other" test "$(python_errno 'os.rename("mnt/file", "mnt/dir/file2")')" = 18
rule "nor linked" test "$(python_errno 'os.link("mnt/file", "mnt/dir/file2")')" = 18
rmdir mnt/empty
mkdir mnt/around
fs three mnt/around
rule "a directory above a mount point is renamed" test "$(mkdir mnt/deeper mnt/deeper/point; fs two mnt/deeper/point; python_errno 'os.rename("mnt/deeper", "mnt/moved")')" = 0
rule "and the mount goes with it" test "$(cat mnt/moved/point/file)" = 2
rule_sh "its path too" 'cd mnt/moved/point/inner && test "$(/bin/pwd)" = "$top/mnt/moved/point/inner"'
rule_sh "in the list as well" 'grep -q " $top/mnt/moved/point " /proc/self/mounts'
rule "where it is unmounted" umount mnt/moved/point
rule "the outer mount is busy" test "$(umount2 mnt 0)" = 16
rule "mounts stack inside too" fs three mnt/dir
rule "the newest is seen" test "$(cat mnt/dir/file)" = 3
rule_sh "from within" 'cd mnt && test "$(cat dir/file)" = 3'
rule "umount of it" umount mnt/dir
rule "the one below shows" test "$(cat mnt/dir/file)" = 2
mkdir mnt/dir/inner/deepest
fs three mnt/dir/inner
rule "a mount in a mount in a mount" test "$(cat mnt/dir/inner/file)" = 3
rule_sh "its .. goes one up" 'test "$(cat mnt/dir/inner/../file)" = 2 -a "$(cat mnt/dir/inner/../../file)" = 1'
rule_sh "its path has all" 'cd mnt/dir/inner && test "$(/bin/pwd)" = "$top/mnt/dir/inner"'
rule "umount" umount mnt/dir/inner
rule "the directory is back" test -d mnt/dir/inner/deepest
: > one/point
python3 "$SCENARIO/programs/spliced_daemon.py" mnt/point > daemon.out 2>&1 &
wait_until grep -q serving daemon.out
rule "a file of a mount is covered" test "$(stat -c %s mnt/point)" != 0
rule "it is no directory" test "$(python_errno 'os.stat("mnt/point/x")')" = 20
rule "and not removed" test "$(python_errno 'os.unlink("mnt/point")')" = 16
rule "umount of it" umount mnt/point
rule "the file is back" test "$(stat -c %s mnt/point)" = 0
exec 7< mnt/dir/file
rule "a lazy umount of the outer takes all along" umount -l mnt
rule_sh "nothing is seen nor listed" 'test -z "$(ls -A mnt)" && ! grep -q " $top/mnt" /proc/self/mounts'
rule "an open file of the inner goes on" test "$(cat <&7)" = 2
exec 7<&-

# One device at two places.
mkdir first second
python3 "$SCENARIO/programs/spliced_daemon.py" first second > daemon.out 2>&1 &
wait_until grep -q serving daemon.out
rule_sh "a device that is mounted twice is one file system" 'test "$(stat -c "%d %i %s" first/big)" = "$(stat -c "%d %i %s" second/big)" -a "$(stat -c %s first/big)" = 1004000'
rule "nothing is renamed between the two" test "$(python_errno 'os.rename("first/big", "second/other")')" = 18
rule_sh "each has its path" 'cd second && test "$(/bin/pwd)" = "$top/second" && test "$(stat -c %i ..)" = "$(stat -c %i "$top")"'
rule_sh "both are listed" 'test "$(grep -c "^spliced $top/\\(first\\|second\\) " /proc/self/mounts)" = 2'
exec 7< second/big
rule "an open file keeps its own place busy" test "$(umount2 second 0)" = 16
rule "and not the other" test "$(umount2 first 0)" = 0
rule "which shows nothing" test -z "$(ls -A first)"
rule "the daemon serves on" test "$(stat -c %s second/big)" = 1004000
exec 7<&-
rule "umount of the last" umount second
wait_until is_free second

# Below a directory that is renamed, and deep down.
mkdir -p above/middle/point other/middle
fs one above/middle/point
exec 7< above/middle/point/file
rule "a directory above a mount is renamed" mv above/middle above/renamed
rule "the mount goes with it" test "$(cat above/renamed/point/file)" = 1
rule "and is not where it was" test ! -e above/middle
rule_sh "nor when that is made anew" 'mkdir -p above/middle/point && test -z "$(ls -A above/middle/point)" && rm -r above/middle'
rule "an open file has its new path" test "$(readlink /proc/self/fd/7)" = "$top/above/renamed/point/file"
rule_sh "the list too" 'grep -q " $top/above/renamed/point " /proc/self/mounts'
rule "the topmost is renamed" mv above elsewhere
rule "it goes along again" test "$(cat elsewhere/renamed/point/file)" = 1
rule_sh "from within" 'cd elsewhere && mv renamed again && test "$(cat again/point/file)" = 1'
rule "two directories are exchanged" python3 -c "
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
assert libc.renameat2(-100, b'elsewhere/again', -100, b'other/middle', 2) == 0"
rule "it is where its directory is" test "$(cat other/middle/point/file)" = 1
rule "a file beside it has nothing to do with it" test "$(: > again; mv again point; echo $?)" = 0
exec 7<&-
rule "umount" umount other/middle/point
long=$(printf 'd%.0s' $(seq 200))
deep=$top
for i in $(seq 15); do deep=$deep/$long; done
mkdir -p "$deep"
fs one "$deep"
rule "a mount point of more than 3000 bytes" test "$(cat "$deep/file")" = 1
rule "it is listed" grep -q " $deep " /proc/self/mounts
rule "and unmounted" umount "$deep"
finish
