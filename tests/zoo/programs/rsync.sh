# packages: rsync attr
# -aHAX keeps hard links, modes, times and attributes; a second run has nothing to do.
set -e
mkdir a && cd a && for i in $(seq 50); do seq $i > f$i; done && ln f1 hard && ln -s f2 soft && chmod 600 f3 && touch -d 2001-02-03 f4
setfattr -n user.k -v v f5 2> /dev/null || true; cd ..
# A file system may know for a while how many links the first name had before the second was made.
two_links() { until [ "$(stat -c %h "$1")" = 2 ]; do sleep 0.1; done; }
two_links a/f1
rsync -aHAX a/ b/
two_links b/f1
rsync -aHAXi a/ b/ && diff -r a b && [ b/f1 -ef b/hard ] && stat -c '%a %Y' b/f3 b/f4 | tail -1
