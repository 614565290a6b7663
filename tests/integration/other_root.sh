# A process whose root is another directory sees the mounts that are still reached, under their new paths.
. "$SCENARIO/lib.sh"
change=(chroot)
[ "$WHO" = root ] || change=(unshare -Ur chroot)
[ "$WHO" = root ] || unshare -Ur true 2> /dev/null || { echo "skipped: no user namespaces here"; exit 77; }
inside() { "${change[@]}" "$@"; }
mkdir -p root/bin root/mnt root/proc outside "a root/bin" "a root/mnt"
cp "$(command -v busybox)" root/bin/busybox
cp root/bin/busybox "a root/bin/busybox"
rule "a mount below the new root" fusewire fs memfs root/mnt
rule "a mount beside it" fusewire fs memfs outside
rule "a mount below a root with a space" fusewire fs memfs "a root/mnt"
echo text > root/mnt/file
echo other > "a root/mnt/file"
said() { # what is expected, then a command in the new root
  local wanted=$1 got
  shift
  got=$(inside "$@" 2>&1)
  [ "$got" = "$wanted" ] || { echo "wanted '$wanted', got '$got'"; return 1; }
}
box=/bin/busybox
rule "its files are read" said text root $box cat /mnt/file
rule "by a program that a program starts" said text root $box sh -c "$box env $box cat /mnt/../mnt/file"
rule "in a root whose name has a space" said other "a root" $box env $box cat /mnt/file
rule "a working directory in it has its new name" said /mnt root $box sh -c 'cd /mnt && /bin/busybox pwd'
rule "and its parent is the new root" said / root $box sh -c 'cd /mnt && cd .. && /bin/busybox pwd'
rule "files are made there" said "" root $box sh -c 'echo made > /mnt/made'
rule_sh "and are seen outside" '[ "$(cat root/mnt/made)" = made ]'
rule "a mount that is not below the root is not seen" said "no" root $box sh -c '[ -e /outside ] || echo no'
rule "two roots deep" said text root $box chroot /bin/.. $box cat /mnt/file
if [ "$WHO" = root ]; then
  mount -t proc proc root/proc
  rule "/proc/mounts has the new paths alone" said /mnt root $box sh -c "$box grep fuse.memfs /proc/mounts | $box cut -d ' ' -f 2"
  umount root/proc
  cat > leave.py <<'PYTHON'
import os
start = os.getcwd()
root = os.open("/", os.O_RDONLY)
os.chroot("root")
assert open("/mnt/file").read() == "text\n"
os.fchdir(root)
os.chroot(".")
assert open(start + "/root/mnt/file").read() == "text\n"
PYTHON
  rule "who leaves its root again sees all mounts as before" python3 leave.py
fi
rule "umount" fusewire umount root/mnt
rule "umount" fusewire umount outside
rule "umount" fusewire umount "a root/mnt"
finish
