# packages: bubblewrap
# A sandbox with the whole root read-only, that reads a file of the mount.
set -e
echo inside > f; bwrap --ro-bind / / --proc /proc --dev /dev cat "$PWD/f"
