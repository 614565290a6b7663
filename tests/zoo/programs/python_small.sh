# quick
set -e
cat > p.py <<'PY'
import mmap, os, sqlite3
open("big", "wb").write(bytes(range(256)) * 4000)
with open("big", "rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as x: print(len(x), x[-1], x.find(b"\xfe\xff"))
c = sqlite3.connect("d.db"); c.execute("create table t(a)"); c.executemany("insert into t values(?)", [(i,) for i in range(1000)]); c.commit(); print(c.execute("select sum(a) from t").fetchone())
PY
/usr/bin/python3 p.py && /usr/bin/python3 -m compileall -q . && ls __pycache__ | wc -l
