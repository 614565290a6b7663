# packages: redis-server redis-tools
# An append-only file, kill -9, and every acknowledged key is there again.
set -e
s=/tmp/zoo-redis-$$.sock
start() { redis-server --port 0 --unixsocket $s --dir "$PWD" --appendonly yes --appendfsync always --daemonize no --save '' > log 2>&1 & pid=$!
  for _ in $(seq 100); do redis-cli -s $s ping > /dev/null 2>&1 && return; sleep 0.05; done; return 1; }
start
for i in $(seq 300); do echo "SET k$i v$i"; done | redis-cli -s $s > /dev/null
redis-cli -s $s bgrewriteaof > /dev/null
kill -9 $pid; wait $pid 2> /dev/null || true
start
redis-cli -s $s dbsize; redis-cli -s $s get k300
kill $pid; wait $pid 2> /dev/null || true
