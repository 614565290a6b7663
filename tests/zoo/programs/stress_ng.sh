# packages: stress-ng
# seconds: 300
# The stressors of the file-system class that a FUSE mount of the real kernel passes.
set -e
for s in access chdir chmod chown copy-file dentry dir dirdeep dup fallocate fcntl filename flock fstat getdent hdd lease link locka lockf lockofd metamix open readahead rename symlink touch unlink utime verity xattr; do
  case $s in fallocate) continue ;; esac
  stress-ng --temp-path . --$s 1 -t 1 --verify -q > /dev/null 2>&1 && echo "$s" || echo "$s: $?"
done
