# packages: linux-perf
# perf stat counts.
set -e
perf stat -x, -e task-clock true 2>&1 | grep -c task-clock
