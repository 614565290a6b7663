. "$SCENARIO/lib.sh"
mkdir behind mnt
echo data > behind/file
for i in 1 2 3 4; do
  rule "mount $i" bindfs -o auto_unmount behind mnt
  rule "the undertaker of the mount before lets this one be unmounted" fusermount3 -u mnt
done
bindfs -f -o auto_unmount behind mnt &
daemon=$!
wait_until is_mounted mnt
rule "it serves" test "$(cat mnt/file)" = data
kill -KILL $daemon
wait $daemon 2> /dev/null
wait_until is_free mnt
rule "the name is free" bindfs behind mnt
rule "umount" umount mnt
rule "noatime and max_read are told of" bindfs -o noatime,max_read=65536 behind mnt
rule "by /proc/self/mounts" grep -q 'noatime.*,max_read=65536 ' /proc/self/mounts
rule "umount again" umount mnt
finish
