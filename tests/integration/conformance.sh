. "$SCENARIO/lib.sh"
mkdir mnt behind bound
rule "memfs mounts" fusewire fs memfs mnt
mkdir mnt/t
conformance mnt/t || broken=$((broken + 1))
rule "umount" fusewire umount mnt
finish
