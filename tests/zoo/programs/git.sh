# packages: git
# seconds: 200
# 3,000 files and 200 commits, then fsck, a worktree and gc.
set -e
git init -q -b main r && cd r
git config user.email zoo@example.org; git config user.name zoo; git config gc.auto 0
for d in $(seq 30); do mkdir d$d; for f in $(seq 100); do echo "file $d $f" > d$d/f$f; done; done
git add . && git commit -q -m first
for c in $(seq 200); do echo "change $c" >> d1/f1; git commit -q -a -m "change $c"; done
git fsck --strict 2>&1 | grep -v '^Checking' || true
git worktree add -q ../tree -b side && cmp d1/f1 ../tree/d1/f1
git gc -q && git fsck 2>&1 | grep -v '^Checking' || true
git log --oneline | wc -l; git status --short | wc -l
