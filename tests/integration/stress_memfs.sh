# 32 threads in one program and 16 programs at once, for a minute.
. "$SCENARIO/lib.sh"
mkdir mnt
rule "memfs mounts" fusewire fs memfs mnt
pids=()
stress 32 "${SOAK:-60}" mnt & pids+=($!)
for i in $(seq 16); do stress 2 "${SOAK:-60}" mnt "p$i" & pids+=($!); done
for pid in "${pids[@]}"; do wait "$pid" || broken=$((broken + 1)); done
rule "everything was removed" test -z "$(ls -A mnt)"
rule "no request is lost" test "$(connection_of mnt waiting)" = 0
rule "umount" fusewire umount mnt
finish
