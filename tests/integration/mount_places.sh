. "$SCENARIO/lib.sh"
mkdir behind
echo data > behind/file
for place in 'with space' 'ünïcode' 'a,b' $'new\nline' $'tab\tand\\back' './-dash' '*' "$(printf 'd%.0s' $(seq 200))/$(printf 'e%.0s' $(seq 200))/f"; do
  mkdir -p -- "$place"
  rule "mounted at $(printf %q "$place")" bindfs behind "$place"
  rule "it is served" test "$(cat -- "$place/file")" = data
  rule "it is a mount point" mountpoint -q -- "$place"
  rule "it is unmounted" fusermount3 -u -- "$place"
  rule "nothing shows after umount" test -z "$(ls -A -- "$place")"
done
mkdir target
ln -s target link
rule "a symlink is followed" bindfs behind link
rule "to the directory behind" test "$(cat target/file)" = data
rule_sh "a symlink that leads out of the mount and back to itself is a loop" \
  'ln -s ../target/loop target/loop; ! cat target/loop/x 2> out && grep "Too many levels" out && rm target/loop'
rule "umount by the directory" fusermount3 -u target
mkdir full
touch full/x
rule_fails "libfuse 2 asks before it covers what is there" "not empty" bindfs behind full
rule "and does it when told" bindfs -o nonempty behind full
rule "the directory's own files are covered" test "$(ls full)" = file
rule "umount" fusermount3 -u full
rule "they are back" test "$(ls full)" = x
mkdir mnt
bindfs behind mnt
exec 7< mnt/file
rule_fails "an open file keeps the mount busy" "busy" umount mnt
sleep 1000 < mnt/file & holder=$!
holds_it() { [ "$(readlink /proc/$holder/fd/0)" = "$PWD/mnt/file" ]; }
wait_until holds_it
rule "another process's open file is read by its path" test "$(readlink /proc/$holder/fd/0)" = "$PWD/mnt/file"
if command -v fuser > /dev/null; then
  rule_sh "fuser names who keeps the mount busy" "fuser -m mnt 2> /dev/null | tr ' ' '\n' | sed 's/[a-z]*$//' | grep -qx $holder"
fi
if command -v lsof > /dev/null; then
  rule_sh "and lsof the file" "lsof -b -w -p $holder 2> /dev/null | grep -q '$PWD/mnt/file'"
fi
kill $holder
wait $holder
rule "a lazy umount takes the name away at once" fusermount3 -uz mnt
rule "nothing shows" test -z "$(ls -A mnt)"
rule "the open file lives on" test "$(cat <&7)" = data
exec 7<&-
bindfs behind mnt
rule_sh "a working directory keeps the mount busy" 'cd mnt && ! umount ../mnt'
rule "a mount point onto .. is there already, before it is busy" python3 -c "
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
def rename(flags): return libc.renameat2(-100, b'mnt', -100, b'..', flags), ctypes.get_errno()
assert rename(1) == (-1, errno.EEXIST), rename(1)
assert rename(0) == (-1, errno.EBUSY), rename(0)"
rule "umount of an idle mount" umount mnt
python3 "$SCENARIO/programs/spliced_daemon.py" mnt > daemon.out 2>&1 &
wait_until grep -q serving daemon.out
rule "umount of any daemon" umount mnt
: > file
python3 "$SCENARIO/programs/spliced_daemon.py" file > file_daemon.out 2>&1 &  # not the last one's output, which says the same
wait_until grep -q serving file_daemon.out
rule "a mount on a file is a file" test -f file
python3 -c 'import sys; sys.stdout.buffer.write(bytes(range(251)))' > expected
rule "it is read" cmp -n 251 file expected
rule_sh "it is opened with O_CREAT" ': > file'
rule_sh "and not with O_EXCL" 'set -C; ! : > file'
rule_fails "it is no directory" "Not a directory" ls file/.
rule "umount of the file" fusermount3 -u file
rule "the file is back" test "$(stat -c %s file)" = 0
finish
