# packages: debootstrap
# root only
# seconds: 600
# options: dev,suid
# A minimal Debian, where its packages can be had.
set -e
mirror=$(sed -n 's/^URIs: *//p; s/^deb \(\[[^]]*\] \)\?\([^ ]*\).*/\2/p' /etc/apt/sources.list /etc/apt/sources.list.d/* 2> /dev/null | head -1)
debootstrap --variant=minbase --no-check-gpg bookworm r "$mirror" > log 2>&1 && chroot r /bin/sh -c 'dpkg -l | grep -c ^ii > /n; test -s /n' && echo installed
