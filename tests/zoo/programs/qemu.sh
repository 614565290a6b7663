# packages: qemu-utils
# seconds: 60
# Disk images: O_DIRECT, OFD locks, holes, snapshots.
set -e
qemu-img create -q -f qcow2 d.qcow2 64M; qemu-io -c 'write -P 7 0 1M' -c 'read -P 7 0 1M' -c 'discard 0 64k' -c flush d.qcow2 | grep -cE 'wrote|read|discard'
qemu-img convert -O raw d.qcow2 d.raw; qemu-img compare d.qcow2 d.raw; qemu-img check d.qcow2 | head -1; qemu-img snapshot -c s d.qcow2; qemu-img snapshot -l d.qcow2 | wc -l
