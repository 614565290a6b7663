# outside the namespace
# One file is the product: copied into a root that holds next to nothing, it is the whole installation. Root only: a
# root of one's own is made by chroot.
. "$SCENARIO/lib.sh"
[ "$WHO" = root ] || { echo "skipped: chroot needs root"; exit 77; }
busybox=$(command -v busybox) || { echo "skipped: no busybox"; exit 77; }
if ldd "$busybox" > /dev/null 2>&1; then echo "skipped: busybox is not static"; exit 77; fi
program=$(command -v fusewire)
# A root with busybox and the one file.
make_root() {
  mkdir -p "$1"/{bin,proc,dev,tmp,home}
  chmod 1777 "$1/tmp" "$1/home"
  cp "$busybox" "$1/bin/busybox"
  cp "$program" "$1/bin/fusewire"
  for name in sh ls cat rm rmdir cp mv mkdir echo test seq cmp head find sort sed grep umount; do
    ln -s busybox "$1/bin/$name"
  done
}
cat > steps << 'END'
set -e
cd /home
mkdir mnt
fusewire fs memfs mnt
echo "hello from user space" > mnt/file
ls -l mnt
cat mnt/file
fusewire trace --on mnt -- rm mnt/file | sed 's/^/    /'
test ! -e mnt/file
for program in /bin/busybox $DYNAMIC; do
  cp $program mnt/program
  cmp $program mnt/program
  rm mnt/program
done
cp /bin/busybox mnt/cat
seq 1000 > mnt/numbers
mnt/cat mnt/numbers | cmp - mnt/numbers
mkdir mnt/a
mv mnt/numbers mnt/a/b
find mnt | sort
fusewire ps
fusewire umount mnt
rmdir mnt # it is empty
echo "all steps are done"
END
# in_root ROOT USER [COMMAND]: the steps, in a mount namespace of their own; COMMAND runs the last part.
in_root() {
  local root=$1 user=$2
  shift 2
  cp steps "$root/steps"
  unshare -m -p -f bash -c '
    root=$1 user=$2
    shift 2
    mount --make-rprivate /
    mount -t proc proc "$root/proc"
    mount -t tmpfs -o mode=755 dev "$root/dev"
    mknod -m 666 "$root/dev/null" c 1 3
    exec "$@" chroot --userspec="$user" "$root" /bin/env-steps' - "$root" "$user" "$@" > out 2>&1
  local status=$?
  [ $status -eq 0 ] && grep -q "hello from user space" out && grep -q UNLINK out && grep -q "all steps are done" out && return 0
  cat out
  return 1
}
env_steps() {
  printf '#!/bin/sh\nexport PATH=/bin HOME=/home TMPDIR=/tmp DYNAMIC="%s"\nexec fusewire run -- sh -e /steps\n' "$2" > "$1/bin/env-steps"
  chmod 755 "$1/bin/env-steps"
}
make_root bare
env_steps bare ""
rule "a busybox-only root: the demo's steps with one copied file" in_root bare 0:0
rule "the same under the calls that Docker's default profile leaves" in_root bare 0:0 docker_profile
rule "and as a user without capabilities" in_root bare 65534:65534 docker_profile
# The ways to execute the gate where a container allows less: in a process namespace in which no memfd is executed.
cat > confined << 'END'
set -e
echo 2 > /proc/sys/vm/memfd_noexec
mount --make-rprivate /
mount -t tmpfs -o mode=1777 small small
export TMPDIR=$PWD/small XDG_RUNTIME_DIR=
[ "$1" = exec ] || mount -o remount,noexec small
cp steps small/
as_user=(setpriv --reuid 65534 --regid 65534 --clear-groups --bounding-set -all --inh-caps -all)
for who in root user; do
  [ $who = root ] && as=() || as=("${as_user[@]}")
  mkdir -m 777 small/$who
  sed "s|^cd /home|cd $PWD/small/$who|; s|/bin/busybox|$BUSYBOX|; s|mnt/cat mnt/numbers|mnt/cat cat mnt/numbers|" steps > small/steps-$who
  sed -i 's|cp .* mnt/cat$|cp "$BUSYBOX" mnt/cat|' small/steps-$who
  "${as[@]}" fusewire run -- sh -e "$PWD/small/steps-$who"
done
[ "$1" = exec ] || fusewire doctor | grep "is executed as fusewire itself"
END
confined() {
  BUSYBOX=$busybox unshare -m -p -f --mount-proc bash confined "$1" > out 2>&1 && [ "$(grep -c "all steps are done" out)" = 2 ] && return 0
  cat out
  return 1
}
if [ -e /proc/sys/vm/memfd_noexec ]; then
  mkdir small
  rule "no memfd is executed: a file of the namespace's directory is" confined exec
  rule "that is mounted noexec: fusewire itself is" confined noexec
fi
musl=$(ls /lib/ld-musl-x86_64.so.1 2> /dev/null)
if [ -n "$musl" ] && command -v musl-gcc > /dev/null; then
  make_root alpine
  mkdir alpine/lib
  cp -L "$musl" alpine/lib/
  cat > dynamic.c << 'END'
#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
static void *writer(void *path) {
  FILE *f = fopen(path, "w");
  if (!f || fputs("from a thread of musl", f) < 0 || fclose(f)) return 0;
  return path;
}
int main(int n, char **v) {
  char text[64] = "";
  void *done = 0;
  pthread_t thread;
  if (n < 2 || pthread_create(&thread, 0, writer, v[1]) || pthread_join(thread, &done) || !done) return 1;
  FILE *f = fopen(v[1], "r");
  return !f || !fgets(text, sizeof text, f) || strcmp(text, "from a thread of musl");
}
END
  rule "a musl program is made" musl-gcc -o alpine/bin/dynamic dynamic.c -lpthread
  rule_sh "it is dynamic" "readelf -l alpine/bin/dynamic | grep -q ld-musl"
  env_steps alpine /bin/dynamic
  sed -i 's|^  cmp \$program.*|&; case $program in *dynamic) mnt/program mnt/made; rm mnt/made; dynamic mnt/made; rm mnt/made ;; esac|' steps
  rule "an Alpine-like root: musl programs on the mount and off it" in_root alpine 0:0
  rule "also a user's under Docker's profile" in_root alpine 65534:65534 docker_profile
else
  echo "skipped: no musl (packages musl, musl-tools)"
fi
finish
