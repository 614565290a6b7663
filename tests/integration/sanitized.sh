. "$SCENARIO/lib.sh"
mkdir mnt
rule "memfs mounts" fusewire fs memfs mnt
echo hello > mnt/file
FILE=$PWD/mnt/file rule "sanitized programs read it" sh "$SCENARIO/programs/sanitized" env
rule "umount" fusewire umount mnt
finish
