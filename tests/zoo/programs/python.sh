# packages: python3-venv
# A virtual environment, processes that share work, a mapped file.
set -e
/usr/bin/python3 -m venv --without-pip v
cat > p.py <<'PY'
import mmap, multiprocessing as m, sqlite3, os
def square(x): return x * x
if __name__ == "__main__":
    with m.Pool(4) as p: print(sum(p.map(square, range(1000))))
    open("big", "wb").write(bytes(range(256)) * 4000)
    with open("big", "rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as x: print(len(x), x[-1], x.find(b"\xfe\xff"))
    c = sqlite3.connect("d.db"); c.execute("create table t(a)"); c.executemany("insert into t values(?)", [(i,) for i in range(1000)]); c.commit(); print(c.execute("select sum(a) from t").fetchone())
    print(os.environ.get("VIRTUAL_ENV") is None)
PY
v/bin/python p.py
