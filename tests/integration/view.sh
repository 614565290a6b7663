# Calls that programs answer themselves from what is cached: what they see is what everybody sees, and only who may.
. "$SCENARIO/lib.sh"
hits() { connection_of "$1" hits; }
has_hits() { test "$(hits "$1")" -ge "$2"; }
export -f hits has_hits connection_of
mkdir mnt
rule "memfs mounts" fusewire fs memfs -o default_permissions mnt
echo x > mnt/f
mkdir -p mnt/d/e && echo y > mnt/d/e/g && ln -s f mnt/link

stat_often='import os, sys
for i in range(int(sys.argv[2])): os.stat(sys.argv[1])'
before=$(hits mnt)
rule "a program that looks at a file again and again" python3 -c "$stat_often" mnt/d/e/g 3000
rule "answers most of it itself" wait_until has_hits mnt $((before + 2500))

before=$(hits mnt)
rule "a program that makes a few calls" python3 -c "$stat_often" mnt/f 10
rule "and another" python3 -c "$stat_often" mnt/f 10
rule "maps nothing" test "$(hits mnt)" = "$before"

# Two processes: what one changes the other sees at once, in everything that stat shows.
cat > sees.py << 'PY'
import os, subprocess, sys
path = "mnt/d/e/g"
for i in range(200): os.stat(path)
child = subprocess.Popen(["sh"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
def do(command):
    child.stdin.write(command + "\necho done\n")
    child.stdin.flush()
    assert child.stdout.readline() == "done\n"
def absent(p):
    try: os.stat(p)
    except FileNotFoundError: return True
for n in range(1, 60):
    do(f"echo {'z' * n} > {path}")
    assert os.stat(path).st_size == n + 1, (n, os.stat(path))
    do(f"chmod {600 + n % 8} {path}")
    assert oct(os.stat(path).st_mode)[-3:] == str(600 + n % 8)
    do("mv mnt/d mnt/moved")
    assert absent(path) and os.stat("mnt/moved/e/g").st_size == n + 1
    do("mv mnt/moved mnt/d")
    assert absent("mnt/moved/e/g") and os.stat(path).st_size == n + 1
    do(f"rm {path}")
    assert absent(path) and not os.access(path, os.F_OK)
    do(f"echo > {path}")
    assert os.access(path, os.R_OK)
child.stdin.close()
child.wait()
PY
rule "what another process changes is seen at once" python3 sees.py

# From a directory that is open, and from the working directory: it is that directory, whatever it is called by now.
cat > relative.py << 'PY'
import os, subprocess, sys
def fails(error, f):
    try: f()
    except error: return True
os.makedirs("mnt/r/s")
open("mnt/r/s/g", "w").write("12345")
top = os.getcwd()
directory = os.open("mnt/r", os.O_RDONLY)
looks = {"dirfd": lambda name: os.stat(name, dir_fd=directory), "cwd": os.stat}
for way in sys.argv[1:]:
    look = looks[way]
    if way == "cwd": os.chdir("mnt/r")
    hits = int(subprocess.check_output(["bash", "-c", "cd " + top + "; hits mnt"]))
    for i in range(500): assert look("s/g").st_size == 5
    for i in range(500): assert fails(FileNotFoundError, lambda: look("s/missing"))
    subprocess.check_call(["bash", "-c", f"cd {top}; wait_until has_hits mnt {hits + 450}"])
    # Another one with its name.
    subprocess.check_call(f"cd {top}; mv mnt/r mnt/away && mkdir -p mnt/r/s && echo > mnt/r/s/g", shell=True)
    for i in range(100): assert look("s/g").st_size == 5
    subprocess.check_call(f"cd {top}; chmod 600 mnt/away/s/g; rm -r mnt/r; mv mnt/away mnt/r", shell=True)
    assert look("s/g").st_mode & 0o777 == 0o600
    # It is no directory, and one that is gone.
    assert fails(NotADirectoryError, lambda: look("s/g/x"))
subprocess.check_call(f"cd {top}; rm -r mnt/r", shell=True)
for way in sys.argv[1:]:
    for i in range(100): assert fails(FileNotFoundError, lambda: looks[way]("s/g"))
# A number that another directory has by now.
os.chdir(top)
os.mkdir("mnt/other")
open("mnt/other/s", "w").write("1")
os.dup2(os.open("mnt/other", os.O_RDONLY), directory)
for i in range(100): assert os.stat("s", dir_fd=directory).st_size == 1
os.close(directory)
assert fails(OSError, lambda: os.stat("s", dir_fd=directory))
PY
export -f wait_until
rule "relative paths are answered too" python3 relative.py dirfd cwd

cat > forks.py << 'PY'
import os
for i in range(200): os.stat("mnt/f")
for n in range(5):
    pid = os.fork()
    if pid == 0:
        for i in range(100): assert os.stat("mnt/f").st_size == 2
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
PY
rule "children have their parent's" python3 forks.py

cat > threads.py << 'PY'
import os, threading
stop = False
def look():
    while not stop:
        for p in ("mnt/a", "mnt/b"):
            try: assert os.stat(p).st_size == 7
            except FileNotFoundError: pass
open("mnt/a", "w").write("1234567")
threads = [threading.Thread(target=look) for i in range(8)]
for t in threads: t.start()
for i in range(300):
    os.rename("mnt/a", "mnt/b")
    os.rename("mnt/b", "mnt/a")
stop = True
for t in threads: t.join()
PY
rule "eight threads look while a name goes to and fro" python3 threads.py

if [ "$WHO" = root ]; then
  cat > leaves.py << 'PY'
import os, sys
path = sys.argv[1]
for i in range(300): os.stat(path)
os.setgroups([]); os.setgid(54321); os.setuid(54321)
for i in range(300):
    try: os.stat(path)
    except PermissionError: pass
    else: assert False, "another user sees what is not his"
PY
  rule "who becomes another user sees nothing of what he saw" python3 leaves.py mnt/f
  mkdir shared && chmod 755 . ..
  rule "memfs mounts for all" fusewire fs memfs -o allow_other,default_permissions shared
  mkdir -m 700 shared/closed && echo secret > shared/closed/f && echo x > shared/f
  rule "a mount that others use is not read by any of them" python3 -c "$stat_often" shared/f 500
  rule "nobody answered himself there" test "$(hits shared)" = 0
  rule_sh "others see no name of a closed directory" '! setpriv --reuid 54321 --regid 54321 --clear-groups python3 -c "
import os
for i in range(200): assert not os.access(\"shared/closed/f\", os.F_OK)
os.stat(\"shared/closed/f\")" 2> /dev/null'
  rule "umount" fusewire umount shared
fi

cat > killed.py << 'PY'
import os, signal, sys, time
for i in range(300): os.stat("mnt/f")
os.kill(int(sys.argv[1]), signal.SIGKILL)
deadline = time.monotonic() + 30
while time.monotonic() < deadline:
    try: os.stat("mnt/f")
    except OSError as e:
        assert e.errno == 107, e
        sys.exit(0)
sys.exit("it goes on seeing what nobody serves")
PY
host=$(connection_of mnt host_pid)
rule "when the host is killed, its view is worth nothing" python3 killed.py "$host"
rule_sh "umount" "fusewire umount mnt || true"

rule_sh "without views nothing is answered so" 'fusewire run --view-after 0 -- bash -c "
mkdir plain && fusewire fs memfs plain && echo x > plain/f &&
python3 -c \"import os
for i in range(300): os.stat(\\\"plain/f\\\")\" && fusewire umount plain"'
finish
