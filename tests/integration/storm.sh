# Threads and processes open, write, dup2, close, fork, vfork, exec, lock, change directories, send descriptors and are
# killed at random (storm.cc); afterwards every open file has gone back to its daemon.
. "$SCENARIO/lib.sh"
mkdir mnt source native
open_files() { connection_of mnt open_files; }
nothing_is_open() { test "$(open_files)" = 0; }
half=$((${SOAK:-60} / 2))
for kind in memfs bindfs; do
  rm -rf native/*
  if [ $kind = memfs ]; then fusewire fs memfs mnt; else bindfs source mnt; fi
  wait_until is_mounted mnt
  rule "nothing is lost or doubled on $kind" timeout $((half + 120)) storm "$half" "$PWD/mnt" "$PWD/native" "$RANDOM"
  sed 's/^/      /' rule.out
  wait_until nothing_is_open
  rule "every open file has gone back to its daemon" test "$(open_files)" = 0
  rule "no request is lost" test "$(connection_of mnt waiting)" = 0
  rule "it is unmounted, since nothing keeps it busy" fusermount -u mnt
done
finish
