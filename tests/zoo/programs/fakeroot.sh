# packages: fakeroot tar
# Owners and devices that are only in fakeroot's books.
set -e
fakeroot sh -c 'mkdir r; echo x > r/f; chown 12:34 r/f; mknod r/null c 1 3; tar cf t.tar r; stat -c "%u %g" r/f'; tar tvf t.tar | awk '{print $1,$2,$NF}'
