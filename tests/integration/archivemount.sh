. "$SCENARIO/lib.sh"
mkdir mnt
make_tree tree
tar -C tree -czf tree.tgz .
rule "archivemount (libfuse 2) mounts" archivemount -o readonly tree.tgz mnt
rule "the archive's tree is the same" diff -r tree mnt
rule "umount" umount mnt
rule "archivemount mounts for writing" archivemount tree.tgz mnt
rule_sh "a new file" 'echo new > mnt/new && test "$(cat mnt/new)" = new'
rule "a file is removed" rm mnt/sub/f1
rule "fusermount -u unmounts" fusermount -u mnt
# The daemon writes the archive when its mount is gone.
has_new() { tar -tzf tree.tgz ./new 2> /dev/null || tar -tzf tree.tgz new; }
wait_until has_new
rule_sh "the archive has the new file, and not the removed one" 'tar -tzf tree.tgz | grep -q new && ! tar -tzf tree.tgz | grep -qx -e sub/f1 -e ./sub/f1'
finish
