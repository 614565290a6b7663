# outside the namespace
. "$SCENARIO/lib.sh"
mkdir -p tree mnt
seq 1000 > tree/f
mksquashfs tree t.sqfs -quiet -no-progress > /dev/null
rule "a run under strace" strace -f -qq -o calls -e trace=open,openat,openat2,mount,fsopen,fsmount,move_mount,umount2,unshare,clone \
  fusewire run -- bash -c 'squashfuse t.sqfs mnt && cmp mnt/f tree/f && mkdir mnt2 && fusewire fs memfs mnt2 && echo x > mnt2/f && fusewire umount mnt2 && fusewire umount mnt'
rule "the daemon's own calls were seen" grep -q "libfuse3" calls
rule "no call opened /dev/fuse" bash -c '! grep -E "open(at2?)?\(.*\"/dev/fuse\"" calls'
rule "no call mounted" bash -c '! grep -E "(mount|fsopen|fsmount|move_mount)\(" calls'
rule "no call made a user namespace" bash -c '! grep -E "CLONE_NEWUSER|CLONE_NEWNS" calls'
rule "no real mount is there" bash -c '! grep -q " $PWD/mnt " /proc/self/mountinfo'
finish
