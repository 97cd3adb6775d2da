#!/usr/bin/env bash
# demo.sh [output folder]: sets up, builds, and runs the main job on the embedded default: samples from the shipped model,
# restores a degraded real image with it, trains it a little further, and writes one self-contained report.html.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-out/demo}

scripts/build.sh release tw-demo
build/release/bin/tw-demo --model models/emoji-32 --out "$out"
