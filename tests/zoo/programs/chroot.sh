# packages: busybox-static
# root only
# A root directory of busybox in the mount.
set -e
mkdir -p r/bin && cp /bin/busybox r/bin/ && ln -s busybox r/bin/sh && echo hello > r/f && chroot r /bin/sh -c 'cat /f; busybox ls /' 2>&1
