. "$SCENARIO/lib.sh"
mkdir mnt other
rule "memfs mounts" fusewire fs memfs mnt
rule "another memfs mounts" fusewire fs memfs other
echo data > mnt/file
echo kept > other/file
daemon=$(connection_of mnt daemon_pid)
connection=$(connection_of mnt)
exec 7< mnt/file
kill -STOP "$daemon"
for i in $(seq 8); do (stat "mnt/unknown$i" > "stat$i.out" 2>&1) & done
waiting() { [ "$(cat /sys/fs/fuse/connections/$connection/waiting)" -ge 8 ]; }
wait_until waiting
kill -KILL "$daemon"
for job in $(jobs -p); do wait "$job"; done
for i in $(seq 8); do
  rule "sleeper $i gets ENOTCONN or ECONNABORTED" grep -q -e "not connected" -e "connection abort" "stat$i.out"
done
rule_fails "a later call gets ENOTCONN" "not connected" ls mnt
rule_fails "an open file gets ENOTCONN" "not connected" cat <&7
exec 7<&-
rule "the other mount lives on" test "$(cat other/file)" = kept
rule "umount works" fusewire umount mnt
rule "nothing shows after umount" test -z "$(ls -A mnt)"
rule "a new daemon mounts there" fusewire fs memfs mnt
rule_sh "and serves" 'echo again > mnt/file && test "$(cat mnt/file)" = again'
rule "umount again" fusewire umount mnt
rule "umount the other" fusewire umount other
finish
