# packages: openssh-client
# An agent that listens on a socket in the mount.
set -e
eval "$(ssh-agent -s -a "$PWD/agent")" > /dev/null
ssh-keygen -q -t ed25519 -N '' -C zoo -f key && ssh-add -q key 2> /dev/null && ssh-add -l | awk '{print $1, $3}'
ssh-agent -k > /dev/null
