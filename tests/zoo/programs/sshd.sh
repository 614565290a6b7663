# packages: openssh-server openssh-client openssh-sftp-server
# A login, a command and sftp through a server of one's own, its keys and home on the mount.
set -e
[ "$(id -u)" = 0 ] && mkdir -p /run/sshd
ssh-keygen -q -t ed25519 -N '' -f host; ssh-keygen -q -t ed25519 -N '' -f key; cp key.pub authorized
port=$((20000 + RANDOM % 20000))
printf 'Port %s\nListenAddress 127.0.0.1\nHostKey %s/host\nAuthorizedKeysFile %s/authorized\nStrictModes no\nUsePAM %s\nPidFile none\nSubsystem sftp /usr/lib/openssh/sftp-server\n' "$port" "$PWD" "$PWD" "$([ "$(id -u)" = 0 ] && echo no || echo yes)" > conf
/usr/sbin/sshd -f conf -D -E log & p=$!
trap 'kill $p' EXIT
o=(-q -F none -i key -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o BatchMode=yes)
for _ in $(seq 100); do ssh "${o[@]}" -p "$port" "$(id -un)@127.0.0.1" true 2> /dev/null && break; sleep 0.1; done
ssh "${o[@]}" -p "$port" "$(id -un)@127.0.0.1" 'echo logged in'
echo sent > s; printf 'put %s/s %s/t\n' "$PWD" "$PWD" | sftp "${o[@]}" -b - -P "$port" "$(id -un)@127.0.0.1" > /dev/null; cat t
