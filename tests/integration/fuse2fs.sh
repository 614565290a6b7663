. "$SCENARIO/lib.sh"
mkdir mnt
make_tree tree
truncate -s 32M image
mkfs.ext4 -q -F -E root_owner="$(id -u):$(id -g)" image
rule "fuse2fs (libfuse 2) mounts" fuse2fs -o fakeroot image mnt
cp -a tree mnt/kept
rule "a tree is copied" diff -r tree mnt/kept
rule_sh "rename, link, xattr" 'mv mnt/kept/sub mnt/kept/moved && ln mnt/kept/zero mnt/link && setfattr -n user.key -v value mnt/link && test "$(getfattr --only-values -n user.key mnt/kept/zero)" = value'
rule_sh "the tree is removed" 'cp -a tree mnt/gone && rm -rf mnt/gone && test ! -e mnt/gone'
daemon=$(connection_of mnt daemon_pid)
rule "umount" fusewire umount mnt
ended() { ! kill -0 "$daemon"; }
wait_until ended
rule "the file system is sound" e2fsck -fn image
rule "it mounts once more" fuse2fs -o ro image mnt
rule "what was written is there" diff -r tree/sub mnt/kept/moved
rule "fusermount3 -u unmounts" fusermount3 -u mnt
finish
