. "$SCENARIO/lib.sh"
mkdir mnt other
rule "memfs mounts beside it" fusewire fs memfs other
echo kept > other/file
rule "the hostile daemon mounts" hostile_daemon mnt
rule "a good answer is good" stat mnt/good
for name in too-short too-long error-with-payload bad-mode root-again huge-size; do
  rule_fails "$name gives EIO" "Input/output error" stat "mnt/$name"
done
for name in positive-error huge-error; do
  rule_fails "$name is refused, the next answer counts" "No such file" stat "mnt/$name"
done
for name in wrong-length unknown-unique twice header-cut bad-notify; do
  rule "$name harms nobody: the good answer counts" stat "mnt/$name"
done
rule_fails "a name with a slash gives EIO" "Input/output error" ls mnt/slash
rule_fails "an empty name gives EIO" "Input/output error" ls mnt/empty-name
rule_sh "an endless directory can be left" 'timeout 20 python3 -c "
import os
with os.scandir(\"mnt/endless\") as it:
    for i, e in zip(range(50000), it): pass
"'
rule_fails "mkdir answered with nodeid 0 gives EIO" "Input/output error" mkdir mnt/newdir
rule_fails "symlink answered with a file gives EIO" "Input/output error" ln -s x mnt/newlink
rule_fails "more data than asked for gives EIO" "Input/output error" cat mnt/short-read
rule_fails "more written than given gives EIO" "Input/output error" bash -c 'echo x >> mnt/good'
rule "the mount still serves" stat mnt/good
rule "rejected answers are counted" test "$(connection_of mnt rejected)" -ge 5
rule "the other mount is unharmed" test "$(cat other/file)" = kept
rule "umount" fusewire umount mnt
rule "umount the other" fusewire umount other
finish
