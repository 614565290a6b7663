#!/usr/bin/env python3
"""Whole programs on a tree of 3,000 small files: a tmpfs, the real kernel's FUSE and a namespace of fusewire, side by
side in one interleaved run, the same daemon (fusewire fs memfs) behind the latter two.

Printed for each row: the medians, then the ratio namespace / kernel of each round as its median with the lowest and
the highest (below 1 is faster). CPU: of all parties, programs and daemon and host. Rows that need the tree get it
unpacked, whether that row was asked for or not.
"""

import io
import random
import statistics
import subprocess
import tarfile
import tempfile
from pathlib import Path

import places

FILES, DIRECTORIES, BYTES = 3000, 100, 40_600_000
SOURCES = 4

# In this order, in each place. None of them writes to a terminal; what is only read must be read.
ROWS = {
    "untar": "tar xf {data}/tree.tar -C {at}",
    "find": "find {at}/tree -ls > /dev/null",
    "du": "du -s {at}/tree > /dev/null",
    "grep": "! grep -r no-such-words {at}/tree",
    "git_status": "git -C {at}/repository status > /dev/null",
    "build": "make -s -C {at}/project",
    "rm": "rm -rf {at}/tree",
}
TITLES = {
    "untar": "untar",
    "find": "find -ls",
    "du": "du",
    "grep": "grep -r, reads all",
    "git_status": "git status",
    "build": f"C++ build, {SOURCES} sources",
    "rm": "rm -rf",
}
# Not counted, before the row.
BEFORE = {
    "git_status": "tar xf {data}/repository.tar -C {at} && git -C {at}/repository status > /dev/null",
    "build": "tar xf {data}/project.tar -C {at}",
}


def sizes():
    """Small files mostly, some large, the same each time."""
    choice = random.Random(1)
    drawn = [choice.paretovariate(1.1) for _ in range(FILES)]
    drawn = [min(size, 100) for size in drawn]
    return [int(size * BYTES / sum(drawn)) for size in drawn]


def text(length, seed):
    words = random.Random(seed).randbytes(4096).hex().encode()
    lines = b"\n".join(words[i:i + 64] for i in range(0, len(words), 64)) + b"\n"
    return (lines * (length // len(lines) + 1))[:length]


def add(archive, name, data):
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = len(data), 0o644, 1_700_000_000
    archive.addfile(entry, io.BytesIO(data))


def add_directory(archive, name):
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.mtime = tarfile.DIRTYPE, 0o755, 1_700_000_000
    archive.addfile(entry)


def make_tree(path):
    with tarfile.open(path, "w") as archive:
        add_directory(archive, "tree")
        for i in range(DIRECTORIES):
            add_directory(archive, f"tree/directory-{i}")
        for i, size in enumerate(sizes()):
            add(archive, f"tree/directory-{i % DIRECTORIES}/file-{i}.txt", text(size, i))


def make_repository(data):
    """The same tree under git, packed with what belongs to it."""
    commands = f"""set -e; cd {data}; tar xf tree.tar; mv tree repository; cd repository
        git init -q; git add .; git -c user.name=bench -c user.email=bench@localhost commit -q -m tree
        cd ..; tar cf repository.tar repository; rm -rf repository"""
    subprocess.run(["sh", "-c", commands], check=True, stdout=subprocess.DEVNULL)


def make_project(path):
    with tarfile.open(path, "w") as archive:
        add_directory(archive, "project")
        objects = " ".join(f"part{i}.o" for i in range(SOURCES))
        rules = f"CXXFLAGS = -O1\nprogram: {objects}\n\t$(CXX) -o $@ $^\n*.o: shared.h\n"
        add(archive, "project/Makefile", rules.encode())
        add(archive, "project/shared.h", b"#pragma once\n#include <map>\n#include <string>\n#include <vector>\n")
        for i in range(SOURCES):
            main = "int main() { return part0(1).size() == 0; }\n" if i == 0 else ""
            source = (f'#include "shared.h"\nstd::string part{i}(int n) {{\n  std::map<int, std::string> m;\n'
                      f'  std::vector<int> v(n, {i});\n  for (int x : v) m[x] += "part";\n  return m[{i}];\n}}\n{main}')
            add(archive, f"project/part{i}.cc", source.encode())


def measure(kind, data, arguments):
    results = {}
    needs_tree = {"find", "du", "grep", "rm"} & set(arguments.names)
    with kind(arguments.programs, arguments.cpus) as place:
        runner = places.Runner(place)
        words = {"data": data, "at": place.cached}
        for row, command in ROWS.items():
            if row not in arguments.names and not (row == "untar" and needs_tree):
                continue
            if row in BEFORE:
                runner.run(BEFORE[row].format(**words))
            results[row] = runner.run(command.format(**words))
    return results


def show(results, names):
    kinds = list(results)
    has_kernel = "kernel" in results
    heading = ["", *kinds, *(["namespace / kernel"] if has_kernel else []), *[f"CPU {kind}" for kind in kinds],
               *(["CPU, namespace / kernel"] if has_kernel else [])]
    lines = []
    for row in names:
        line = [TITLES[row]]
        for figure in range(2):
            for kind in kinds:
                line.append(f"{statistics.median(r[row][figure] for r in results[kind]) * 1000:.0f} ms")
            if has_kernel:
                line.append(places.ratios(*[[r[row][figure] for r in results[k]] for k in ("namespace", "kernel")]))
        lines.append(line)
    places.print_table(heading, lines)


def run():
    arguments = places.parse_arguments(__doc__, ROWS)
    kinds = places.available([places.Tmpfs, places.Kernel, places.KernelOverUring, places.Namespace],
                             arguments.programs)
    shared = "/dev/shm" if places.Tmpfs.why_not(None) is None else None
    with tempfile.TemporaryDirectory(prefix="fusewire-bench-", dir=shared) as data:
        make_tree(Path(data) / "tree.tar")
        if "git_status" in arguments.names:
            make_repository(data)
        make_project(Path(data) / "project.tar")
        results = {kind.name: [] for kind in kinds}
        for _, kind in places.in_turn(kinds, arguments.rounds):
            results[kind.name].append(measure(kind, data, arguments))
    show(results, arguments.names)


if __name__ == "__main__":
    places.main(run)
