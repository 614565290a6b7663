. "$SCENARIO/lib.sh"
mkdir cipher mnt
make_tree tree
echo secret > password
rule "a store is made" gocryptfs -init -q -scryptn 10 -passfile password cipher
rule "gocryptfs (Go, its own FUSE library) mounts" gocryptfs -q -passfile password cipher mnt
tree_rules "$PWD/tree" "$PWD/mnt"
rule_sh "symlink and hard link" 'echo x > mnt/a; ln -s a mnt/s && test "$(cat mnt/s)" = x && ln mnt/a mnt/b && cmp mnt/a mnt/b'
rule_sh "names are encrypted" 'test ! -e cipher/a'
rule "fusermount -u unmounts" fusermount -u mnt
rule "nothing shows after umount" test -z "$(ls -A mnt)"
gocryptfs -fg -q -passfile password -ro cipher mnt > daemon.out 2>&1 &
daemon=$!
wait_until is_mounted mnt
rule "in the foreground, read-only, what was written is there" test "$(cat mnt/a)" = x
rule_fails "read-only means it" "Read-only" touch mnt/new
kill $daemon
wait $daemon
wait_until is_free mnt
finish
