. "$SCENARIO/lib.sh"
mkdir behind mnt
rule "bindfs (libfuse 2) mounts" bindfs behind mnt
rule_sh "a file is written" 'echo one > mnt/a && test "$(cat behind/a)" = one'
rule_sh "a file is appended" 'echo two >> mnt/a && test "$(tail -1 behind/a)" = two'
rule_sh "a file written behind is read" 'echo behind > behind/b && test "$(cat mnt/b)" = behind'
rule_sh "rename" 'mv mnt/a mnt/c && test -e behind/c -a ! -e behind/a'
rule_sh "rename over an existing file" 'echo x > mnt/x && mv mnt/x mnt/c && test "$(cat behind/c)" = x'
rule_sh "link" 'ln mnt/c mnt/d && test behind/c -ef behind/d'
rule_sh "symlink" 'ln -s c mnt/s && test "$(readlink behind/s)" = c && test "$(cat mnt/s)" = x'
rule_sh "unlink" 'rm mnt/d && test ! -e behind/d'
rule_sh "mkdir and rmdir" 'mkdir mnt/dir && test -d behind/dir && rmdir mnt/dir && test ! -e behind/dir'
rule_sh "chmod" 'chmod 640 mnt/c && test "$(stat -c %a behind/c)" = 640'
rule_sh "truncate" 'truncate -s 100000 mnt/c && test "$(stat -c %s behind/c)" = 100000 && truncate -s 3 mnt/c && test "$(stat -c %s behind/c)" = 3'
rule_sh "touch -d" 'touch -d "2001-02-03 04:05:06 UTC" mnt/c && test "$(stat -c %Y behind/c)" = 981173106'
rule_sh "umask" 'umask 077; : > mnt/u; test "$(stat -c %a behind/u)" = 600'
rule_sh "xattr" 'setfattr -n user.key -v value mnt/c && test "$(getfattr --only-values -n user.key behind/c)" = value && getfattr -d mnt/c | grep -q user.key && setfattr -x user.key mnt/c && ! getfattr -n user.key behind/c'
rule_sh "a large file keeps its content" 'head -c 20000000 /dev/urandom > big && cp big mnt/big && cmp big behind/big && cmp big mnt/big'
rule_sh "a tree is copied with everything" 'cp -a /usr/share/perl5/Debconf mnt/tree; diff -r mnt/tree behind/tree; diff -r /usr/share/perl5/Debconf behind/tree'
rule_sh "the tree is removed" 'rm -rf mnt/tree && test ! -e behind/tree'
rule_sh "fifo" 'mkfifo mnt/fifo && test -p behind/fifo'
rule "statfs" stat -f mnt
rule_sh "dd with offsets" 'dd if=/dev/zero of=mnt/dd bs=1000 count=10 status=none && printf middle | dd of=mnt/dd bs=1 seek=5000 conv=notrunc status=none && test "$(dd if=behind/dd bs=1 skip=5000 count=6 status=none)" = middle'
cat > watch.py <<'END'
import ctypes, os, signal, struct, subprocess, sys
libc = ctypes.CDLL(None, use_errno=True)
words = {0x1: "ACCESS", 0x2: "MODIFY", 0x4: "ATTRIB", 0x8: "CLOSE_WRITE", 0x20: "OPEN", 0x100: "CREATE", 0x200: "DELETE"}
descriptor = libc.inotify_init1(0)
assert libc.inotify_add_watch(descriptor, b"mnt", sum(words)) > 0
native = libc.inotify_add_watch(descriptor, b".", sum(words))
subprocess.run(["sh", "-c", sys.argv[1]], check=True)
signal.alarm(30)
wanted, told = sys.argv[2].split(), []
while len(told) < len(wanted):
    events = os.read(descriptor, 4096)
    while events:
        watch, mask, _, size = struct.unpack_from("iIII", events)
        name = events[16:16 + size].rstrip(b"\0").decode()
        if name != "rule.out": told.append(("./" if watch == native else "") + words[mask & 0xfff] + "=" + name)
        events = events[16 + size:]
assert told == wanted, told
END
rule "another process's changes are told, beside those of an ordinary directory" python3 watch.py \
  'echo x > mnt/told; : > outside; rm mnt/told' \
  'CREATE=told OPEN=told MODIFY=told CLOSE_WRITE=told ./CREATE=outside ./OPEN=outside ./CLOSE_WRITE=outside DELETE=told'
rule "a name that the daemon alone has made is told when it is used" python3 watch.py \
  'echo x > behind/late; chmod 600 mnt/late; rm mnt/late' 'CREATE=late ATTRIB=late DELETE=late'
rule "a name that went by the daemon alone can be made again" python3 watch.py \
  'mkdir mnt/sub; rmdir behind/sub; until true > mnt/sub; do sleep 0.1; done 2> /dev/null; rm mnt/sub' \
  'CREATE=sub DELETE=sub CREATE=sub OPEN=sub CLOSE_WRITE=sub DELETE=sub'
rule "fusermount -u unmounts" fusermount -u mnt
rule "nothing shows after umount" test -z "$(ls -A mnt)"
finish
