#!/usr/bin/env bash
# build.sh [preset] [targets...]: sets up, configures and builds a CMake preset (release unless named).
set -euo pipefail
cd "$(dirname "$0")/.."
preset=${1:-release}
shift || true

scripts/setup.sh
cmake --preset "$preset" >/dev/null || { echo "build: cmake --preset $preset failed; run it by hand to see why" >&2; exit 1; }
if [ $# -gt 0 ]; then
  cmake --build --preset "$preset" --target "$@"
else
  cmake --build --preset "$preset"
fi
