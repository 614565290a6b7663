# packages: squashfs-tools
# An image of a tree, and back.
set -e
mkdir d; for i in $(seq 200); do seq $i > d/$i; done; mksquashfs d x.sq -quiet -no-progress > /dev/null; unsquashfs -q -n -d u x.sq > /dev/null; diff -r d u && echo same
