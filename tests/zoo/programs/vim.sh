# packages: vim-tiny
# vim edits a file and leaves none behind.
set -e
printf 'one\ntwo\n' > f; vi -es -u NONE -c '%s/two/three/' -c wq f < /dev/null || true; cat f; ls -A
