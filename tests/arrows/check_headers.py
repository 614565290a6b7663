#!/usr/bin/env python3
"""Checks that headers compile alone: every public one, and every one of the freestanding rooms.

usage: check_headers.py COMPILER [ROOT]

The rooms src/abi, src/wire, src/kernel and src/syscall are compiled with -ffreestanding -fno-exceptions -fno-rtti, which is how
they must be usable; public headers as hosted code without src/ on the include path. Prints the compiler's first error
of each header that fails; exit status 1 if there was one.
"""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

FREESTANDING = ["-ffreestanding", "-fno-exceptions", "-fno-rtti", "-fcoroutines"]


def compile_alone(compiler, header, flags):
    command = [compiler, "-std=c++23", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", *flags, "-x", "c++", "-"]
    source = f'#include "{header}"\n#include "{header}"\n'
    run = subprocess.run(command, input=source, capture_output=True, text=True)
    return None if run.returncode == 0 else next((l for l in run.stderr.splitlines() if "error" in l), run.stderr)


def main(arguments):
    if len(arguments) not in (1, 2):
        print(__doc__, file=sys.stderr)
        return 2
    compiler = arguments[0]
    root = Path(arguments[1] if len(arguments) == 2 else Path(__file__).parents[2]).resolve()
    jobs = [(header, [f"-I{root}/include"]) for header in sorted((root / "include").rglob("*.h"))]
    for room in ("abi", "wire", "kernel", "syscall"):
        flags = [f"-I{root}/src", *FREESTANDING]
        jobs += [(header, flags) for header in sorted((root / "src" / room).rglob("*.h"))]
    with ThreadPoolExecutor(2) as pool:
        errors = list(pool.map(lambda job: compile_alone(compiler, *job), jobs))
    failed = [(header, error) for (header, _), error in zip(jobs, errors) if error]
    for header, error in failed:
        print(f"{header.relative_to(root)} does not compile alone: {error}")
    return 1 if failed or not jobs else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
