# packages: dpkg
# root only
# A package is built, and installed into a root of its own.
set -e
mkdir -p root/var/lib/dpkg/{info,updates} p/DEBIAN p/usr/share/zoo && touch root/var/lib/dpkg/{status,available}
printf 'Package: zoo\nVersion: 1\nArchitecture: all\nMaintainer: zoo <z@example.org>\nDescription: zoo\n' > p/DEBIAN/control; echo x > p/usr/share/zoo/x
dpkg-deb --build p zoo.deb > /dev/null && dpkg --root="$PWD/root" --force-not-root --force-script-chrootless -i zoo.deb > /dev/null 2>&1
cat root/usr/share/zoo/x; dpkg --root="$PWD/root" -l zoo | tail -1 | awk '{print $1, $2, $3}'; dpkg --root="$PWD/root" -r zoo > /dev/null 2>&1; ls root/usr/share 2> /dev/null | wc -l
