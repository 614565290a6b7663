. "$SCENARIO/lib.sh"
mkdir -p tree/dir/deep tree/empty mnt
for i in $(seq 40); do seq $((i * 500)) > tree/dir/f$i; done
head -c 3000000 /dev/urandom > tree/dir/deep/random
ln -s ../dir/f1 tree/empty/link
: > tree/zero
mksquashfs tree t.sqfs -quiet -no-progress > /dev/null
rule "squashfuse mounts" squashfuse t.sqfs mnt
rule "the mount is listed" bash -c 'fusewire ps | grep -q squashfuse'
rule "find sees the same names" bash -c 'diff <(cd tree && find . | sort) <(cd mnt && find . | sort)'
rule "every file is the same" bash -c 'cd tree && find . -type f -exec cmp {} ../mnt/{} \;'
rule "checksums are the same" bash -c 'diff <(cd tree && find . -type f | sort | xargs sha256sum) <(cd mnt && find . -type f | sort | xargs sha256sum)'
rule "diff -r agrees" diff -r --no-dereference tree mnt
rule "tar reads it" bash -c 'tar -C mnt -cf - . | tar -tf - | sort | diff - <(tar -C tree -cf - . | tar -tf - | sort)'
rule "symlinks read" test "$(readlink mnt/empty/link)" = ../dir/f1
rule "a symlink is followed" cmp mnt/empty/link tree/dir/f1
rule_fails "it is read-only" "Read-only\|not implemented\|not permitted\|denied" touch mnt/new
rule_fails "a missing name is ENOENT" "No such file" cat mnt/nothing
rule "df knows it" df mnt
rule "umount" fusewire umount mnt
rule "nothing shows after umount" test -z "$(ls -A mnt)"
rule "squashfuse_ll mounts too" squashfuse_ll t.sqfs mnt
rule "every file is the same again" diff -r --no-dereference tree mnt
rule "fusermount3 -u unmounts" fusermount3 -u mnt
rule "nothing shows after fusermount3 -u" test -z "$(ls -A mnt)"
finish
