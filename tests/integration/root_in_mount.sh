# chroot into a mount: "/" of the process is a directory of it.
. "$SCENARIO/lib.sh"
change=(chroot)
[ "$WHO" = root ] || change=(unshare -Ur chroot)
[ "$WHO" = root ] || unshare -Ur true 2> /dev/null || { echo "skipped: no user namespaces here"; exit 77; }
mkdir -p m n bin
cp "$(command -v busybox)" bin/
rule "a root file system on a mount" fusewire fs memfs m
rule "another mount" fusewire fs memfs n
echo beside > n/file
mkdir -p m/bin m/sub/bin m/sub/deep m/lib64
cp bin/busybox m/bin/
cp bin/busybox m/sub/bin/
echo text > m/file
echo sub > m/sub/file
ln -s /file m/absolute
ln -s /absolute m/sub/twice
ln -s /bin/busybox m/bin/sh
ln -s ../../file m/sub/deep/up
ln -s /circle m/circle
printf '#!/bin/sh\ncat /file\n' > m/script
chmod 755 m/script
for program in /bin/cat /bin/ls; do
  cp "$program" m/bin/
  for library in $(ldd "$program" | grep -o '/[^ ]*'); do mkdir -p "m${library%/*}"; cp -n "$library" "m$library"; done
done
said() { # what is expected, the new root, then a command in it
  local wanted=$1 root=$2 got
  shift 2
  got=$("${change[@]}" "$root" "$@" 2>&1)
  [ "$got" = "$wanted" ] || { echo "wanted '$wanted', got '$got'"; return 1; }
}
box=/bin/busybox
rule "a static program of it runs and reads a file" said text m $box cat /file
rule "a program finds its interpreter and its libraries in it" said text m /bin/cat /file
rule "a script too" said text m /script
rule "an absolute symlink starts at the root" said text m $box cat /absolute
rule "a circle of them ends" said "cat: can't open '/circle': Too many levels of symbolic links" m $box cat /circle
rule "at the root .. stays" said text m $box cat /../../file
rule "so it does for names below a relative path" said text m $box sh -c 'cd /sub; /bin/busybox cat ../../../file'
rule "programs that it starts have that root too" said text m $box sh -c "$box env $box sh -c '$box cat /file'"
rule "its working directory is called from there" said "/sub
/
/" m $box sh -c 'cd /sub; /bin/busybox pwd; cd ..; /bin/busybox pwd; cd ..; /bin/busybox pwd'
rule "files are made" said new m $box sh -c 'echo new > /new; /bin/busybox cat /new; /bin/busybox rm /new'
rule "what is not in it is not there" said no m $box sh -c "[ -e '$PWD' ] || [ -e /proc/self ] || echo no"
rule "a directory of it becomes a root" said sub m/sub $box cat /file
rule "there too .. stays at the root" said "/
sub" m/sub $box sh -c 'cd /deep; cd ../..; /bin/busybox pwd; /bin/busybox cat ../../file'
rule "and symlinks do not lead out of it" said "cat: can't open '/twice': No such file or directory" m/sub $box cat /twice
rule "nor do those with .." said sub m/sub $box cat /deep/up
rule "a root in a root" said sub m $box chroot /sub $box cat /file
rule "at .., from inside the mount" bash -c "cd m; [ \"\$(${change[*]} .. $box cat /m/file /n/file)\" = 'text
beside' ]"
rule "at a directory of it, by .." bash -c "cd m/sub/deep; [ \"\$(${change[*]} ../.. $box cat /file)\" = text ]"
rule "a symlink out of the mount leads to a native root" bash -c "ln -s '$PWD' m/out; [ \"\$(${change[*]} m/out $box cat /n/file)\" = beside ]; s=\$?; rm m/out; exit \$s"
rule_fails "a file becomes nobody's root" "Not a directory" "${change[@]}" m/file $box true
rule_fails "nor does what is not there" "No such file" "${change[@]}" m/none $box true
if [ "$WHO" = root ]; then
  rule_fails "without the right to it, nothing does" "not permitted" setpriv --bounding-set -sys_chroot chroot m $box true
  cat > leave.py <<'PYTHON'
import os
start = os.getcwd()
root = os.open("/", os.O_RDONLY)
inside = os.open("m/file", os.O_RDONLY)
beside = os.open("n", os.O_RDONLY)
os.chroot("m")
assert open("/file").read() == "text\n"
assert os.read(inside, 9) == b"text\n"
# As on Linux, who holds a directory outside is outside.
assert open(os.open("file", os.O_RDONLY, dir_fd=beside)).read() == "beside\n"
os.chdir("/sub")
assert os.getcwd() == "/sub"
child = os.fork()
if child == 0:
    os._exit(0 if open("../file").read() == "text\n" else 1)
assert os.waitpid(child, 0)[1] == 0
os.fchdir(root)
os.chroot(".")
assert open(start + "/n/file").read() == "beside\n"
assert open(start + "/m/file").read() == "text\n"
PYTHON
  rule "who leaves it again is as before" python3 leave.py
fi
rule "the mount is free when nobody stands in it" fusewire umount m
rule "umount" fusewire umount n
finish
