# packages: vim-tiny
set -e
printf 'one\ntwo\n' > f; vi -es -u NONE -c '%s/two/three/' -c wq f < /dev/null || true; cat f; ls -A
