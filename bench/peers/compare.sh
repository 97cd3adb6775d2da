#!/usr/bin/env bash
# Runs tw-bench and PyTorch on the same jobs, alternately and one process a job, and prints the ratios
# (PyTorch's time / ours, PyTorch's peak memory / ours).
#
#   bench/peers/compare.sh [--modes sample,dps,train] [--batch 1,4,16] [--precision f32] [--rounds 3] [--out FILE.json]
#
# PYTHON names a Python with PyTorch (default: python3), BIN the folder of tw-bench (default: build/release/bin).
set -euo pipefail
cd "$(dirname "$0")/../.."
modes=sample,dps,train batches=1,4,16 precision=f32 rounds=3 out=
while [ $# -gt 0 ]; do
  case "$1" in
    --modes) modes=$2 ;;
    --batch) batches=$2 ;;
    --precision) precision=$2 ;;
    --rounds) rounds=$2 ;;
    --out) out=$2 ;;
    *) echo "compare.sh: unknown option $1" >&2; exit 2 ;;
  esac
  shift 2
done
python=${PYTHON:-python3} bin=${BIN:-build/release/bin}
"$python" -c 'import torch' 2>/dev/null || { echo "compare.sh: $python has no PyTorch; set PYTHON" >&2; exit 3; }
[ -x "$bin/tw-bench" ] || { echo "compare.sh: $bin/tw-bench is missing; build it first, or set BIN" >&2; exit 3; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for mode in ${modes//,/ }; do
  for batch in ${batches//,/ }; do
    for ((round = 0; round < rounds; ++round)); do
      job=(--mode "$mode" --batch "$batch" --precision "$precision")
      "$bin/tw-bench" net --model ddpm-cifar10 "${job[@]}" --json "$work/ours-$mode-$batch-$round.json" >/dev/null
      for layout in contiguous channels_last; do  # the better one counts
        "$python" bench/peers/ddpm_unet_torch.py "${job[@]}" --layout $layout \
          --json "$work/torch-$mode-$batch-$round-$layout.json" >/dev/null
      done
      echo "$mode batch $batch: round $((round + 1)) of $rounds done" >&2
    done
  done
done

"$python" - "$work" "$out" <<'PY'
import glob, json, statistics, sys
work, out = sys.argv[1:3]
rows = {}
for path in sorted(glob.glob(work + "/*.json")):
    result = json.load(open(path))
    who = "ours" if "/ours-" in path else "torch"
    for row in result["rows"]:
        key = (row["mode"], row["batch"], row["precision"])
        cell = rows.setdefault(key, {}).setdefault(who, {})
        cell.setdefault(row.get("layout", ""), []).append((row["seconds_per_image"], row["peak_rss_bytes"]))
        cell["program"] = f'{result["program"]}, {result["threads"]} threads'
table = []
print(f"{'job':>8} {'batch':>5} {'':5} {'ours ms/img':>12} {'torch ms/img':>13} {'ratio':>6} {'ours MiB':>9} {'torch MiB':>10} {'ratio':>6}")
for (mode, batch, precision), cell in rows.items():
    best = {}
    for who in ("ours", "torch"):
        program = cell[who].pop("program")
        runs = min(cell[who].values(), key=lambda r: statistics.median(s for s, _ in r))
        best[who] = (statistics.median(s for s, _ in runs), statistics.median(m for _, m in runs), program)
    (a, ma, pa), (b, mb, pb) = best["ours"], best["torch"]
    print(f"{mode:>8} {batch:>5} {precision:5} {a*1e3:12.2f} {b*1e3:13.2f} {b/a:6.2f} {ma/2**20:9.0f} {mb/2**20:10.0f} {mb/ma:6.2f}")
    table.append({"mode": mode, "batch": batch, "precision": precision, "ours_seconds_per_image": a,
                  "torch_seconds_per_image": b, "time_ratio": b / a, "ours_peak_rss_bytes": ma,
                  "torch_peak_rss_bytes": mb, "memory_ratio": mb / ma, "ours": pa, "torch": pb})
if table:
    print(f"ours: {table[0]['ours']}; peer: {table[0]['torch']}")
if out:
    json.dump(table, open(out, "w"), indent=1)
PY
