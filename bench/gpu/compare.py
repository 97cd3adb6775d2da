#!/usr/bin/env python3
"""Our steps on a GPU against PyTorch's on the same card, eager and compiled: called by scripts/gpu_check.sh.

    compare.py --bin BUILD/bin --out FOLDER/gpu [--rows KEYS] [--budget SECONDS] [--seconds 2] [--device cuda]

Writes OUT.json and OUT.md after every row; rows that OUT.json has already are kept, so a comparison that was cut short goes on
where it stopped. Contestants are measured in order, each on all rows, until the budget is spent. Each is a process of its own with a time
limit; one that fails is reported in its cell. Ends with 3 when there is no device.
"""
import argparse
import dataclasses
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent


@dataclasses.dataclass(frozen=True)
class Row:
    key: str
    network: str
    mode: str
    batch: int
    precision: str
    eager: float  # goals: PyTorch's time over ours
    compiled: float


ROWS = [
    Row("cifar-sample-1", "ddpm-cifar10", "sample", 1, "bf16", 8, 2),
    Row("cifar-sample-64", "ddpm-cifar10", "sample", 64, "bf16", 2, 1.2),
    Row("cifar-sample-256", "ddpm-cifar10", "sample", 256, "bf16", 2, 1.2),
    Row("cifar-dps-1", "ddpm-cifar10", "dps", 1, "f32", 8, 2),
    Row("cifar-train-128", "ddpm-cifar10", "train", 128, "bf16", 2, 1.2),
    Row("ffhq-sample-1", "adm-ffhq-256", "sample", 1, "bf16", 3, 1.3),
    Row("ffhq-sample-16", "adm-ffhq-256", "sample", 16, "bf16", 1.5, 1.15),
    Row("ffhq-dps-1", "adm-ffhq-256", "dps", 1, "f32", 4, 1.5),
    Row("unet.cu-train-32", "unet-64", "train", 32, "f32", 1, 1),
]
MEMORY_GOAL = 0.6  # ours over PyTorch's
WAYS = {"ours": "repeat", "ours one by one": "one-by-one", "ours by op": "profile"}
CONTESTANTS = ("ours", "eager", "ours by op", "compile", "ours one by one")  # in this order, each on all rows
OPS_SHOWN = 12


def command(who, row, options):
    shared = [row.network, row.mode, str(row.batch), row.precision, options.device, str(options.seconds)]
    if who in WAYS:
        return [f"{options.bin}/tw_bench_gpu", "steps", *shared, WAYS[who]]
    return [sys.executable, str(HERE / "torch_steps.py"), *shared, who]


def run(arguments, limit):
    """The last line of what the process writes, as JSON, or {"failed": why}."""
    try:
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return {"failed": f"took longer than {limit:.0f} s"}
    except OSError as error:
        return {"failed": str(error)}
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def milliseconds(found):
    return statistics.median(found["seconds"]) * 1e3 if found and "seconds" in found else None


def cell(found):
    if not found:
        return "not run"
    return f"{milliseconds(found):.3f}" if "seconds" in found else "failed"


def ratio(ours, theirs, goal=None, better_below=False):
    if not ours or not theirs:
        return "-"
    value = ours / theirs if better_below else theirs / ours
    good = goal is None or (value <= goal if better_below else value >= goal)
    text = f"{value:.2f}"
    return text if goal is None else f"{text} ({'goal' if good else 'short of'} {goal:g})"


def mebibytes(found):
    return found["peak_bytes"] / 2**20 if found and "peak_bytes" in found else None


def percent(amount, seconds_ms, rate):
    return f"{100 * amount / (seconds_ms * 1e-3) / rate:.0f} %" if amount and seconds_ms and rate else "-"


def by_op(key, found):
    """The longest ops of a step of ours and what the measured rates allow them, as a table."""
    ops = found["ops"]
    whole = sum(op["seconds"] for op in ops)
    lines = ["", f"## {key}: {whole * 1e3:.3f} ms in ops, of a step without a graph", "",
             "| op | shapes | calls | us a call | % of time | TFLOP/s | GB/s | % of roofline |", "|---|---|" + "---:|" * 6]
    for op in ops[:OPS_SHOWN]:
        seconds = max(op["seconds"], 1e-12)
        name = f"{op['op']} [{op['method']}]" if op["method"] else op["op"]
        lines.append(f"| {name} | {op['shapes']} | {op['calls']:.0f} | {seconds / op['calls'] * 1e6:.1f} | "
                     f"{100 * seconds / max(whole, 1e-12):.1f} | {op['flops'] / seconds * 1e-12:.2f} | "
                     f"{op['bytes'] / seconds * 1e-9:.0f} | {100 * op['roofline_seconds'] / seconds:.0f} |")
    if len(ops) > OPS_SHOWN:
        rest = ops[OPS_SHOWN:]
        lines.append(f"| {len(rest)} others | | {sum(op['calls'] for op in rest):.0f} | | "
                     f"{100 * sum(op['seconds'] for op in rest) / max(whole, 1e-12):.1f} | | | |")
    return lines


def report(table):
    machine = table.get("machine", {})
    lines = [f"# Steps on {table.get('device', 'a device')}", "",
             f"{table['date']}, {table.get('program', 'PyTorch: not run')}. Medians; a step's milliseconds. Rates that were "
             "measured: bf16 products " + f"{machine.get('bf16_flops', 0) / 1e12:.0f} TFLOP/s, f32 "
             f"{machine.get('f32_flops', 0) / 1e12:.1f}, copies {machine.get('copy_bytes', 0) / 1e9:.0f} GB/s. "
             "Bytes are what each op must move at the least.", "",
             "| step | ours | one by one | eager | compiled | eager / ours | compiled / ours | of product rate | of copy rate "
             "| nodes | MiB ours | MiB eager | memory |", "|---|" + "---:|" * 12]
    notes = []
    for row in ROWS:
        found = table["rows"].get(row.key)
        if not found:
            lines.append(f"| {row.key} {row.precision} |" + " not run |" * 4 + " - |" * 8)
            continue
        ours, eager, compiled = (found.get(who) for who in ("ours", "eager", "compile"))
        ms = milliseconds(ours)
        of = lambda name: (ours or {}).get(name, 0)
        lines.append(
            f"| {row.key} {row.precision} | {cell(ours)} | {cell(found.get('ours one by one'))} | {cell(eager)} | "
            f"{cell(compiled)} | {ratio(ms, milliseconds(eager), row.eager)} | "
            f"{ratio(ms, milliseconds(compiled), row.compiled)} | "
            f"{percent(of('flops'), ms, machine.get(row.precision + '_flops'))} | "
            f"{percent(of('bytes'), ms, machine.get('copy_bytes'))} | {of('graph_nodes') or '-'} | "
            f"{mebibytes(ours) or 0:.0f} | {mebibytes(eager) or 0:.0f} | "
            f"{ratio(mebibytes(ours), mebibytes(eager), MEMORY_GOAL, True)} |")
        notes += [f"- {row.key}, {who}: {what['failed']}" for who, what in found.items() if "failed" in what]
    lines += [""] + notes if notes else []
    for row in ROWS:
        found = table["rows"].get(row.key, {}).get("ours by op", {})
        if "ops" in found:
            lines += by_op(row.key, found)
    return "\n".join(lines) + "\n"


def write(table, out):
    pathlib.Path(out).parent.mkdir(parents=True, exist_ok=True)
    pathlib.Path(out + ".json").write_text(json.dumps(table, indent=1) + "\n")
    pathlib.Path(out + ".md").write_text(report(table))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default="build/cuda/bin")
    parser.add_argument("--out", default="bench/results/gpu")
    parser.add_argument("--rows", default="", help="keys or their beginnings, separated by commas")
    parser.add_argument("--budget", type=float, default=1e9, help="seconds for everything")
    parser.add_argument("--limit", type=float, default=180, help="seconds for one contestant of one row")
    parser.add_argument("--seconds", type=float, default=2, help="of timed steps")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="cpu only tries the scripts out")
    parser.add_argument("--contestants", default=",".join(CONTESTANTS))
    options = parser.parse_args()
    starts = options.rows.split(",")
    rows = [row for row in ROWS if any(row.key.startswith(start) for start in starts)]
    if not rows:
        parser.error(f"no row begins with {options.rows}; there are {', '.join(row.key for row in ROWS)}")
    begin = time.monotonic()
    left = lambda: options.budget - (time.monotonic() - begin)

    machine = run([f"{options.bin}/tw_bench_gpu", "machine", options.device], 60)
    if "failed" in machine:
        print(f"compare: {machine['failed']}", file=sys.stderr)
        sys.exit(3 if "CUDA" in machine["failed"] else 1)
    table = {"rows": {}}
    if os.path.exists(options.out + ".json"):
        table = json.loads(pathlib.Path(options.out + ".json").read_text())
    table |= {"machine": machine, "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())}
    failed = False
    for who in options.contestants.split(","):
        for row in rows:
            found = table["rows"].setdefault(row.key, {})
            if "seconds" in found.get(who, {}):
                continue
            if left() < 10:
                break
            found[who] = run(command(who, row, options), min(options.limit, left()))
            failed = failed or "failed" in found[who]
            for name in ("device", "program"):
                if name in found[who]:
                    table[name] = found[who][name]
            print(f"{row.key}, {who}: {cell(found[who])} ms {found[who].get('failed', '')}", flush=True)
            write(table, options.out)
    write(table, options.out)
    print(f"written: {options.out}.md, {options.out}.json")
    sys.exit(failed)


if __name__ == "__main__":
    main()
