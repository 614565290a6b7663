# packages: borgbackup
# seconds: 90
# Two backups, a check, and back again.
set -e
export BORG_BASE_DIR=$PWD/b BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes BORG_RELOCATED_REPO_ACCESS_IS_OK=yes
mkdir data b; for i in $(seq 100); do seq $i > data/$i; done; borg init -e none r; borg create r::a data; borg create r::b data; borg check r; mkdir x; cd x; borg extract ../r::a; diff -r ../data data && echo same
