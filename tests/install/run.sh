#!/usr/bin/env bash
# run.sh <build dir>: installs the build into a temporary prefix, builds the program beside this script against it, runs it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cmake --install "$build" --prefix "$work/prefix" >/dev/null
cmake -S "$here" -B "$work/build" -DCMAKE_PREFIX_PATH="$work/prefix" -DCMAKE_BUILD_TYPE=Release >/dev/null
cmake --build "$work/build" >/dev/null
"$work/build/uses_tweedie" | tee "$work/output"
grep -qx "silu(1) = 0.73106, silu'(1) = 0.92767" "$work/output"
