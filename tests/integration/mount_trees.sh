# Mounts over and inside other mounts. Every rule here is Linux's too: with "SCENARIO=$PWD unshare -m bash mount_trees.sh"
# root tries it on the real one.
. "$SCENARIO/lib.sh"
mkdir one two three
echo 1 > one/file
echo 2 > two/file
echo 3 > three/file
mkdir one/dir two/dir one/dir/below
fs() { bindfs "$@"; }
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
rule "a mount covers another" fs -o nonempty "$OLDPWD/two" "$OLDPWD/mnt"
rule "the newest is seen" test "$(cat "$OLDPWD/mnt/file")" = 2
rule "an open file of the covered one goes on" test "$(cat <&7)" = 1
rule "so does a working directory" test -d below
rule "whose path is what it was" test "$(/bin/pwd)" = "$OLDPWD/mnt/dir"
cd "$OLDPWD"
rule_sh "mounts are listed in their order" "grep ' $PWD/mnt ' /proc/self/mounts | cut -d' ' -f1 | tr '\n' ' ' | grep -q '^$PWD/one $PWD/two \$'"
rule "the upper one's parent is the lower one" python3 -c "
lines = [l.split() for l in open('/proc/self/mountinfo') if l.split()[4] == '$PWD/mnt']
assert len(lines) == 2, lines
assert lines[1][1] == lines[0][0], lines
assert lines[0][3] == lines[1][3] == '/', lines
assert lines[0][2] != lines[1][2], lines"
rule "a third one" fs -o nonempty three mnt
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
fs -o nonempty "$OLDPWD/two" "$OLDPWD/mnt"
rule "umount of a covered working directory takes the top off" test "$(umount2 . 0)" = 0
rule "and then that" test "$(umount2 . 0)" = 16
cd "$OLDPWD"
rule "the covered one shows" test "$(cat mnt/file)" = 1
rule "which goes" umount mnt
rule "nothing is left" test -z "$(ls -A mnt)"
rule_sh "nor in the list" "! grep -q ' $PWD/mnt ' /proc/self/mounts"
finish
