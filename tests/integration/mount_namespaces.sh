# Programs that change what is natively mounted, in mount namespaces of their own: a mount is seen wherever its mount
# point is still reached, and nowhere else.
. "$SCENARIO/lib.sh"
unshare -rm true 2> /dev/null || { echo "skipped: no user namespaces here"; exit 77; }
mkdir -p w/m w/beside new a/b
rule "a mount" fusewire fs memfs w/m
echo text > w/m/file
said() { # what is expected, then a command
  local wanted=$1 got
  shift
  got=$("$@" 2>&1 | tr '\n' ' ')
  got=${got% }
  [ "$got" = "$wanted" ] || { echo "wanted '$wanted', got '$got'"; return 1; }
}
inside() { unshare -rm bash -c "set -e -o pipefail; $1"; }
rule "in a mount namespace of one's own the mount is seen" said text unshare -rm cat w/m/file
rule "a bind mount of a directory above it has it too, for programs that started before" inside '
  mount --rbind w new; [ "$(cat new/m/file)" = text ]; [ "$(cat w/m/file)" = text ]
  echo made > new/m/made; [ "$(cat w/m/made)" = made ]; rm w/m/made'
rule "/proc/self/mounts has both places" inside '
  mount --rbind w new; grep -q "^memfs $PWD/new/m fuse" /proc/self/mounts; grep -q "^memfs $PWD/w/m fuse" /proc/self/mounts'
rule "its parent directory is the copy's" inside 'mount --rbind w new; cd new/m/..; ls -d m beside > /dev/null'
rule "what is covered by another mount is not seen" inside 'mount -t tmpfs none w; [ ! -e w/m ]; umount w; [ "$(cat w/m/file)" = text ]'
rule "what was moved is seen at its new place" inside '
  mount --rbind w new; mount --move new a/b || [ $? = 32 ]; [ "$(cat a/b/m/file)" = text ]; [ ! -e new/m ]'
rule "what is bound is gone when it is unmounted" inside 'mount --rbind w new; umount -l new; [ ! -e new/m ]'
rule "outside of it nothing has changed" bash -c '[ ! -e new/m ] && [ "$(cat w/m/file)" = text ]'
rule "another place's end leaves the mount" inside 'mount --rbind w new; ! umount new/m 2> /dev/null; [ "$(cat w/m/file)" = text ]'
rule "a program enters such a namespace later" bash -c '
  mkfifo go
  unshare -rm bash -c "mount --rbind w new; echo > go; exec sleep 1000" & sleeper=$!
  read -r _ < go
  got=$(nsenter --preserve-credentials -U -m -t $sleeper cat "$PWD/new/m/file"); kill $sleeper
  [ "$got" = text ] && [ ! -e new/m ]'
rule "pivot_root: mounts below the new root are seen there" inside '
  mount --rbind w new; mkdir -p new/old new/bin; cp "$(command -v busybox)" new/bin/
  outside=$PWD; cd new; pivot_root . old; cd /
  [ "$(/bin/busybox cat /m/file)" = text ]; [ "$(/bin/busybox cat /old$outside/w/m/file)" = text ]
  /bin/busybox umount -l /old; [ "$(/bin/busybox cat /m/file)" = text ]
  [ "$(/bin/busybox sh -c "cd /m; /bin/busybox pwd")" = /m ]'
rule "a directory of the new root becomes a root" inside '
  mkdir -p w/bin; cp "$(command -v busybox)" w/bin/; mount --rbind w new
  [ "$(chroot new /bin/busybox cat /m/file)" = text ]; [ "$(chroot w /bin/busybox cat /m/file)" = text ]'
rule "a mount has flags of its own in it" inside '
  mount -o remount,bind,ro w/m; [ "$(cat w/m/file)" = text ]; ! touch w/m/new 2> /dev/null
  [ "$(grep -c " $PWD/w/m " /proc/self/mountinfo)" = 1 ]; grep -q " $PWD/w/m ro," /proc/self/mountinfo'
rule "and others outside" bash -c 'touch w/m/new && rm w/m/new && grep -q " $PWD/w/m rw," /proc/self/mountinfo'
rule "a bind mount of a part of it is seen in it alone" bash -c '
  mkdir w/m/part; echo part > w/m/part/file
  mkfifo ready leave
  unshare -rm bash -c "mount --bind w/m/part a/b; mount --bind w/m/part w/m; cat a/b/file; echo > ready; read -r _ < leave; cat w/m/file" > inner & inner=$!
  read -r _ < ready
  [ -z "$(ls -A a/b)" ] && [ "$(cat w/m/file)" = text ] && grep -c "^memfs" /proc/self/mounts | grep -qx 1; status=$?
  echo > leave; wait $inner; rm ready leave; rm -r w/m/part
  [ $status = 0 ] && [ "$(cat inner)" = "$(printf "part\npart")" ]'
is_alone() { [ "$(fusewire ps --json | grep -o '"path": *"[^"]*/[mb]"' | wc -l)" = 1 ]; }
rule "and ends with it" wait_until is_alone
rule "in a namespace that is made in it too" inside '
  mkdir w/m/part; echo part > w/m/part/file; mount --bind w/m/part a/b
  [ "$(unshare -m cat a/b/file)" = part ]; umount a/b; rm -r w/m/part'
if [ "$WHO" = root ]; then
  rule "a daemon in it is mounted" inside '
    mount --rbind w new; fusewire fs memfs new/beside; echo other > new/beside/f; [ "$(cat w/beside/f)" = other ]
    fusewire umount "$PWD/new/beside" || umount new/beside; [ ! -e w/beside/f ]'
fi
if command -v bwrap > /dev/null; then
  box=(bwrap --ro-bind / / --dev /dev --proc /proc)
  rule "bwrap: the whole tree, read only" said text "${box[@]}" cat "$PWD/w/m/file"
  rule "it has the mount read-only too" said "text refused" "${box[@]}" sh -c "cat '$PWD/w/m/file'; touch '$PWD/w/m/new' 2> /dev/null || echo refused"
  rule "outside it is written as before" bash -c 'echo again > w/m/again && rm w/m/again'
  rule "bwrap: writable where a directory above it is" said "text made" "${box[@]}" --bind "$PWD" "$PWD" sh -c "cat w/m/file; echo made > w/m/made; cat w/m/made; rm w/m/made"
  mkdir w/m/sub
  echo deep > w/m/sub/deep
  rule "bwrap: a directory of the mount" said "deep written" "${box[@]}" --bind w/m/sub "$PWD/new" sh -c "cat new/deep; echo written > new/new; cat new/new"
  rule "bwrap: read-only" said "deep refused" "${box[@]}" --ro-bind w/m/sub "$PWD/new" sh -c "cat new/deep; touch new/new2 2> /dev/null || echo refused"
  rule "bwrap: a file of the mount" said text "${box[@]}" --ro-bind w/m/file /etc/hostname cat /etc/hostname
  rule "of which nothing is seen outside" bash -c '[ "$(cat w/m/sub/new)" = written ] && [ -z "$(ls -A new)" ] && [ "$(grep -c "^memfs" /proc/self/mounts)" = 1 ]'
  rm -r w/m/sub
  rule "bwrap: a directory at its own place" said text "${box[@]}" --bind "$PWD" "$PWD" cat w/m/file
  rule "bwrap: at another one" said text "${box[@]}" --bind "$PWD/w" /mnt cat /mnt/m/file
  rule "bwrap: not there where something else is mounted" said none "${box[@]}" --tmpfs "$PWD" sh -c "[ -e '$PWD/w/m' ] || echo none"
  # Everything but the libraries' places is new.
  own=(bwrap --ro-bind /usr /usr --proc /proc --dev /dev --bind "$PWD/w" /work)
  for link in bin lib lib64 sbin; do [ ! -L /$link ] || own+=(--symlink "usr/$link" /$link); done
  if [ -L /bin ]; then
    rule "bwrap: a root of its own" said text "${own[@]}" cat /work/m/file
    rule "programs in it start programs" said text "${own[@]}" sh -c 'env sh -c "cat /work/m/file"'
    rule "a working directory in it" said "/work/m" "${own[@]}" --chdir /work/m pwd
    rule "files are made there" said made "${own[@]}" sh -c 'echo made > /work/m/made; cat /work/m/made; rm /work/m/made'
    rule "with process ids of its own" said text "${own[@]}" --unshare-pid sh -c 'cat /work/m/file'
    rule "/proc/self/mounts has its place alone" said /work/m "${own[@]}" sh -c 'grep "^memfs " /proc/self/mounts | cut -d " " -f 2'
    rule "the path outside is not seen" said none "${own[@]}" sh -c "[ -e '$PWD/w/m' ] || echo none"
  fi
fi
rule "who leaves no trace finds all as before" said text cat w/m/file
rule "umount" fusewire umount w/m
finish
