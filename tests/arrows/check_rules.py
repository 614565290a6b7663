#!/usr/bin/env python3
"""Checks that docs/rules.md and the tree agree: a rule (K and three digits) that is cited is in the table, and a test
that the table names is there and cites the rule. usage: check_rules.py ROOT"""

import re
import sys
from pathlib import Path

RULE = re.compile(r"\bK(\d{3}a?)\b")


def main():
    root = Path(sys.argv[1])
    table = {}
    for line in (root / "docs/rules.md").read_text().splitlines():
        if line.startswith("| K"):
            cells = re.split(r"(?<!\\)\|", line)
            table[cells[1].strip()[1:]] = re.findall(r"`([^`]+)`", cells[4])
    offences = []
    for room in ("src", "tests"):
        for path in sorted((root / room).rglob("*")):
            if path.suffix not in (".h", ".cc", ".S"):
                continue
            for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
                for rule in RULE.findall(line):
                    if rule not in table:
                        offences.append(f"{path.relative_to(root)}:{number}: K{rule} is not in docs/rules.md")
    for rule, tests in table.items():
        for test in tests:
            path = root / "tests" / test
            if not path.is_file() or rule not in RULE.findall(path.read_text(errors="replace")):
                offences.append(f"docs/rules.md: K{rule}: tests/{test} is not there or does not cite it")
    print("\n".join(offences) or f"{len(table)} rules")
    return 1 if offences or not table else 0


if __name__ == "__main__":
    sys.exit(main())
