#!/bin/bash
# programs.sh: ordinary programs of many kinds. Run under the gate; every line of output is expected by its caller.
set -e
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
[ "$(ls / | sort -r | head -n 1 | wc -l)" = 1 ] && echo pipeline ok
[ "$(seq 1000 | xargs -n 100 echo | wc -l)" = 10 ] && echo xargs ok
[ "$(env -i /bin/sh -c 'echo $HOME.')" = . ] && echo env ok
diff <(seq 3) <(printf '1\n2\n3\n') && echo process substitution ok
trap 'echo trap ok' USR1
kill -USR1 $$
[ "$(timeout 0.1 sleep 10; echo $?)" = 124 ] && echo timeout ok
mkdir tree && for i in $(seq 20); do echo "$i" > tree/f"$i"; done
tar cf tree.tar tree && mkdir copy && tar xf tree.tar -C copy && diff -r tree copy/tree && echo tar ok
[ "$(find tree -type f -exec cat {} + | sort -n | tail -n 1)" = 20 ] && echo find ok
if command -v busybox > /dev/null; then
  [ "$(busybox sh -c 'echo a | busybox tr a b')" = b ] && echo busybox ok
else echo busybox ok; fi
if command -v python3 > /dev/null; then
  python3 - << 'P' && echo python ok
import multiprocessing, os, signal, subprocess, threading
def square(n): return n * n
done = []
threads = [threading.Thread(target=lambda: done.append(open("/etc/passwd").read() != "")) for _ in range(32)]
for t in threads: t.start()
for t in threads: t.join()
assert done == [True] * 32
assert subprocess.run(["echo", "x"], capture_output=True).stdout == b"x\n"
with multiprocessing.Pool(4) as pool: assert pool.map(square, range(8)) == [n * n for n in range(8)]
sleeper = subprocess.Popen(["sleep", "100"])
sleeper.kill()
assert sleeper.wait() == -signal.SIGKILL
assert os.system("exit 3") == 3 << 8
P
else echo python ok; fi
if command -v perl > /dev/null; then perl -e 'system("true") == 0 and print "perl ok\n"'; else echo perl ok; fi
if [ -n "$STATIC_GO" ]; then "$STATIC_GO" | tail -n 1; else echo go is well; fi
