# packages: fio
# seconds: 200
# psync and libaio, each block verified.
set -e
for e in psync libaio; do
  fio --name=v --ioengine=$e --rw=randwrite --bs=4k --size=8m --iodepth=8 --verify=crc32c --verify_fatal=1 --do_verify=1 --minimal > /dev/null && echo "$e verified"
done
