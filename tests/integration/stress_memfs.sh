. "$SCENARIO/lib.sh"
mkdir mnt
rule "memfs mounts" fusewire fs memfs mnt
stress_mnt
rule "umount" fusewire umount mnt
finish
