# What mount_binds.sh does with rights on mounts: bind mounts of parts of the mount mnt, and mounts that are moved.
. "$SCENARIO/lib.sh"
holds() { python3 -B -c "from calls import *; assert $1, [$1]"; }
errno_of() { python3 -B -c "from calls import *; print($1)"; }
said() { # what is expected, then a command
  local wanted=$1 got
  shift
  got=$("$@" 2>&1)
  [ "$got" = "$wanted" ] || { echo "wanted '$wanted', got '$got'"; return 1; }
}
mkdir -p there one/nested one/moves
echo covered > there/covered
rule "a directory of a mount is bound to a native one" test "$(errno_of 'mount("mnt/dir", "here", "bind")')" = 0
rule "it is seen there" said deep cat here/sub/deep
rule "it is a mount point" mountpoint -q here
rule "of the same file system" holds "os.stat('here').st_dev == os.stat('mnt').st_dev and os.stat('here').st_ino == os.stat('mnt/dir').st_ino"
rule "the list has its root" holds "line('here')[0] == line('mnt')[0].rstrip('/') + '/dir'"
rule_sh "its .. is the directory of its mount point" 'test "$(stat -c %d:%i here/..)" = "$(stat -c %d:%i .)" && test "$(stat -c %d:%i here/sub/../..)" = "$(stat -c %d:%i .)"'
rule_sh "a working directory in it has its path" 'cd here/sub && test "$(/bin/pwd)" = "$top/here/sub" && cd ../.. && test "$(/bin/pwd)" = "$top"'
exec 7< here/sub/deep
rule "an open file has the path that it was opened by" said "$top/here/sub/deep" readlink /proc/self/fd/7
rule "and keeps the bind mount busy" test "$(errno_of 'umount("here")')" = 16
exec 7<&-
rule_sh "what is written in one is in the other" 'echo new > here/new && test "$(cat mnt/dir/new)" = new && rm mnt/dir/new && test ! -e here/new'
rule "nothing is renamed from one to the other" holds "error(os.rename, 'here/sub', 'mnt/dir/sub2') == 18"
rule "nor linked" holds "error(os.link, 'here/sub/deep', 'mnt/dir/deep') == 18"
rule "though within" holds "error(os.rename, 'here/sub', 'here/sub2') == error(os.rename, 'mnt/dir/sub2', 'mnt/dir/sub') == 0"
rule "it gets read-only" test "$(errno_of 'mount(None, "here", "remount,bind,ro")')" = 0
rule "and is" holds "error(open, 'here/sub/deep', 'r+') == error(os.mkdir, 'here/x') == error(os.unlink, 'here/sub/deep') == 30"
rule_sh "the mount itself is not" 'echo more >> mnt/dir/sub/deep && test "$(tail -1 here/sub/deep)" = more && echo deep > mnt/dir/sub/deep'
rule "a bind mount of it has its flags" holds "mount('here/sub', 'there', 'bind') == 0 and line('there')[1].startswith('ro')"
rule "it covers" test ! -e there/covered
rule "umount of it" umount there
rule "which shows what it covered" said covered cat there/covered
rule "a directory moved out of what it shows has no way up" holds "error(os.chdir, 'here/sub') == error(os.rename, os.path.join('$top', 'mnt/dir/sub'), os.path.join('$top', 'mnt/elsewhere')) == 0 and error(os.stat, '..') == 2 and error(os.rename, '$top/mnt/elsewhere', '$top/mnt/dir/sub') == 0"
rule "umount" umount here
rule "nothing is left" test -z "$(ls -A here)"
rule "the mount is there still" said text cat mnt/file
: > file
rule "a file is bound to a file" test "$(errno_of 'mount("mnt/file", "file", "bind")')" = 0
rule "and read" said text cat file
rule "its root is its path in the file system" holds "line('file')[0].endswith('/file')"
rule "a file is not bound to a directory" test "$(errno_of 'mount("mnt/file", "here", "bind")')" = 20
rule "nor a directory to a file" test "$(errno_of 'mount("mnt/dir", "file", "bind")')" = 20
rule "what is not there is not bound" test "$(errno_of 'mount("mnt/nothing", "here", "bind"), mount("mnt/dir", "nowhere", "bind")')" = "2 2"
rule "umount of the file" umount file
rule "a whole mount is bound" test "$(errno_of 'mount("mnt", "here", "bind")')" = 0
rule "its root is the mount's" holds "line('here')[0] == line('mnt')[0]"
rule "a part of a bind mount is bound" test "$(errno_of 'mount("here/dir/sub", "there", "bind")')" = 0
rule "and seen" said deep cat there/deep
rule "its root is counted from the file system" holds "line('there')[0] == line('mnt')[0].rstrip('/') + '/dir/sub'"
rule "umount of the one that it was made of" umount here
rule "leaves it" said deep cat there/deep
rule "umount of it" umount there

# In mounts.
rule "a part of a mount is bound within it" test "$(errno_of 'mount("mnt/dir", "mnt/nested", "bind")')" = 0
rule "and seen there" said deep cat mnt/nested/sub/deep
rule_sh "its .. leads out into the mount" 'test "$(cat mnt/nested/../file)" = text && test "$(cat mnt/nested/sub/../../file)" = text'
rule_sh "a working directory there has its path" 'cd mnt/nested/sub && test "$(/bin/pwd)" = "$top/mnt/nested/sub"'
rule "the list has it in the mount" holds "(lambda lines: [l[1] for l in lines if l[4] == '$top/mnt/nested'] == [l[0] for l in lines if l[4] == '$top/mnt'])([l.split() for l in open('/proc/self/mountinfo')])"
rule "its mount point is busy" holds "error(os.rmdir, 'mnt/nested') == error(os.rename, 'mnt/nested', 'mnt/x') == 16"
rule "a bind mount without MS_REC has not what stands in it" test "$(errno_of 'mount("mnt", "here", "bind"), os.path.exists("here/nested/sub")')" = "0 False"
rule "umount of that" umount here
rule "one with MS_REC has" test "$(errno_of 'mount("mnt", "here", "bind,rec"), os.path.exists("here/nested/sub/deep")')" = "0 True"
rule "both are listed" holds "line('here/nested')[0] == line('mnt/nested')[0]"
rule "it is busy by what stands in it" test "$(errno_of 'umount("here")')" = 16
rule "which is unmounted alone" umount here/nested
rule "and leaves the other" said deep cat mnt/nested/sub/deep
rule "umount" umount here
rule "of a part only what stands below goes along" test "$(errno_of 'mount("mnt/dir", "here", "bind,rec"), os.listdir("here")')" = "0 ['sub']"
rule "umount again" umount here
exec 7< mnt/nested/sub/deep
rule "a lazy umount takes the name at once" umount -l mnt/nested
rule "an open file goes on" said deep cat <&7
exec 7<&-
rule "the directory is free" test "$(ls -A mnt/nested)" = ""
rule "who works in what is gone gets no further than its root" holds "mount('mnt/dir', 'here', 'bind') == error(os.chdir, 'here/sub') == umount('$top/here', 2) == 0 and os.path.exists('../sub') and not os.path.exists('../../file') and os.stat('..').st_ino == os.stat('../..').st_ino"

# Moved.
rule "a bind mount for it" test "$(errno_of 'mount("mnt/dir", "here", "bind")')" = 0
exec 7< here/sub/deep
rule "a mount is moved while a file is open" test "$(errno_of 'mount("here", "there", "move")')" = 0
rule "it is at its new place" said deep cat there/sub/deep
rule "and not at the old one" test -z "$(ls -A here)"
rule "the file has its new path" said "$top/there/sub/deep" readlink /proc/self/fd/7
exec 7<&-
rule "it is moved into a mount" test "$(errno_of 'mount("there", "mnt/moves", "move")')" = 0
rule "seen there" said deep cat mnt/moves/sub/deep
rule "and no more where it was" said covered cat there/covered
rule_sh "its .. is of its new place" 'test "$(cat mnt/moves/../file)" = text'
rule "within a mount" test "$(errno_of 'mount("mnt/moves", "mnt/nested", "move")')" = 0
rule_sh "from one directory to the other" 'test -e mnt/nested/sub/deep -a ! -e mnt/moves/sub'
rule "the directory that it left is removed" rmdir mnt/moves
rule "a mount is not moved into what it holds" test "$(errno_of 'mount("mnt/nested", "mnt/nested/sub", "move")')" = 40
rule "what is no mount is not moved" test "$(errno_of 'mount("mnt/dir/sub", "here", "move")')" = 22
rule "nor a directory onto a file" test "$(errno_of 'mount("mnt/nested", "file", "move")')" = 22
rule "out of the mount" test "$(errno_of 'mount("mnt/nested", "here", "move")')" = 0
rule_sh "it is a native place again" 'test "$(cat here/sub/deep)" = deep && test "$(stat -c %i here/..)" = "$(stat -c %i .)" && rmdir mnt/nested'
rule "umount" umount here
finish
