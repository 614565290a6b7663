. "$SCENARIO/lib.sh"
mkdir mnt
python3 "$SCENARIO/programs/spliced_daemon.py" mnt > daemon.out 2>&1 &
daemon=$!
serving() { grep -q serving daemon.out; }
wait_until serving
rule "a name that there is" test "$(stat -c %s mnt/big)" = 1004000
rule_fails "a name that there is not" "No such file" stat mnt/small
rule "a large file is read whole" test "$(md5sum < mnt/big)" = "$(python3 -c 'import hashlib; print(hashlib.md5(bytes(range(251)) * 4000).hexdigest(), " -", sep=" ")')"
rule "umount" fusermount3 -u mnt
rule "the daemon ends by itself" wait $daemon
rule "it saw what the real device shows" grep -q "ended well" daemon.out
sed 's/^/      | /' daemon.out
finish
