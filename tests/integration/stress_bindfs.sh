. "$SCENARIO/lib.sh"
mkdir mnt behind
rule "bindfs mounts" bindfs behind mnt
stress_mnt
rule "umount" fusewire umount mnt
finish
