#!/usr/bin/env python3
"""Checks that includes run only along the arrows of docs/architecture.md.

usage: check_includes.py [ROOT]

Reads every #include line of src/, include/, tests/ and bench/ below ROOT (default: the tree this script stands in).
Prints file:line and the reason for each offending include; exit status 1 if there was one, 2 on wrong usage.
"""

import re
import sys
from pathlib import Path

# Which rooms of src/ a room may include besides itself.
ARROWS = {
    "abi": set(),
    "code": set(),
    "wire": {"abi"},
    "kernel": {"abi", "wire"},
    "syscall": {"abi", "kernel", "wire"},
    "host": {"abi", "syscall", "kernel", "wire"},
    "leader": {"abi", "code", "host"},
    "gate": {"abi", "code"},
    "daemon": {"abi", "wire"},
    "filesystems": {"abi", "daemon", "wire"},
    "cli": {"abi", "leader", "gate", "host", "filesystems", "daemon", "syscall", "kernel", "wire"},
}

# Rooms that must build without libc, exceptions and allocation (tests/freestanding proves that they link so).
FREESTANDING = {"wire", "kernel", "syscall"}
FREESTANDING_HEADERS = set(
    "array atomic bit cstddef cstdint expected optional span string_view coroutine concepts type_traits utility new "
    "limits initializer_list compare".split()
)
# Header-only too: Boost's assertion with a handler of ours, and the annotations of an AddressSanitizer build.
FREESTANDING_HEADERS |= {"boost/assert.hpp", "sanitizer/asan_interface.h"}
FREESTANDING_PREFIX = "boost/intrusive/"

# What a tests/<directory> may include besides the room of its name and that room's arrows.
TESTS_ALSO = {
    "support": set(ARROWS),
    "integration": set(ARROWS),
    "fuzz": {"syscall", "kernel", "wire"},
    "oracle": {"abi", "syscall", "kernel", "wire"},
    "freestanding": {"syscall", "kernel", "wire"},
    "host": {"daemon", "filesystems"},
    "leader": {"daemon", "filesystems", "wire"},
    "abi": set(),
    "gate": {"daemon", "filesystems"},
}

INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)')
SOURCES = {".h", ".cc", ".S"}


class Checker:
    def __init__(self, root):
        self.root = root
        self.offences = []

    def check_tree(self):
        for top in ("src", "include", "tests", "bench"):
            for path in sorted((self.root / top).rglob("*")):
                if path.suffix in SOURCES and "fixture" not in path.relative_to(self.root).parts:
                    self.check_file(path)

    def check_file(self, path):
        where = path.relative_to(self.root)
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            match = INCLUDE.match(line)
            if not match:
                continue
            reason = self.check_include(path, match.group(1) or match.group(2))
            if reason:
                self.offences.append(f"{where}:{number}: {line.strip()}: {reason}")

    def check_include(self, path, name):
        """The reason why the file must not include name, or None."""
        parts = path.relative_to(self.root).parts
        top, room = parts[0], parts[1] if len(parts) > 2 else ""
        target = self.target(path, name)
        if target is None:
            if top == "src" and room in FREESTANDING and not self.freestanding_header(name):
                return f"src/{room} is freestanding: only header-only pieces of the list in check_includes.py"
            return None
        target_top, target_room, target_file = target
        if top == "include":
            return None if target_top == "include" else "a public header holds nothing private"
        if target_top == "tests":
            return None if top in ("tests", "bench") else "the product must not include its tests"
        if target_top == "bench":
            return None if top == "bench" else "nobody includes the benches"
        if target_top == "include":
            return f"src/{room} is below the public headers" if top == "src" and room in FREESTANDING else None
        if target_room not in ARROWS:
            return f"src/{target_room} is no room of the house; add it to ARROWS and to docs/architecture.md"
        if top == "src":
            return self.check_arrow(room, target_room, target_file)
        if top == "tests":
            return self.check_test_arrow(room, target_room)
        return None

    def check_arrow(self, room, target_room, target_file):
        if room not in ARROWS:
            return f"src/{room} is no room of the house; add it to ARROWS and to docs/architecture.md"
        if target_room == room:
            return None
        if target_room not in ARROWS[room]:
            allowed = ", ".join(sorted(ARROWS[room])) or "nothing of ours"
            return f"no arrow {room} -> {target_room} ({room} includes {allowed})"
        return None

    def check_test_arrow(self, room, target_room):
        allowed = TESTS_ALSO.get(room, set()) | ARROWS.get(room, set()) | {room}
        if target_room in allowed:
            return None
        return f"tests/{room} tests {room}; it may include {', '.join(sorted(allowed))}"

    def target(self, path, name):
        """(top, room, file) of an include that resolves into this tree, else None: a system header."""
        candidates = [
            path.parent / name,
            self.root / "src" / name,
            self.root / "include" / name,
            self.root / "tests" / name,
            self.root / name,
        ]
        for candidate in candidates:
            candidate = candidate.resolve()
            if candidate.is_file() and candidate.is_relative_to(self.root):
                parts = candidate.relative_to(self.root).parts
                return parts[0], parts[1] if len(parts) > 2 else "", parts[-1]
        room = name.split("/")[0]
        if room in ARROWS and "/" in name:  # not written yet, or misspelt: still an arrow
            return "src", room, name.split("/")[-1]
        return None

    @staticmethod
    def freestanding_header(name):
        return name in FREESTANDING_HEADERS or name.startswith(FREESTANDING_PREFIX)


def main(arguments):
    if len(arguments) > 1:
        print(__doc__, file=sys.stderr)
        return 2
    root = Path(arguments[0] if arguments else Path(__file__).parents[2]).resolve()
    if not (root / "src").is_dir():
        print(f"check_includes.py: {root} has no src/ directory; give the root of the source tree", file=sys.stderr)
        return 2
    checker = Checker(root)
    checker.check_tree()
    for offence in checker.offences:
        print(offence)
    return 1 if checker.offences else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
