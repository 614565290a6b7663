# quick
# tail -f sees what is appended.
set -e
echo one > f; tail -n +1 -f f > log & p=$!
echo two >> f; for _ in $(seq 200); do grep -q two log && break; sleep 0.05; done; kill $p; cat log
