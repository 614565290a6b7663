. "$SCENARIO/lib.sh"
# The flags of a mount are honoured, and told.
no_exec_rules="a_noexec_mount_runs_nothing an_interpreter_on_a_noexec_mount_does_not_run
  a_file_of_a_noexec_mount_is_not_mapped_to_be_executed"
mkdir mnt behind
chmod 777 behind
rule "a mount with noexec" fusewire fs memfs -o noexec mnt
rule "statfs tells of noexec, nosuid and nodev" python3 -c "
import os
flags = os.statvfs('mnt').f_flag
wanted = os.ST_NOEXEC | os.ST_NOSUID | os.ST_NODEV | os.ST_RELATIME
assert flags & wanted == wanted, flags"
mkdir mnt/t
rule_sh "nothing is executed there" "conformance mnt/t $(echo $no_exec_rules) | grep '3 held, 0 failed, 0 skipped'"
cp /bin/sh mnt/sh
rule_fails "env says so" "Permission denied" env mnt/sh -c true
rule "umount" fusewire umount mnt
rule "a mount without" bindfs behind mnt
cp /bin/true mnt/true
rule "programs run" mnt/true
if [ "$WHO" = root ]; then
  rule "a remount takes the right away" mount -i -o remount,noexec mnt
  rule_fails "from then on" "Permission denied" mnt/true
  rule "and a remount gives it back" mount -i -o remount,exec mnt
  rule "for programs to run" mnt/true
fi
rule "umount again" fusermount3 -u mnt
finish
