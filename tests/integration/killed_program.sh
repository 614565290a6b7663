. "$SCENARIO/lib.sh"
mkdir mnt
rule "memfs mounts" fusewire fs memfs mnt
: > mnt/file
daemon=$(connection_of mnt daemon_pid)
connection=$(connection_of mnt)
python3 -c '
import fcntl, os, sys, time
f = open("mnt/file", "r+")
fcntl.flock(f, fcntl.LOCK_EX)
fcntl.lockf(f, fcntl.LOCK_EX)
os.unlink("mnt/file2") if os.path.exists("mnt/file2") else None
open("locked", "w").close()
time.sleep(1000)' &
holder=$!
wait_until test -e locked
rule_sh "the lock is held" '! flock -n mnt/file true'
rule "the file is open" test "$(connection_of mnt open_files)" -ge 1
kill -KILL $holder
wait $holder 2>/dev/null
released() { [ "$(connection_of mnt open_files)" = 0 ]; }
wait_until released
rule "its flock is gone" flock -n mnt/file true
rule "its POSIX lock is gone" python3 -c 'import fcntl; f = open("mnt/file", "r+"); fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB)'
kill -STOP "$daemon"
stat mnt/asked 2>/dev/null &
sleeper=$!
waiting() { [ "$(cat /sys/fs/fuse/connections/$connection/waiting)" -ge 1 ]; }
wait_until waiting
kill -KILL $sleeper
wait $sleeper 2>/dev/null
rule "a program asleep in a call is killed at once" test $? = 137
# With a handled signal behind it, and one whose handler was taken back.
for fatal in TERM USR2; do
  rm -f handling
  python3 -c '
import os, signal, time
signal.signal(signal.SIGUSR1, lambda *_: None)
signal.signal(signal.SIGUSR2, lambda *_: None)
signal.signal(signal.SIGUSR2, signal.SIG_DFL)
open("handling", "w").close()
os.stat("mnt/asked-too")' &
  sleeper=$!
  asleep() { [ -e handling ] && [ "$(cat /sys/fs/fuse/connections/$connection/waiting)" -ge "$1" ]; }
  before=$(cat /sys/fs/fuse/connections/$connection/waiting)
  wait_until asleep $((before + 1))
  kill -USR1 $sleeper
  interrupted() { grep -q "^SigPnd:.*[1-9a-f]" /proc/$sleeper/status; }
  wait_until interrupted
  kill -$fatal $sleeper
  gone() { ! kill -0 $sleeper 2> /dev/null || grep -q "^State:.Z" /proc/$sleeper/status; }
  wait_until gone
  wait $sleeper 2>/dev/null
  rule "a waiting program that has handled a signal dies of SIG$fatal" test $? = $((128 + $(kill -l $fatal)))
done
kill -CONT "$daemon"
nobody_waits() { [ "$(cat /sys/fs/fuse/connections/$connection/waiting)" = 0 ]; }
wait_until nobody_waits
rule_sh "the mount serves on" 'echo x > mnt/y && test "$(cat mnt/y)" = x'
rule "umount" fusewire umount mnt
finish
