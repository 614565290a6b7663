. "$SCENARIO/lib.sh"
mkdir mnt behind bound
# Root's rules are of several users too.
others=()
[ "$WHO" = user ] || others=(-o allow_other,default_permissions,suid,dev)
rule "memfs mounts" fusewire fs memfs "${others[@]}" mnt
mkdir mnt/t
conformance mnt/t || broken=$((broken + 1))
rule "umount" fusewire umount mnt
finish
