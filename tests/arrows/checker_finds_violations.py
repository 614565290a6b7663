#!/usr/bin/env python3
"""Proves that check_includes.py finds each planted violation of fixture/, at its line, and nothing else.

A line of the fixture that must be found ends with the comment "// offends".
"""

import subprocess
import sys
from pathlib import Path

here = Path(__file__).parent
fixture = here / "fixture"
planted = set()
for path in fixture.rglob("*"):
    if path.suffix in (".h", ".cc"):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if line.endswith("// offends"):
                planted.add(f"{path.relative_to(fixture)}:{number}")

run = subprocess.run([sys.executable, here / "check_includes.py", fixture], capture_output=True, text=True)
found = {":".join(line.split(":")[:2]) for line in run.stdout.splitlines()}
for missed in sorted(planted - found):
    print(f"planted, not found: {missed}")
for wrong in sorted(found - planted):
    print(f"found, but allowed: {wrong}")
if not planted:
    print("the fixture plants nothing")
if run.returncode != 1:
    print(f"check_includes.py ended with status {run.returncode}, wanted 1: {run.stderr}")
sys.exit(0 if planted and planted == found and run.returncode == 1 else 1)
