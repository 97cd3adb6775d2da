#!/usr/bin/env bash
# Builds, runs ours and the peers in turn, and writes bench/results/cpu-<date>.md and .json.
#
#   bench/compare.sh [--rows sample,dps-f32-1,convs] [--rounds 3] [--threads N] [--without ncnn] [--out PATH]
#                    [--continue] [--prepare] [--list]
#
# --rows takes keys of rows or their beginnings (--list shows them; default: all), --without leaves out peers by the
# beginning of their names, --continue keeps the rows that the files have already, --prepare does no more than fill WORK, which
# takes some minutes the first time. What is missing is skipped and said. The tables are written again after every row.
# A turn in which other programs took more than 5 % of the processors' time is repeated, twice at most.
#
# PYTHON      a Python with the peers (bench/peers/README.md); default python3
# BIN         the folder of the binaries; default build/release/bin, which is built first
# WORK        where weights, exported networks and compiled code are kept; default build/compare
# RUN_PREFIX  stands before the process that measures a row and starts its contestants, e.g. "taskset -c 0-3" or
#             "nice -n -5", or a lock that keeps other programs away
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -z "${BIN:-}" ]; then
  [ -f build/release/build.ninja ] || cmake --preset release >&2
  cmake --build build/release --target tw-bench tw-sample >&2
fi
python=${PYTHON:-python3}
"$python" -c 'import torch, numpy, safetensors' 2>/dev/null ||
  { echo "compare.sh: $python has no torch, numpy and safetensors; set PYTHON (bench/peers/README.md)" >&2; exit 3; }
exec "$python" bench/compare/main.py "$@"
