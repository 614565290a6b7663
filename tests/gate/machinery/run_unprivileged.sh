#!/bin/sh
# run_unprivileged.sh GATE PROGRAM ARG...: as nobody, without any capability, from a place that nobody can read.
set -e
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
chmod 755 "$place"
cp "$1" "$2" "$place"
gate=$place/$(basename "$1") program=$place/$(basename "$2")
shift 2
cd /
if [ "$(id -u)" = 0 ]; then
  setpriv --reuid 65534 --regid 65534 --clear-groups --bounding-set -all --inh-caps -all \
    "$gate" --namespace "$place" "$program" "$program" "$@"
else
  "$gate" --namespace "$place" "$program" "$program" "$@"
fi
