#!/usr/bin/env python3
"""Single operations: a tmpfs, the real kernel's FUSE and a namespace of fusewire, side by side in one interleaved run.

The same program (fs_bench) measures all of them, and the same daemon (fusewire fs memfs) serves the latter two. Three
placements: as the scheduler likes, everybody on one CPU, and four clients at once. Printed for each row: the medians,
then the ratio namespace / kernel of each round as its median with the lowest and the highest; for times below 1 is
faster, for rates (MiB/s) above 1 is. CPU: microseconds of all parties (client, host, daemon) for one operation or one
MiB, so that waiting busily is not free. Of four clients the time is that of one operation when four go on at once.
Nothing is judged: figures depend on the machine and on who else uses it.
"""

import os
import statistics
import subprocess

import places

ROWS = {
    "stat_uncached": "stat, uncached",
    "stat_cached": "stat, cached",
    "stat_negative": "stat, negative",
    "access": "access",
    "readlink": "readlink",
    "open_close": "open + close",
    "open_read4k_close": "open + read 4 KiB + close",
    "pread4k": "pread 4 KiB",
    "lseek": "lseek",
    "fstat": "fstat",
    "readdir_lstat": "readdir + lstat, an entry",
    "create_unlink": "create + unlink",
    "write_sequential": "sequential write",
    "read_sequential": "sequential read",
}
PLACEMENTS = {"free": "as the scheduler places it", "one": "everybody on one CPU", "four": "four clients"}


def measure(kind, placement, arguments):
    """{row: (value, unit, CPU microseconds of all)}"""
    cpus = {max(os.sched_getaffinity(0))} if placement == "one" else None
    clients = 4 if placement == "four" else 1
    results = {}
    with kind(arguments.programs, cpus) as place:
        bench = place.start([arguments.programs / "fs_bench", "--clients", clients, place.cached, place.forgetful,
                             *[row for row in ROWS if row in arguments.names]])
        before = 0
        for line in bench.stdout:
            word, row, *figures = line.split()
            if word == "begin":
                before = places.everybody()
            else:
                value, unit, times = float(figures[0]), figures[1], float(figures[2])
                results[row] = (value, unit, (places.everybody() - before) / times)
            bench.stdin.write("go on\n")
            bench.stdin.flush()
        try:
            status = bench.wait(places.SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            status = "none"
        if status != 0 or len(results) != len([row for row in ROWS if row in arguments.names]):
            raise places.Failed(f"fs_bench in {place.name} ended with status {status}")
    return results


def show(placement, results):
    kinds = list(results)
    has_kernel = "kernel" in results
    print(f"{PLACEMENTS[placement]}:")
    heading = ["", *kinds, *(["namespace / kernel"] if has_kernel else []), *[f"CPU {kind}" for kind in kinds],
               *(["CPU, namespace / kernel"] if has_kernel else [])]
    lines = []
    for row in results[kinds[0]][0]:
        line = [ROWS[row]]
        for kind in kinds:
            line.append(f"{statistics.median(r[row][0] for r in results[kind]):.2f} {results[kind][0][row][1]}")
        if has_kernel:
            line.append(places.ratios(*[[r[row][0] for r in results[kind]] for kind in ("namespace", "kernel")]))
        for kind in kinds:
            line.append(f"{statistics.median(r[row][2] for r in results[kind]):.2f} us")
        if has_kernel:
            line.append(places.ratios(*[[r[row][2] for r in results[kind]] for kind in ("namespace", "kernel")]))
        lines.append(line)
    places.print_table(heading, lines)


def run():
    arguments = places.parse_arguments(__doc__, [*ROWS, *PLACEMENTS], "row or placement")
    placements = [p for p in PLACEMENTS if p in arguments.names]
    if not any(row in arguments.names for row in ROWS):
        arguments.names += ROWS
    if not placements:
        placements = ["one"] if arguments.one_cpu else list(PLACEMENTS)
    kinds = places.available([places.Tmpfs, places.Kernel, places.KernelOverUring, places.Namespace],
                             arguments.programs)
    for placement in placements:
        results = {kind.name: [] for kind in kinds}
        for _, kind in places.in_turn(kinds, arguments.rounds):
            results[kind.name].append(measure(kind, placement, arguments))
        show(placement, results)


if __name__ == "__main__":
    places.main(run)
