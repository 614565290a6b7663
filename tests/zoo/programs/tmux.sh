# packages: tmux
# A session whose socket is in the mount.
set -e
tmux -S "$PWD/s" -f /dev/null new-session -d -x 80 -y 24 'sh -c "echo in tmux > out; sleep 0.2"'
for _ in $(seq 100); do [ -s out ] && break; sleep 0.05; done; cat out
