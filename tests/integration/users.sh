. "$SCENARIO/lib.sh"
export SHELL=/bin/sh
has() { command -v "$1" > /dev/null; }

if [ "$WHO" = user ]; then
  mkdir mnt
  rule "memfs mounts" fusewire fs memfs -o default_permissions mnt
  rule_sh "a file that its owner may not read" 'echo x > mnt/closed && chmod 0 mnt/closed && ! cat mnt/closed 2> /dev/null'
  if unshare -r true 2> /dev/null; then
    rule_sh "root of a user namespace has its rights over the ids in it" 'test "$(unshare -r cat mnt/closed)" = x'
    rule_sh "and is the user" 'unshare -r sh -c "echo y > mnt/made" && test "$(stat -c %u mnt/made)" = "$(id -u)"'
    rule_sh "a user namespace that the program enters itself, and gives ids to later" 'python3 -c "
import ctypes, os
uid, gid = os.getuid(), os.getgid()
def refused():
    try: open(\"mnt/closed\")
    except PermissionError: return True
assert refused()
assert ctypes.CDLL(None).unshare(0x10000000) == 0
assert refused()
for name, text in ((\"setgroups\", \"deny\"), (\"uid_map\", f\"0 {uid} 1\"), (\"gid_map\", f\"0 {gid} 1\")):
    with open(\"/proc/self/\" + name, \"w\") as f: f.write(text)
assert open(\"mnt/closed\").read() == \"x\\n\""'
  fi
  rule "umount" fusewire umount mnt
  finish
fi

id=54321
other=(setpriv --reuid $id --regid $id --clear-groups)
chmod 755 . ..
mkdir mnt closed theirs root_dir
chown $id:$id theirs
rule "memfs mounts for all" fusewire fs memfs -o allow_other,default_permissions,suid,dev mnt
rule "memfs mounts for root alone" fusewire fs memfs closed
export id
chmod 777 mnt
echo secret > mnt/secret && chmod 600 mnt/secret
echo hello > mnt/hello && echo x > closed/f

# Without allow_other: as Linux, also at the mount's root, and for what is open already.
rule_fails "the root of another's mount is closed" "Permission denied" "${other[@]}" stat closed
rule_fails "so is what lies in it" "Permission denied" "${other[@]}" cat closed/f
rule_fails "and its statistics" "Permission denied" "${other[@]}" stat -f closed/f
rule_sh "what is open goes on" 'setpriv --reuid $id --regid $id --clear-groups sh -c "read -r line && test \$line = x" < closed/f && setpriv --reuid $id --regid $id --clear-groups sh -c "echo hi" > closed/out && test "$(cat closed/out)" = hi'
rule_sh "a root whose effective user alone is another is no owner" 'python3 -c "
import os
os.seteuid(54321)
try: os.stat(\"closed/f\")
except PermissionError: pass
else: assert False
os.seteuid(0)
os.stat(\"closed/f\")"'

# Programs that change their user.
rule_sh "setpriv" 'setpriv --reuid $id --regid $id --clear-groups sh -c "cat mnt/hello; ! cat mnt/secret; echo mine > mnt/setpriv" 2> /dev/null; test "$(stat -c %u:%g mnt/setpriv)" = $id:$id'
has su && rule_sh "su" 'test "$(su nobody -s /bin/sh -c "id -un; cat mnt/hello; cat mnt/secret 2> /dev/null" | tr "\n" " ")" = "nobody hello "'
has runuser && rule_sh "runuser" 'runuser -u nobody -- sh -c "cat mnt/hello && echo x > mnt/runuser" && test "$(stat -c %U mnt/runuser)" = nobody'
has sudo && rule_sh "sudo" 'test "$(sudo -n -u nobody sh -c "id -un; cat mnt/hello; cat mnt/secret 2> /dev/null" | tr "\n" " ")" = "nobody hello "'
has sudo && rule_sh "sudo, with the directory on the mount" 'cd mnt && test "$(sudo -n -u nobody sh -c "pwd; echo x > sudo")" = "$PWD" && test "$(stat -c %U sudo)" = nobody'
rule_sh "a program on the mount, run as another user" 'cp /bin/cat mnt/cat && test "$(setpriv --reuid $id --regid $id --clear-groups mnt/cat mnt/hello)" = hello'
rule_sh "a server that drops root" 'python3 - <<"P"
import os, socket
log = open("mnt/log", "a")
server = socket.create_server(("127.0.0.1", 0))
if os.fork() == 0:
    os.chdir("mnt")
    os.setgroups([]); os.setgid(54321); os.setuid(54321)
    peer = server.accept()[0]
    name = peer.recv(100).decode()
    try: answer = open(name).read()
    except OSError as e: answer = e.strerror
    log.write(name + "\n"); log.flush()
    peer.sendall(answer.encode()); os._exit(0)
def ask(name):
    s = socket.create_connection(server.getsockname())
    s.sendall(name.encode()); s.shutdown(socket.SHUT_WR)
    return s.makefile().read()
answer = ask("secret"); os.wait()
assert answer == "Permission denied", answer
assert open("mnt/log").read() == "secret\n"
P'
rule_sh "groups count" 'chown 0:4711 mnt/secret && chmod 640 mnt/secret && setpriv --reuid $id --regid $id --groups 4711 cat mnt/secret | grep -qx secret && chmod 600 mnt/secret'
if has nginx; then
  cat > nginx.conf <<N
user nobody nogroup;
pid $PWD/nginx.pid;
error_log $PWD/mnt/error.log;
events {}
http { access_log $PWD/mnt/access.log; client_body_temp_path $PWD/tmp1; proxy_temp_path $PWD/tmp2; fastcgi_temp_path $PWD/tmp3;
  uwsgi_temp_path $PWD/tmp4; scgi_temp_path $PWD/tmp5;
  server { listen unix:$PWD/nginx.sock; root $PWD/mnt; } }
N
  rule "nginx starts" nginx -c "$PWD/nginx.conf"
  wait_until test -S nginx.sock
  rule_sh "nginx serves as another user" 'python3 - <<"P"
import socket
def get(path):
    s = socket.socket(socket.AF_UNIX); s.connect("nginx.sock")
    s.sendall(b"GET %s HTTP/1.0\r\n\r\n" % path)
    return s.makefile("rb").read()
assert get(b"/hello").endswith(b"\r\n\r\nhello\n"), get(b"/hello")
assert b" 403 " in get(b"/secret").split(b"\r\n")[0], get(b"/secret")
P'
  rule_sh "its log is written by both" 'grep -q "GET /hello" mnt/access.log && grep -q denied mnt/error.log'
  rule "nginx ends" nginx -c "$PWD/nginx.conf" -s quit
  wait_until test ! -e nginx.pid
fi

# sshd forks, drops its rights and becomes the user; a name of our own for the user stands in a private /etc.
if has sshd && has ssh && has sftp && unshare -m true 2> /dev/null; then
  port=$((20000 + $$ % 20000))
  ssh-keygen -q -t ed25519 -N '' -f host && ssh-keygen -q -t ed25519 -N '' -f key
  cp key.pub authorized && chmod 644 authorized
  cat > sshd_config <<S
Port $port
ListenAddress 127.0.0.1
HostKey $PWD/host
AuthorizedKeysFile $PWD/authorized
StrictModes no
UsePAM no
PidFile none
Subsystem sftp internal-sftp
S
  (cat /etc/passwd; echo "fuseuser:x:$id:$id::$PWD/mnt:/bin/sh") > passwd
  (cat /etc/shadow; echo "fuseuser:*:19000:0:99999:7:::") > shadow && chmod 600 shadow
    unshare -m sh -c 'mount --bind passwd /etc/passwd && mount --bind shadow /etc/shadow && mkdir -p /run/sshd && exec "$(command -v sshd)" -D -e -f "$PWD/sshd_config"' 2> sshd.log &
  daemon=$!
  options=(-i key -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o BatchMode=yes -o ConnectTimeout=20)
  wait_until grep -q "Server listening" sshd.log
  rule_sh "ssh: who one is, and where" "test \"\$(ssh ${options[*]} -p $port fuseuser@127.0.0.1 'id -u; pwd; cat hello; cat secret 2>&1; echo x > ssh' | tr '\n' '|')\" = \"$id|$PWD/mnt|hello|cat: secret: Permission denied|\""
  rule_sh "what it made is the user's" "test \"\$(stat -c %u mnt/ssh)\" = $id"
  rule_sh "sftp" "echo 'put key.pub $PWD/mnt/uploaded' | sftp -b - ${options[*]} -P $port fuseuser@127.0.0.1 && cmp key.pub mnt/uploaded && test \"\$(stat -c %u mnt/uploaded)\" = $id"
  kill $daemon; wait $daemon 2> /dev/null
fi

# What another user may ask for: what a set-user-ID fusermount does for users.
rule_fails "another's mount is not unmounted" "not permitted" "${other[@]}" fusermount3 -u mnt
rule_fails "nor by umount(2)" "not permitted" "${other[@]}" python3 -c 'import ctypes, os; l = ctypes.CDLL(None, use_errno=True); l.umount2(b"mnt", 2) == 0 or exit(os.strerror(ctypes.get_errno()))'
rule "it is mounted still" is_mounted mnt
rule_fails "another's connection is not aborted" "Permission denied" "${other[@]}" sh -c "echo 1 > /sys/fs/fuse/connections/$(connection_of mnt)/abort"
rule_fails "nothing is mounted on a directory of root's" "not permitted\|no write access" "${other[@]}" fusewire fs memfs root_dir
rule_sh "nor by mount(2)" 'setpriv --reuid $id --regid $id --clear-groups python3 - <<"P"
import ctypes, errno, os
l = ctypes.CDLL(None, use_errno=True)
fd = os.open("/dev/fuse", os.O_RDWR)
def mount(at, options, flags=6):
    data = f"fd={fd},rootmode=40000,{options}".encode()
    return 0 if l.mount(b"x", at.encode(), b"fuse", flags, data) == 0 else ctypes.get_errno()
mine = "user_id=54321,group_id=54321"
assert mount("root_dir", mine) == errno.EPERM
assert mount("theirs", mine, 0) == errno.EPERM, "neither nosuid nor nodev"
assert mount("theirs", "user_id=0,group_id=0") == errno.EPERM, "for another"
assert mount("theirs", mine) == 0
P'
rule "a mount whose daemon is gone is unmounted by its user" "${other[@]}" fusermount3 -u theirs
rule "a user mounts on what is his" "${other[@]}" fusewire fs memfs theirs
rule "and uses it" "${other[@]}" sh -c 'echo x > theirs/f && cat theirs/f'
rule_fails "which is closed to root, as on Linux" "Permission denied" cat theirs/f
rule "and unmounts it" "${other[@]}" fusermount3 -u theirs
rule "umount" fusewire umount mnt
rule "umount of the other" fusewire umount closed
rule "nothing was written beneath" test -z "$(find mnt closed theirs -mindepth 1)"
finish
