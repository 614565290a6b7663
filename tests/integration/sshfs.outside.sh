# An sshd on loopback for sshfs.sh. $1: where to write what the scenario needs.
cd "$1"
mkdir remote
ssh-keygen -q -t ed25519 -N '' -f host_key
ssh-keygen -q -t ed25519 -N '' -f user_key
cp user_key.pub authorized
port=$((20000 + $$ % 20000))
cat > sshd_config <<C
Port $port
ListenAddress 127.0.0.1
HostKey $1/host_key
AuthorizedKeysFile $1/authorized
PidFile $1/sshd.pid
UsePAM $([ "$(id -u)" -eq 0 ] && echo no || echo yes)
StrictModes no
PasswordAuthentication no
PermitRootLogin yes
Subsystem sftp internal-sftp
C
[ "$(id -u)" -ne 0 ] || mkdir -p /run/sshd
cat > environment <<C
port=$port
remote=$1/remote
key=$1/user_key
C
/usr/sbin/sshd -D -e -f "$1/sshd_config" 2> sshd.log &
sshd=$!
trap 'kill $sshd; exit' TERM
for _ in $(seq 100); do (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break; sleep 0.05; done
: > ready
wait $sshd
