#!/usr/bin/env python3
"""Programs that use nothing virtual, outside and inside of a namespace that has mounts, in one interleaved run.

Printed for each row: the medians, then the ratio inside / outside of each round as its median with the lowest and the
highest. CPU: of the programs and of the namespace's own processes.
"""

import statistics
import subprocess
import tempfile
from pathlib import Path

import places
import workloads

# The open of a file by a program that does nothing else, 20,000 times.
OPENS = "{programs}/fs_bench --milliseconds 200 {at} {at} open_close < /dev/null | awk '/^end/ {{ print $3 }}' > {data}/us"
ROWS = {
    "true": "i=0; while [ $i -lt 200 ]; do /bin/true; i=$((i+1)); done",
    "find": "find /usr/share /usr/include > /dev/null",
    "ls": "ls -lR /usr/include > /dev/null",
    "tar": "tar cf /dev/null /usr/include 2> /dev/null",
    "python": "python3 -c 'import json, subprocess, asyncio, unittest'",
    "git_status": "git -C {data}/repository status > /dev/null",
    "compile": "g++ -std=c++20 -O1 -c -o /dev/null {data}/large.cc",
    "open_close": OPENS,
}
TITLES = {
    "true": "200 x /bin/true from sh",
    "find": "find /usr/share /usr/include",
    "ls": "ls -lR /usr/include",
    "tar": "tar cf /dev/null /usr/include",
    "python": "python3, five modules",
    "git_status": "git status of 3,000 files",
    "compile": "g++ of large headers",
    "open_close": "native open + close",
}
LARGE = "#include <algorithm>\n#include <filesystem>\n#include <functional>\n#include <iostream>\n#include <map>\n" \
        "#include <random>\n#include <regex>\n#include <thread>\nint main() { return std::regex(\"a+\").mark_count(); }\n"


def measure(kind, data, arguments):
    results = {}
    with kind(arguments.programs, arguments.cpus) as place, tempfile.TemporaryDirectory(dir=data) as at:
        runner = places.Runner(place)
        for row in arguments.names:
            seconds, cpu = runner.run(ROWS[row].format(data=data, at=at, programs=arguments.programs))
            if row == "open_close":
                # That of one, as it measured it; the program's own start is no part of it.
                seconds, cpu = float((Path(data) / "us").read_text()) / 1e6, 0
            results[row] = (seconds, cpu)
    return results


def show(results, names):
    outside, inside = results["outside"], results["inside"]
    lines = []
    for row in names:
        line = [TITLES[row]]
        unit, factor = ("us", 1e6) if row == "open_close" else ("ms", 1e3)
        for figure in range(2):
            for each in (outside, inside):
                median = statistics.median(r[row][figure] for r in each)
                text = f"{median * factor:.2f} {unit}" if unit == "us" else f"{median * factor:.0f} {unit}"
                line.append(text if median > 0 else "-")
            line.append(places.ratios(*[[r[row][figure] for r in each] for each in (inside, outside)]))
        lines.append(line)
    places.print_table(["", "outside", "inside", "inside / outside", "CPU outside", "CPU inside",
                        "CPU, inside / outside"], lines)


def run():
    arguments = places.parse_arguments(__doc__, ROWS)
    with tempfile.TemporaryDirectory(prefix="fusewire-bench-") as data:
        if "git_status" in arguments.names:
            workloads.make_tree(Path(data) / "tree.tar")
            workloads.make_repository(data)
            unpack = "tar xf repository.tar && git -C repository status"
            subprocess.run(["sh", "-c", unpack], cwd=data, check=True, stdout=subprocess.DEVNULL)
        (Path(data) / "large.cc").write_text(LARGE)
        results = {kind.name: [] for kind in (places.Outside, places.Inside)}
        for _, kind in places.in_turn([places.Outside, places.Inside], arguments.rounds):
            results[kind.name].append(measure(kind, data, arguments))
    show(results, arguments.names)


if __name__ == "__main__":
    places.main(run)
