#!/usr/bin/env bash
# test.sh [preset] [ctest options...]: sets up, builds and runs the whole test suite through CTest (release unless named).
# Long tests have the label `long` and are left out; add them with: scripts/test.sh release -L long
set -euo pipefail
cd "$(dirname "$0")/.."
preset=${1:-release}
shift || true

scripts/build.sh "$preset"
[ $# -gt 0 ] || set -- -LE long
ctest --preset "$preset" -j "$(nproc)" --no-tests=error "$@"
