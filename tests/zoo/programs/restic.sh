# packages: restic
# seconds: 90
# A backup, a check, and back again.
set -e
export RESTIC_PASSWORD=x RESTIC_CACHE_DIR=$PWD/c
mkdir data; for i in $(seq 100); do seq $i > data/$i; done; restic -q -r r init >/dev/null; restic -q -r r backup data; restic -q -r r check > /dev/null; restic -q -r r restore latest --target o > /dev/null; diff -r data o/data 2>/dev/null || diff -r data o$PWD/data && echo same
