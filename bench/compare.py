#!/usr/bin/env python3
"""Compares a namespace of fusewire with the real kernel's FUSE, side by side in one interleaved run.

usage: compare.py [--rounds N] [BIN]

The same daemon (fusewire fs memfs) is measured by the same program (fs_bench) in both places, in turn, for N rounds
(default 9, at least 7). BIN is the directory of the programs (default: build/bin). Prints the median of each
measurement, and the ratio namespace / kernel of each round as median and spread: for times, below 1 is faster; for
rates (MiB/s), above 1 is faster. Nothing is judged: figures depend on the machine and on who else uses it.
"""

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MEASUREMENTS = {
    "stat_uncached": "stat of an uncached name",
    "stat_cached": "stat of a cached name",
    "create_unlink": "create + unlink",
    "open_read4k_close": "open + read 4 KiB + close",
    "read_sequential": "sequential read",
    "write_sequential": "sequential write",
}
MOUNT_SECONDS, RUN_SECONDS = 10, 120


class Failed(Exception):
    pass


def is_mounted(directory):
    with open("/proc/self/mountinfo") as mounts:
        return any(line.split()[4] == directory for line in mounts)


def parse(output):
    """{name: (value, unit)} of fs_bench's lines."""
    results = {}
    for line in output.splitlines():
        name, value, unit = line.split()
        results[name] = (float(value), unit)
    return results


def run(command, what):
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_SECONDS)
    except subprocess.TimeoutExpired as expired:
        raise Failed(f"{what} took more than {RUN_SECONDS} s") from expired
    if done.returncode != 0:
        raise Failed(f"{what} ended with status {done.returncode}: {done.stderr.strip()}")
    return done.stdout


# Names in it may not be cached: each stat is a LOOKUP, whose reply brings the attributes.
FORGETFUL = ["-o", "entry_timeout=0"]


@contextlib.contextmanager
def kernel_mount(fusewire, directory, options=()):
    """memfs on directory through the real /dev/fuse."""
    daemon = subprocess.Popen([fusewire, "fs", "memfs", directory, "-f", *options], stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + MOUNT_SECONDS
        while not is_mounted(directory):
            if daemon.poll() is not None:
                raise Failed(f"memfs did not mount: {daemon.stderr.read().strip()}")
            if time.monotonic() > deadline:
                raise Failed(f"memfs did not mount within {MOUNT_SECONDS} s")
            time.sleep(0.01)
        yield
    finally:
        if is_mounted(directory):
            unmount = ["umount", directory] if os.geteuid() == 0 else ["fusermount3", "-u", directory]
            subprocess.run(unmount, check=False)
        try:
            daemon.wait(MOUNT_SECONDS)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()


def measure_kernel(programs, directory, forgetful):
    fusewire = programs / "fusewire"
    with kernel_mount(fusewire, directory), kernel_mount(fusewire, forgetful, FORGETFUL):
        return parse(run([programs / "fs_bench", directory, forgetful], "fs_bench on the real kernel"))


def measure_namespace(programs, directory, forgetful):
    # memfs goes to the background once its mount is live; the end of the command ends the mount.
    script = '"$1" fs memfs "$3" && "$1" fs memfs "$4" "$5" "$6" && "$2" "$3" "$4"'
    command = [programs / "fusewire", "run", "--", "sh", "-c", script, "sh",
               programs / "fusewire", programs / "fs_bench", directory, forgetful, *FORGETFUL]
    return parse(run(command, "fs_bench in a namespace"))


def why_no_kernel(programs, directory):
    """Why the real kernel's FUSE cannot be measured here, or None."""
    if not os.path.exists("/dev/fuse"):
        return "there is no /dev/fuse"
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "/dev/fuse may not be opened by this user"
    try:
        with kernel_mount(programs / "fusewire", directory):
            return None
    except Failed as failure:
        return str(failure)


def show(rounds_kernel, rounds_namespace):
    print(f"{'':28}{'kernel':>14}{'namespace':>14}   namespace / kernel")
    for name, title in MEASUREMENTS.items():
        ours = [r[name][0] for r in rounds_namespace if name in r]
        if not ours:
            continue
        unit = rounds_namespace[0][name][1]
        line = f"{title:28}"
        if rounds_kernel:
            kernel = [r[name][0] for r in rounds_kernel]
            ratios = [o / k for o, k in zip(ours, kernel)]
            line += f"{statistics.median(kernel):>9.1f} {unit:<5}{statistics.median(ours):>8.1f} {unit:<5}"
            line += f"   {statistics.median(ratios):.2f}  ({min(ratios):.2f} - {max(ratios):.2f})"
        else:
            line += f"{'-':>14}{statistics.median(ours):>8.1f} {unit:<5}   ({min(ours):.1f} - {max(ours):.1f})"
        print(line)


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1].removeprefix("usage: "))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("programs", nargs="?", default="build/bin")
    arguments = parser.parse_args()
    programs = Path(arguments.programs).resolve()
    for program in ("fusewire", "fs_bench"):
        if not (programs / program).exists():
            parser.error(f"{programs} has no {program}; build it with `make bench`, or name the programs' directory")
    rounds = max(arguments.rounds, 7)
    with tempfile.TemporaryDirectory(prefix="fusewire-bench-") as place:
        directory, forgetful = place + "/cached", place + "/forgetful"
        os.mkdir(directory)
        os.mkdir(forgetful)
        no_kernel = why_no_kernel(programs, directory)
        if no_kernel:
            print(f"The real kernel's FUSE is not measured: {no_kernel}. The namespace alone:")
        kernel, namespace = [], []
        for number in range(rounds):
            steps = [lambda: namespace.append(measure_namespace(programs, directory, forgetful))]
            if not no_kernel:
                steps.append(lambda: kernel.append(measure_kernel(programs, directory, forgetful)))
            # Who goes first alternates, so that a slow drift of the machine hits both.
            for step in steps if number % 2 else reversed(steps):
                step()
            if sys.stderr.isatty():
                end = "\n" if number + 1 == rounds else "\r"
                print(f"round {number + 1} of {rounds}", end=end, file=sys.stderr, flush=True)
    show(kernel, namespace)


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        sys.exit(f"compare.py: {failure}")
