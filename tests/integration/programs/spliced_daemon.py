# A daemon that moves every request and every reply through a pipe with splice(2), as libfuse and go-fuse may.
# It serves one directory with one file, `big`, or that file itself where the mount point is a file, and checks what
# the device says. $1: the mount point; more of them are further places of the same device, with "=" and MS_* in decimal
# behind a place that is to have such flags.
import ctypes, errno, fcntl, os, select, struct, sys

LOOKUP, GETATTR, SETATTR, OPEN, READ, STATFS, RELEASE, FLUSH, INIT = 1, 3, 4, 14, 15, 17, 18, 25, 26
CONTENT = bytes(range(251)) * 4000
mount_point = os.path.abspath(sys.argv[1])
device = os.open("/dev/fuse", os.O_RDWR)
root_is_file = os.path.isfile(mount_point)
libc = ctypes.CDLL(None, use_errno=True)
options = f"fd={device},rootmode={100000 if root_is_file else 40000},user_id={os.getuid()},group_id={os.getgid()}"
if libc.mount(b"spliced", mount_point.encode(), b"fuse.spliced", 6, options.encode()) != 0:
    sys.exit("mount: " + os.strerror(ctypes.get_errno()))
for place in sys.argv[2:]:
    place, _, flags = place.partition("=")
    if libc.mount(b"spliced", os.path.abspath(place).encode(), b"fuse.spliced", int(flags or 6), options.encode()) != 0:
        sys.exit("mount again: " + os.strerror(ctypes.get_errno()))
from_device, into_pipe = os.pipe()
fcntl.fcntl(into_pipe, 1031, 1 << 20)  # F_SETPIPE_SZ


def errno_of(call, *arguments):
    try:
        call(*arguments)
    except OSError as error:
        return error.errno
    return 0


def attributes(node):
    mode, size = (0o40755, 0) if node == 1 and not root_is_file else (0o100644, len(CONTENT))
    return struct.pack("<6Q10I", node, size, 0, 0, 0, 0, 0, 0, 0, mode, 1, os.getuid(), os.getgid(), 0, 4096, 0)


def answer(unique, error, body=b""):
    reply = struct.pack("<IiQ", 16 + len(body), -error, unique) + body
    half = len(reply) // 2
    os.write(into_pipe, reply[:half])
    if errno_of(os.splice, from_device, device, len(reply)) != errno.EINVAL:
        sys.exit("a pipe that holds less than the reply is not refused")
    os.write(into_pipe, reply[half:])
    if os.splice(from_device, device, len(reply)) != len(reply):
        sys.exit("a reply was taken in part")


def serve(request):
    length, opcode, unique, node = struct.unpack_from("<IIQQ", request)
    if length != len(request):
        sys.exit("a request came in part")
    body = request[40:]
    if opcode == INIT:
        answer(unique, 0, struct.pack("<4I2H2I2H8I", 7, 31, 131072, 0, 0, 0, 131072, 1, 32, *[0] * 9))
    elif opcode == LOOKUP and body == b"big\0":
        answer(unique, 0, struct.pack("<4Q2I", 2, 0, 1, 1, 0, 0) + attributes(2))
    elif opcode == LOOKUP:
        answer(unique, errno.ENOENT)
    elif opcode == GETATTR:
        answer(unique, 0, struct.pack("<Q2I", 1, 0, 0) + attributes(node))
    elif opcode == OPEN:
        answer(unique, 0, struct.pack("<Q2I", 1, 0, 0))
    elif opcode == READ:
        offset, size = struct.unpack_from("<QI", body, 8)
        answer(unique, 0, CONTENT[offset : offset + size])
    elif opcode == STATFS:
        answer(unique, 0, bytes(80))
    elif opcode == SETATTR:
        answer(unique, 0, struct.pack("<Q2I", 1, 0, 0) + attributes(node))
    elif opcode in (RELEASE, FLUSH):
        answer(unique, 0)
    elif opcode not in (2, 42, 36):  # FORGET, BATCH_FORGET, INTERRUPT
        answer(unique, errno.ENOSYS)


print("serving", flush=True)
while True:
    try:
        count = os.splice(device, into_pipe, 1 << 20)
    except OSError as error:
        if error.errno != errno.ENODEV:
            sys.exit(f"the end of the mount is {error}, not ENODEV")
        break
    serve(os.read(from_device, count))
poll = select.poll()
poll.register(device, select.POLLIN)
events = poll.poll(0)
if events != [(device, select.POLLERR)]:
    sys.exit(f"a device without a mount polls as {events}, not POLLERR")
print("ended well", flush=True)
