"""Where things are measured, and what all parties spend there.

A place is a directory to work in and a way to start a program that works in it: a tmpfs, a mount of the real kernel's
FUSE, a mount in a namespace. The same daemon (fusewire fs memfs) serves the latter two.
"""

import argparse
import contextlib
import ctypes
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SECONDS_TO_MOUNT, SECONDS_TO_END = 20, 600
LASTING = "entry_timeout=1000000,attr_timeout=1000000,negative_timeout=1000000"
# Names in it may not be cached: each stat is a LOOKUP, whose reply brings the attributes.
FORGETFUL = "entry_timeout=0,attr_timeout=1000000,negative_timeout=0"


class Failed(Exception):
    pass


# What processes spend ------------------------------------------------------------------------------------------------


def descendants(root):
    """Every process below root, by pid."""
    children = {}
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            with open(f"/proc/{entry.name}/stat") as stat:
                children.setdefault(int(stat.read().rsplit(")", 1)[1].split()[1]), []).append(int(entry.name))
    found, open_ends = [], [root]
    while open_ends:
        below = children.get(open_ends.pop(), [])
        found += below
        open_ends += below
    return found


def cpu_microseconds(pids):
    """What the processes that are there have spent so far, all their threads."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for task in os.scandir(f"/proc/{pid}/task"):
                with contextlib.suppress(OSError), open(f"{task.path}/schedstat") as spent:
                    total += int(spent.read().split()[0])
    return total / 1000


def everybody():
    return cpu_microseconds(descendants(os.getpid()))


# Places --------------------------------------------------------------------------------------------------------------


def is_mounted(directory):
    with open("/proc/self/mountinfo") as mounts:
        return any(line.split()[4] == directory for line in mounts)


class Place:
    """In use inside `with`: cached and forgetful are directories, command(argv) is how a program is started there."""

    def __init__(self, programs, cpus=None):
        self.programs, self.cpus = programs, cpus

    def __enter__(self):
        self.stack = contextlib.ExitStack()
        self.root = self.stack.enter_context(tempfile.TemporaryDirectory(prefix="fusewire-bench-", dir=self.parent()))
        self.cached, self.forgetful = self.root + "/cached", self.root + "/forgetful"
        for directory in (self.cached, self.forgetful):
            os.mkdir(directory)
        try:
            self.set_up()
        except BaseException:
            self.stack.close()
            raise
        return self

    def __exit__(self, *_):
        self.stack.close()

    def parent(self):
        return None

    def set_up(self):
        pass

    def command(self, argv):
        return list(argv)

    def start(self, argv):
        """A program in the place, its input and output in our hands."""
        process = subprocess.Popen(
            self.command([str(word) for word in argv]), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            preexec_fn=self.pin, cwd="/")
        self.stack.callback(end, process)
        return process

    def pin(self):
        if self.cpus:
            os.sched_setaffinity(0, self.cpus)


def wait_or_kill(process, seconds):
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def end(process):
    """Lets it end by the end of its input."""
    process.stdin.close()
    wait_or_kill(process, SECONDS_TO_END)
    process.stdout.close()


class Tmpfs(Place):
    name = "tmpfs"

    def parent(self):
        return "/dev/shm"

    @staticmethod
    def why_not(_programs):
        with contextlib.suppress(OSError), open("/proc/self/mounts") as mounts:
            if any(line.split()[1:3] == ["/dev/shm", "tmpfs"] for line in mounts) and os.access("/dev/shm", os.W_OK):
                return None
        return "/dev/shm is no tmpfs that this user may write to"


class Kernel(Place):
    name = "kernel"

    def set_up(self):
        for directory, options in ((self.cached, LASTING), (self.forgetful, FORGETFUL)):
            daemon = subprocess.Popen([self.programs / "fusewire", "fs", "memfs", directory, "-f", "-o", options],
                                      stderr=subprocess.PIPE, text=True, preexec_fn=self.pin)
            self.stack.callback(self.unmount, directory, daemon)
            deadline = time.monotonic() + SECONDS_TO_MOUNT
            while not is_mounted(directory):
                if daemon.poll() is not None:
                    raise Failed(f"memfs did not mount: {daemon.stderr.read().strip()}")
                if time.monotonic() > deadline:
                    raise Failed(f"memfs did not mount within {SECONDS_TO_MOUNT} s")
                time.sleep(0.01)

    @staticmethod
    def unmount(directory, daemon):
        if is_mounted(directory):
            unmount = ["umount", directory] if os.geteuid() == 0 else ["fusermount3", "-u", directory]
            subprocess.run(unmount, check=False)
        wait_or_kill(daemon, SECONDS_TO_MOUNT)
        daemon.stderr.close()

    @staticmethod
    def why_not(programs):
        if not os.path.exists("/dev/fuse"):
            return "there is no /dev/fuse"
        if not os.access("/dev/fuse", os.R_OK | os.W_OK):
            return "/dev/fuse may not be opened by this user"
        try:
            with Kernel(programs):
                return None
        except Failed as failure:
            return str(failure)


class KernelOverUring(Kernel):
    name = "io_uring"

    @staticmethod
    def why_not(_programs):
        try:
            allowed = Path("/sys/module/fuse/parameters/enable_uring").read_text().strip()
        except OSError:
            return "this kernel's FUSE does not speak io_uring"
        if allowed != "Y":
            return "FUSE over io_uring is turned off here (/sys/module/fuse/parameters/enable_uring)"
        return "our daemon's half does not speak io_uring yet"


class Namespace(Place):
    name = "namespace"

    def command(self, argv):
        # memfs goes to the background once its mount is live; the end of the command ends the mounts.
        script = '"$1" fs memfs "$2" -o "$3" && "$1" fs memfs "$4" -o "$5" && shift 5 && exec "$@"'
        return [self.programs / "fusewire", "run", "--", "sh", "-c", script, "sh", self.programs / "fusewire",
                self.cached, LASTING, self.forgetful, FORGETFUL, *argv]

    @staticmethod
    def why_not(_programs):
        return None


class Outside(Place):
    name = "outside"

    @staticmethod
    def why_not(_programs):
        return None


class Inside(Namespace):
    """The same as outside, of a namespace that has mounts which nobody uses."""

    name = "inside"


# Commands in a place -------------------------------------------------------------------------------------------------


class Runner:
    """Runs shell commands in a place one by one (runner.py), and tells what each took."""

    def __init__(self, place):
        self.process = place.start([sys.executable, Path(__file__).with_name("runner.py")])
        self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise Failed("the program that runs the commands has ended")
        return line

    def run(self, command):
        """(seconds, CPU seconds of all parties)."""
        before = everybody()
        self.process.stdin.write(command.replace("\n", " ") + "\n")
        self.process.stdin.flush()
        status, seconds, own = self.answer().split()
        if status != "0":
            raise Failed(f"`{command}` ended with status {status}")
        return float(seconds), float(own) + (everybody() - before) / 1e6


# Rounds and tables ---------------------------------------------------------------------------------------------------


def available(kinds, programs):
    """Those of the places that can be measured here; tells why others cannot."""
    found = []
    for kind in kinds:
        why = kind.why_not(programs)
        if why is None:
            found.append(kind)
        else:
            print(f"{kind.name}: not measured: {why}")
    return found


def in_turn(kinds, rounds):
    """(round, kind) so that each round has each kind once, and another one begins each time."""
    for number in range(rounds):
        first = number % len(kinds)
        for kind in kinds[first:] + kinds[:first]:
            yield number, kind
        if sys.stderr.isatty():
            print(f"round {number + 1} of {rounds}", end="\n" if number + 1 == rounds else "\r", file=sys.stderr,
                  flush=True)


def ratios(ours, theirs):
    """Median, lowest and highest of the rounds' ratios, as text."""
    each = [o / t for o, t in zip(ours, theirs) if t > 0]
    if not each:
        return "-"
    return f"{statistics.median(each):.2f} ({min(each):.2f}-{max(each):.2f})"


def print_table(heading, rows):
    table = [heading, *rows]
    width = [max(len(row[i]) for row in table) for i in range(len(heading))]
    for row in table:
        print("  ".join(word.ljust(w) if i == 0 else word.rjust(w) for i, (word, w) in enumerate(zip(row, width))))
    print(flush=True)


def parse_arguments(description, names, what="row"):
    """--rounds, --programs, and the names of the rows that are wanted (all when none is named)."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, metavar="N")
    parser.add_argument("--programs", type=lambda p: Path(p).resolve(), metavar="DIR",
                        default=Path(__file__).resolve().parent.parent / "build" / "bin")
    parser.add_argument("--one-cpu", action="store_true", help="everybody on one CPU")
    parser.add_argument("names", nargs="*", metavar=what, help="of: " + ", ".join(names))
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in names]
    if unknown:
        parser.error(f"no {what} is called {', '.join(unknown)}; there are {', '.join(names)}")
    for program in ("fusewire", "fs_bench"):
        if not (arguments.programs / program).exists():
            parser.error(f"{arguments.programs} has no {program}: `make build`, or name the directory by --programs")
    arguments.names = [name for name in names if not arguments.names or name in arguments.names]
    arguments.cpus = {max(os.sched_getaffinity(0))} if arguments.one_cpu else None
    stay_parent_of_all()
    return arguments


def stay_parent_of_all():
    """What outlives its parent becomes our child, so that everybody() finds it."""
    pr_set_child_subreaper = 36
    ctypes.CDLL(None).prctl(pr_set_child_subreaper, 1, 0, 0, 0)


def main(run):
    # Whoever ends us gets what was mounted unmounted.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        run()
    except Failed as failure:
        sys.exit(f"{Path(sys.argv[0]).name}: {failure}")
