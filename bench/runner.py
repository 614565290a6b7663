#!/usr/bin/env python3
"""Reads shell commands from standard input, a line each, and runs them. For each writes a line:
status, seconds, CPU seconds of the command with its children. The first line it writes says that it is there."""

import os
import sys
import time


def run(command):
    begin = time.perf_counter()
    child = os.posix_spawn("/bin/sh", ["sh", "-c", command], os.environ,
                           file_actions=[(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                                         (os.POSIX_SPAWN_DUP2, 2, 1)])
    _, status, usage = os.wait4(child, 0)
    return os.waitstatus_to_exitcode(status), time.perf_counter() - begin, usage.ru_utime + usage.ru_stime


print("ready", flush=True)
for line in sys.stdin:
    print(*run(line.rstrip("\n")), flush=True)
