#!/bin/sh
# The system calls of this machine's headers, as {number, "name"}, lines: call_names.sh COMPILER
"$1" -E -dM -include asm/unistd_64.h -x c++ /dev/null |
  sed -nE 's/^#define __NR_([a-z0-9_]+) ([0-9]+)$/{\2, "\1"},/p'
