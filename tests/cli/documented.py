#!/usr/bin/env python3
"""Checks that manual pages and completions say what the program's --help says: every subcommand and every option, no
other ones. usage: documented.py PROGRAM SOURCE"""

import re
import subprocess
import sys
from pathlib import Path


def help_of(program, *words):
    return subprocess.run([program, *words, "--help"], capture_output=True, text=True, check=True).stdout


def options_in(text):
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text))


def main():
    program, source = sys.argv[1], Path(sys.argv[2])
    listing = help_of(program).split("Subcommands:")[1]
    commands = re.findall(r"^  (\w+)", listing, re.M)
    completions = {p.name: p.read_text() for p in (source / "completions").iterdir()}
    offences = []
    known = options_in(help_of(program))
    for command in commands:
        page = source / "docs/man" / f"fusewire-{command}.1"
        if not page.exists():
            offences.append(f"{command}: no manual page {page.name}")
            continue
        words = [command, "memfs"] if command == "fs" else [command]
        offered = options_in(help_of(program, *words))
        known |= offered
        text = page.read_text().replace("\\-", "-").replace("\\fR", "").replace("\\fB", "")
        described = options_in(" ".join(l for l in text.splitlines() if l.startswith((".B", ".BR", ".BI"))))
        offences += [f"{page.name}: does not describe {o}" for o in sorted(offered - described)]
        offences += [f"{page.name}: {o} is no option of {command}" for o in sorted(described - known)]
        for name, completion in completions.items():
            if not re.search(rf"\b{command}\b", completion):
                offences.append(f"completions/{name}: does not know {command}")
    for name, completion in completions.items():
        offers = options_in(completion)
        if name.endswith(".fish"):
            offers = {f"--{o}" for o in re.findall(r"^complete .* -l ([a-z-]+)", completion, re.M)}
        offences += [f"completions/{name}: does not offer {o}" for o in sorted(known - offers)]
        offences += [f"completions/{name}: offers {o}, which is none" for o in sorted(offers - known)]
    print("\n".join(offences) or "documented")
    return 1 if offences or not commands else 0


if __name__ == "__main__":
    sys.exit(main())
