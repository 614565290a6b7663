# Unmodified programs on a writable file system.
. "$SCENARIO/lib.sh"
mkdir mnt src
rule "memfs mounts" fusewire fs memfs mnt
mkdir -p src/a/b
for i in $(seq 20); do seq $((i * 100)) > src/a/f$i; done
ln -s f1 src/a/link
ln src/a/f2 src/a/hard
cp /bin/busybox src/a/b/

rule_sh "bash: cd into the mount and back" 'cd mnt && test "$PWD" = "$(pwd -P)" && cd .. && test -d mnt'
rule_sh "bash: relative paths from inside" 'cd mnt && echo in > rel && cat ./rel && test "$(cat ../mnt/rel)" = in && rm rel'
rule_sh "bash: redirections" 'cd mnt; echo 1 > r; echo 2 >> r; { echo 3; echo err >&2; } >> r 2>&1; test "$(tr "\n" " " < r)" = "1 2 3 err "'
rule_sh "bash: pipes" 'cat mnt/r | sort -r | head -1 > mnt/p && test "$(cat mnt/p)" = err'
rule_sh "bash: globbing" 'touch mnt/g1.x mnt/g2.x mnt/g3.y; test "$(echo mnt/*.x)" = "mnt/g1.x mnt/g2.x"'
rule_sh "bash: here-document, read loop" 'while read l; do echo "<$l>"; done < mnt/r > mnt/loop; test "$(head -1 mnt/loop)" = "<1>"'
rule_sh "bash: exec with a descriptor" 'exec 5> mnt/five; echo a >&5; echo b >&5; exec 5>&-; test "$(cat mnt/five | wc -l)" = 2'
rule_sh "bash: a script stored on the mount runs" 'printf "#!/bin/sh\necho script \$1\n" > mnt/s.sh; chmod +x mnt/s.sh; test "$(mnt/s.sh arg)" = "script arg"'
rule_sh "a program stored on the mount runs" 'cp /bin/echo mnt/echo && test "$(mnt/echo stored)" = stored && rm mnt/echo'
rule_sh "a program stored on the mount runs under the smallest file size limit, as do those that read /proc" \
  'cp /bin/echo mnt/echo; bash -c "ulimit -f 0; mnt/echo stored; cat /proc/self/maps /proc/filesystems" | cat > seen; rm mnt/echo; grep -qx stored seen && grep -q "/cat$" seen && grep -q "fuse$" seen'
rule_sh "a file is mapped under the smallest file size limit" \
  'seq 5000 > mnt/mapped; bash -c "ulimit -f 0; python3 -c \"import mmap; f = open(\\\"mnt/mapped\\\"); print(mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)[-5:-1])\"" | cat > seen; grep -q 5000 seen'
rule_sh "cp -a" 'cp -a src mnt/copy && diff -r --no-dereference src mnt/copy && test "$(stat -c %i mnt/copy/a/f2)" = "$(stat -c %i mnt/copy/a/hard)"'
rule_sh "cp -a keeps the times" 'test "$(stat -c %y src/a/f1)" = "$(stat -c %y mnt/copy/a/f1)"'
rule_sh "mv within and across" 'mv mnt/copy mnt/moved && test ! -e mnt/copy && mv mnt/moved/a/f3 . && cmp f3 src/a/f3 && mv f3 mnt/ && cmp mnt/f3 src/a/f3'
rule_sh "ls -la" 'ls -la mnt/moved/a | grep -q "link -> f1"'
rule_sh "stat" 'test "$(stat -c %s mnt/moved/a/f1)" = "$(stat -c %s src/a/f1)"'
rule "df" df mnt
command -v man > /dev/null && rule_sh "man, which confines what it starts" \
  'printf ".TH X 1\n.SH NAME\nx \\\\- y\n" > x.1 && man -l x.1 < /dev/null > page 2>&1; grep -q "x - y" page'
rule_sh "touch, ln, ln -s, truncate" 'cd mnt && touch t && ln t t2 && ln -s t t3 && truncate -s 5000 t && test "$(stat -L -c %s t3)" = 5000 -a "$(stat -c %h t2)" = 2'
rule_sh "dd" 'dd if=/dev/urandom of=mnt/dd bs=64k count=40 status=none && dd if=mnt/dd of=dd bs=1000 status=none && cmp dd mnt/dd'
rule_sh "sort in place" 'seq 5000 | shuf > mnt/n && sort -n -o mnt/n mnt/n && test "$(sed -n 77p mnt/n)" = 77'
rule_sh "sort with temporary files on the mount" 'seq 200000 | shuf | TMPDIR=$PWD/mnt sort -n -S 1M | sed -n 100000p | grep -qx 100000'
rule_sh "sha256sum" 'test "$(sha256sum < mnt/dd)" = "$(sha256sum < dd)"'
rule_sh "find" 'test "$(find mnt/moved -type f | wc -l)" = "$(($(find src -type f | wc -l) - 1))"'
rule_sh "find -exec, -newer, -size" 'find mnt -name "*.x" -exec rm {} + && test -z "$(find mnt -name "*.x")" && find mnt -newer mnt/r -size +1k > /dev/null'
rule_sh "grep -r" 'test "$(grep -rl "^1999$" mnt/moved | wc -l)" -ge 1'
rule_sh "sed -i" 'echo old > mnt/sed && sed -i s/old/new/ mnt/sed && test "$(cat mnt/sed)" = new'
rule_sh "tar creates and extracts" 'tar -cf mnt/t.tar -C src . && mkdir mnt/x && tar -xf mnt/t.tar -C mnt/x && diff -r --no-dereference src mnt/x'
rule_sh "tar with gzip" 'tar -czf mnt/t.tgz -C mnt/x . && mkdir back && tar -xzf mnt/t.tgz -C back && diff -r --no-dereference src back'
rule_sh "a static busybox" 'busybox ls -la mnt > /dev/null && busybox cp mnt/dd mnt/bb && busybox cmp mnt/bb dd && busybox sh -c "cd mnt && busybox rm bb && test ! -e bb"'
rule_sh "a static busybox stored on the mount" 'mnt/x/a/b/busybox echo yes | grep -qx yes'
rule_sh "env -i" 'env -i /bin/cat mnt/sed | grep -qx new'
rule_sh "python3 reads and writes" "python3 - <<'P'
import os, shutil, tempfile, json, pathlib
os.chdir('mnt')
with open('py', 'w') as f:
    for i in range(10000): f.write(f'{i}\n')
assert sum(int(l) for l in open('py')) == 49995000
with open('py', 'r+b') as f:
    f.seek(100); f.write(b'XX'); f.seek(0, 2); assert f.tell() == 48890, f.tell()
    f.truncate(50)
assert os.path.getsize('py') == 50
with tempfile.NamedTemporaryFile(dir='.') as t:
    t.write(b'x' * 300000); t.flush(); assert os.stat(t.name).st_size == 300000
os.makedirs('d/e/f'); pathlib.Path('d/e/f/g').write_text('deep')
assert [x[2] for x in os.walk('d')] == [[], [], ['g']]
os.rename('d', 'd2'); shutil.rmtree('d2'); assert not os.path.exists('d2')
os.symlink('py', 'pylink'); assert os.readlink('pylink') == 'py'
json.dump({'a': 1}, open('j', 'w')); assert json.load(open('j')) == {'a': 1}
assert os.getcwd().endswith('/mnt')
P"
rule_sh "python3: subprocess with its cwd on the mount" "cd mnt && python3 -c \"import subprocess; assert subprocess.check_output(['cat', 'sed'], cwd='.') == b'new\\n'\""
rule "a static Go program" gowalk mnt/x src
rule_sh "inherited descriptors in children" 'exec 6< mnt/n; head -c 4 <&6 > /dev/null; bash -c "read -r line <&6; test -n \"\$line\""'
rule_sh "the gate's descriptors are not listed" 'cd mnt && python3 -c "
import os
shown = sorted(int(n) for n in os.listdir(\"/proc/self/fd\"))
assert max(shown) < 1000, shown
os.stat(\"sed\")
for fd in range(1000, 1010):
    try: os.dup(fd)
    except OSError as e: continue
    assert False, fd"'
rule_sh "descriptors by any number" 'cd mnt && for i in $(seq 1000 1006); do eval "exec $i<sed"; done; for i in $(seq 1000 1006); do test "$(eval "cat <&$i")" = new; done'
rule_sh "too many open files" 'cd mnt && (ulimit -n 64; python3 -c "
import errno, os
kept = []
try:
    while True: kept.append(os.open(\"sed\", os.O_RDONLY))
except OSError as e: assert e.errno == errno.EMFILE, e
assert len(kept) > 40
for flags in (os.O_CREAT, os.O_TRUNC):
    try: os.open(\"unmade\" if flags == os.O_CREAT else \"sed\", os.O_WRONLY | flags)
    except OSError as e: assert e.errno == errno.EMFILE, e
assert not os.path.exists(\"unmade\") and os.path.getsize(\"sed\") > 0
os.close(kept.pop())
os.open(\"sed\", os.O_RDONLY)")'
rule_sh "a directory deeper than PATH_MAX" 'mkdir mnt/deep && cd mnt/deep && python3 -c "
import errno, os
for i in range(50): os.mkdir(\"d\" * 100); os.chdir(\"d\" * 100)
open(\"bottom\", \"w\").write(\"deep\")
try: os.readlink(\"/proc/self/cwd\")
except OSError as e: assert e.errno == errno.ENAMETOOLONG, e
else: assert False
assert os.getcwd().endswith(\"/mnt/deep\" + (\"/\" + \"d\" * 100) * 50)
import subprocess
assert subprocess.check_output([\"cat\", \"bottom\"]) == b\"deep\"" && cd .. && rm -rf deep'
if [ "$WHO" = root ]; then
  other='setpriv --reuid 65534 --regid 65534 --clear-groups'
  rule_sh "another user runs programs" "test \"\$($other sh -c 'sh -c \"id -u\"')\" = 65534"
  rule_fails "another user sees the mount, and may not enter it" "Permission denied" $other cat mnt/sed
  rule_sh "another user in a working directory on the mount" "cd mnt && test \"\$($other sh -c 'ls . 2>/dev/null || cd / && pwd' 2>/dev/null)\" = /"
  rule_sh "and back" "cd mnt && python3 -c 'import os; os.seteuid(65534); assert not os.path.exists(\"sed\"); os.seteuid(0); os.stat(\"sed\")'"
fi
rule_sh "a thread with a working directory of its own leaves the others theirs" 'python3 -c "
import ctypes, os, threading
def with_own_cwd(path):
    def run():
        if ctypes.CDLL(None).unshare(0x200) != 0: return
        try: os.chdir(path)
        except OSError: pass
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    while len(os.listdir(\"/proc/self/task\")) > 1: os.sched_yield()
with_own_cwd(\"mnt\")
os.stat(\"mnt/sed\")
os.chdir(\"mnt\")
with_own_cwd(\"/\")
assert open(\"sed\").read() == \"new\\n\", os.listdir()
assert os.getcwd().endswith(\"/mnt\"), os.getcwd()"'
if unshare -rpf true 2> /dev/null; then
  rule_sh "a new PID namespace" 'cd mnt && test "$(unshare -rpf sh -c "echo \$\$; cat sed" | tr "\n" " ")" = "1 new "'
fi
if unshare -rm true 2> /dev/null; then
  rule_sh "a new mount namespace" 'cd mnt && unshare -rm cat sed | grep -qx new'
fi
rule_sh "umask" '(umask 027; : > mnt/um; mkdir mnt/umd); test "$(stat -c %a mnt/um)$(stat -c %a mnt/umd)" = 640750'
rule_fails "cat of a directory" "Is a directory" cat mnt/x
rule_fails "rmdir of a full directory" "not empty" rmdir mnt/x
rule_fails "mkdir twice" "File exists" mkdir mnt/x
rule_fails "a name too long" "too long" touch "mnt/$(printf 'x%.0s' $(seq 300))"
rule_sh "a symlink from outside leads in" 'ln -s "$PWD/mnt/sed" into && test "$(cat into)" = new && ln -s mnt/x intodir && test -e intodir/a/f1'
rule_sh "an absolute symlink on the mount leads out" 'ln -s /etc/hostname mnt/out && cmp mnt/out /etc/hostname'
rule_sh ".. leads out of the mount" 'test -e mnt/../src/a/f1 && cd mnt/x/a && test -e ../../../src/a/f1'
rule_sh "many files" 'mkdir mnt/many && cd mnt/many && for i in $(seq 1500); do : > file$i; done && test "$(ls | wc -l)" = 1500 && rm file* && test -z "$(ls)"'
rule_sh "rm -rf" 'rm -rf mnt/x mnt/moved && test ! -e mnt/x'
rule_sh "a deleted cwd" 'mkdir mnt/gone && cd mnt/gone && rmdir ../gone && ! ls . 2>/dev/null || true'
rule "the log names nothing unsupported" bash -c '! grep -i "not supported" "$FUSEWIRE_NAMESPACE/log"'
rule "umount" fusewire umount mnt
rule "nothing was written beneath" test -z "$(ls -A mnt)"
finish
