. "$SCENARIO/lib.sh"
mkdir mnt
rule "memfs mounts" fusewire fs memfs mnt
id=$(connection_of mnt)
base=/sys/fs/fuse/connections
rule "the connection is listed" test -d "$base/$id"
rule "only connections are listed" test "$(ls $base)" = "$id"
rule "its four files are there" test "$(ls $base/$id | sort | tr '\n' ' ')" = "abort congestion_threshold max_background waiting "
rule "their modes are Linux's" test "$(stat -c %a $base/$id $base/$id/waiting $base/$id/abort $base/$id/max_background $base/$id/congestion_threshold | tr '\n' ' ')" = "500 400 200 600 600 "
rule "waiting is 0 at rest" test "$(cat $base/$id/waiting)" = 0
rule "max_background is 12" test "$(cat $base/$id/max_background)" = 12
rule "congestion_threshold is 9" test "$(cat $base/$id/congestion_threshold)" = 9
rule_sh "max_background is written" "echo 20 > $base/$id/max_background"
twenty() { [ "$(cat $base/$id/max_background)" = 20 ]; }
wait_until twenty
rule_fails "70000 is EINVAL" "Invalid argument" bash -c "echo 70000 > $base/$id/max_background"
daemon=$(connection_of mnt daemon_pid)
kill -STOP "$daemon"
(stat mnt/asked > stat.out 2>&1) &
sleeper=$!
waiting() { [ "$(cat $base/$id/waiting)" -ge 1 ]; }
wait_until waiting
rule_sh "echo 1 > abort" "echo 1 > $base/$id/abort"
wait $sleeper
rule "the sleeper gets ECONNABORTED" grep -q "connection abort" stat.out
kill -CONT "$daemon"
rule_fails "later calls get ENOTCONN" "not connected" ls mnt
rule "umount" fusewire umount mnt
rule "the connection is gone" test ! -e "$base/$id"
finish
