. "$SCENARIO/lib.sh"
mkdir mnt
mkdir behind
rule "bindfs mounts" bindfs behind mnt
stress 32 "${SOAK:-30}" mnt || broken=$((broken + 1))
pids=()
for i in $(seq 16); do stress 2 "${SOAK:-30}" mnt "p$i" & pids+=($!); done
for pid in "${pids[@]}"; do wait "$pid" || broken=$((broken + 1)); done
rule "everything was removed" test -z "$(ls -A mnt)"
rule "no request is lost" test "$(connection_of mnt waiting)" = 0
rule "umount" fusewire umount mnt
finish
