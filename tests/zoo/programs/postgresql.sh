# packages: postgresql
# seconds: 200
# pgbench, a crash by kill -9 in the middle, recovery, and the sums that must agree.
set -e
[ "$(id -u)" -ne 0 ] || { echo "postgres refuses root" >&2; exit 1; }
initdb -D data -U zoo -A trust > /dev/null
start() { pg_ctl -D data -w -s -l log -o "-c listen_addresses='' -k /tmp -p 54329" start; }
q() { psql -h /tmp -p 54329 -U zoo -At -c "$1" postgres; }
start
pgbench -h /tmp -p 54329 -U zoo -q -i -s 2 postgres 2> /dev/null
pgbench -h /tmp -p 54329 -U zoo -c 4 -T 5 postgres > /dev/null 2>&1 &
bench=$!
sleep 2
kill -9 "$(head -1 data/postmaster.pid)"
wait $bench || true
sleep 1
start
q "select (select sum(abalance) from pgbench_accounts) = (select sum(delta) from pgbench_history) and (select sum(tbalance) from pgbench_tellers) = (select sum(delta) from pgbench_history)"
q "select count(*) from pgbench_accounts"
pg_ctl -D data -w -s -m fast stop
