# packages: fio
# quick
set -e
fio --name=v --ioengine=psync --rw=randwrite --bs=4k --size=2m --verify=crc32c --verify_fatal=1 --do_verify=1 --minimal > /dev/null && echo verified
