#!/bin/sh
# run_gated.sh GATE NAMESPACE PROGRAM ARG...: the program under the gate, its first argument its own path.
gate=$1 namespace=$2
shift 2
exec "$gate" --namespace "$namespace" "$1" "$@"
