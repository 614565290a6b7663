# packages: parallel
# Two hundred jobs, eight at a time.
set -e
export PARALLEL_HOME=$PWD/.p; mkdir .p; touch .p/will-cite
seq 200 | parallel -j8 'echo {} > f{}; cat f{}' | sort -n | tail -1; ls f* | wc -l
