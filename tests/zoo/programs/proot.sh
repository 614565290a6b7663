# packages: proot
# A directory of the mount is bound elsewhere.
set -e
mkdir -p r && echo hello > r/f && proot -r / -b "$PWD/r:/mnt" cat /mnt/f
