# seconds: 200
# A crate is built and run in the mount.
set -e
cargo=$(command -v cargo || echo /root/.cargo/bin/cargo); [ -x "$cargo" ]
export CARGO_HOME=$PWD/.cargo CARGO_NET_OFFLINE=true
PATH=$PATH:$(dirname "$cargo"); "$cargo" new --vcs none -q hello && cd hello && "$cargo" build -q && target/debug/hello && "$cargo" test -q > /dev/null && "$cargo" run -q
