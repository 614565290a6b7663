# packages: git
# quick
set -e
git init -q -b main r && cd r
git config user.email zoo@example.org; git config user.name zoo
for f in $(seq 200); do echo "file $f" > f$f; done
git add . && git commit -q -m first
for c in $(seq 10); do echo "change $c" >> f1; git commit -q -a -m "change $c"; done
git worktree add -q ../tree -b side && cmp f1 ../tree/f1
git gc -q && git fsck --strict 2>/dev/null
git clone -q . ../clone && diff -r --exclude=.git . ../clone && git log --oneline | wc -l
