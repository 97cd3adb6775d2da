#!/usr/bin/env bash
# Time and memory of the DDPM CIFAR-10 U-Net against batch (1..64), resolution (32..256) and threads, one process a
# point: bench/results/scale.json, and its curves as docs/pictures/scale-*.png.
#
#   bench/scale.sh [--plot-only]
#
# BIN         the folder of tw-bench; default build/release/bin
# RUN_PREFIX  stands before each measured process, as in bench/compare.sh
set -euo pipefail
cd "$(dirname "$0")/.."
bin=${BIN:-build/release/bin}
rows=bench/results/scale.json
all=$(nproc)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

point() {  # mode batch resolution threads
  ${RUN_PREFIX:-} "$bin/tw-bench" net --mode "$1" --batch "$2" --resolution "$3" --threads "$4" --repeat 2 \
    --json "$work/$1-$2-$3-$4.json" >/dev/null
  echo "$1, batch $2, $3 x $3, $4 threads" >&2
}
if [ "${1:-}" != --plot-only ]; then
  for mode in sample dps train; do
    for batch in 1 4 16 64; do point $mode $batch 32 "$all"; done
    for resolution in 64 128 256; do point $mode 1 $resolution "$all"; done
  done
  for batch in 1 4 16 64; do point sample $batch 32 1; done
  for resolution in 64 128 256; do point sample 1 $resolution 1; done
  mkdir -p bench/results
  sep='['
  for file in "$work"/*.json; do  # the rows of all files in one array
    printf '%s' "$sep"
    python3 -c 'import json, sys; print(json.dumps(json.load(open(sys.argv[1]))["rows"][0]), end="")' "$file"
    sep=$',\n'
  done >"$rows"
  echo ']' >>"$rows"
fi
"$bin/tw-bench" plot --list "$rows" --outputs docs/pictures
