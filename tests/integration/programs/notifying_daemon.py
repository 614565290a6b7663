# A daemon that notifies, and a program that watches what it serves by inotify and F_NOTIFY, in one process: one
# directory with one file. $1: the mount point. Prints "told well" at the end.
import ctypes, errno, fcntl, os, select, signal, struct, sys, threading

LOOKUP, FORGET, GETATTR, OPEN, RELEASE, INIT, OPENDIR, READDIR, RELEASEDIR = 1, 2, 3, 14, 18, 26, 27, 28, 29
INVAL_INODE, INVAL_ENTRY, DELETE = 2, 3, 6
MODIFY, ATTRIB, CREATE, DELETED, DELETE_SELF = 0x2, 0x4, 0x100, 0x200, 0x400
FILE = 2
mount_point = os.path.abspath(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
device = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={device},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()}"
if libc.mount(b"notifying", mount_point.encode(), b"fuse.notifying", 6, options.encode()) != 0:
    sys.exit("mount: " + os.strerror(ctypes.get_errno()))


def attributes(node):
    mode = 0o40755 if node == 1 else 0o100644
    return struct.pack("<6Q10I", node, 4, 0, 0, 0, 0, 0, 0, 0, mode, 1, os.getuid(), os.getgid(), 0, 4096, 0)


def send(unique, error, body=b""):
    os.write(device, struct.pack("<IiQ", 16 + len(body), error, unique) + body)


def directory_entry(node, offset, name):
    entry = struct.pack("<2Q2I", node, offset, len(name), 8 if node == FILE else 4) + name
    return entry + bytes(-len(entry) % 8)


def serve(request):
    _, opcode, unique, node = struct.unpack_from("<IIQQ", request)
    body = request[40:]
    if opcode == INIT:
        send(unique, 0, struct.pack("<4I2H2I2H8I", 7, 31, 131072, 0, 0, 0, 131072, 1, 32, *[0] * 9))
    elif opcode == LOOKUP and body == b"file\0":
        send(unique, 0, struct.pack("<4Q2I", FILE, 0, 3600, 3600, 0, 0) + attributes(FILE))
    elif opcode == LOOKUP:
        send(unique, -errno.ENOENT)
    elif opcode == GETATTR:
        send(unique, 0, struct.pack("<Q2I", 3600, 0, 0) + attributes(node))
    elif opcode in (OPEN, OPENDIR):
        send(unique, 0, struct.pack("<Q2I", 1, 0, 0))
    elif opcode == READDIR:
        first = struct.unpack_from("<QQ", body)[1] == 0
        send(unique, 0, directory_entry(FILE, 1, b"file") if first else b"")
    elif opcode in (RELEASE, RELEASEDIR):
        send(unique, 0)
    elif opcode not in (FORGET, 42, 36):  # BATCH_FORGET, INTERRUPT
        send(unique, -errno.ENOSYS)


def serve_all():
    while True:
        try:
            serve(os.read(device, 1 << 20))
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise
            return


def name_of(parent, name):
    return struct.pack("<Q2I", parent, len(name), 0) + name + b"\0"


daemon = threading.Thread(target=serve_all, daemon=True)
daemon.start()
file = os.path.join(mount_point, "file")
inotify = libc.inotify_init1(os.O_NONBLOCK)
in_directory = libc.inotify_add_watch(inotify, mount_point.encode(), MODIFY | ATTRIB | CREATE | DELETED)
on_file = libc.inotify_add_watch(inotify, file.encode(), MODIFY | ATTRIB | DELETE_SELF)
if in_directory < 0 or on_file < 0:
    sys.exit("inotify_add_watch: " + os.strerror(ctypes.get_errno()))
changes = []
woken, wakes = os.pipe2(os.O_NONBLOCK)
signal.set_wakeup_fd(wakes)
signal.signal(signal.SIGIO, lambda *_: changes.append(1))
noticed = os.open(mount_point, os.O_RDONLY)
fcntl.fcntl(noticed, fcntl.F_NOTIFY, fcntl.DN_DELETE | fcntl.DN_MULTISHOT)


def events():
    data, at = os.read(inotify, 65536), 0
    while at < len(data):
        watch, mask, _, length = struct.unpack_from("<iIII", data, at)
        name = data[at + 16 : at + 16 + length].rstrip(b"\0").decode()
        at += 16 + length
        yield ("directory" if watch == in_directory else "file", mask, name)


# The events that a notification leads to. What comes where none is expected is found by the next one.
def expect(code, body, wanted):
    try:
        send(0, code, body)
    except OSError:
        pass  # what is not known here
    told = []
    while len(told) < len(wanted) and select.select([inotify], [], [], 60)[0]:
        told += events()
    if told != wanted:
        sys.exit(f"notification {code} {body}: told {told}, not {wanted}")


os.stat(file)
expect(INVAL_INODE, struct.pack("<Qqq", FILE, 0, 0), [("directory", MODIFY, "file"), ("file", MODIFY, "")])
expect(INVAL_INODE, struct.pack("<Qqq", FILE, -1, 0), [("directory", ATTRIB, "file"), ("file", ATTRIB, "")])
expect(INVAL_ENTRY, name_of(1, b"new"), [("directory", CREATE, "new")])
expect(INVAL_ENTRY, name_of(1, b"new"), [("directory", ATTRIB, "new")])
for name in (b"..", b".", b"", b"../new", b"a/b"):
    expect(INVAL_ENTRY, name_of(1, name), [])
os.stat(file)
body = struct.pack("<QQ2I", 1, FILE, 4, 0) + b"file\0"
expect(DELETE, body, [("file", ATTRIB, ""), ("file", DELETE_SELF, ""), ("file", 0x8000, ""), ("directory", DELETED, "file")])
while not changes and select.select([woken], [], [], 60)[0]:
    os.read(woken, 1)
if not changes:
    sys.exit("F_NOTIFY tells of no deletion")
os.close(noticed)
os.close(inotify)
if libc.umount2(mount_point.encode(), 0) != 0:
    sys.exit("umount: " + os.strerror(ctypes.get_errno()))
daemon.join()
print("told well")
