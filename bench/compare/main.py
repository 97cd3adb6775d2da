#!/usr/bin/env python3
"""Runs ours and the peers row by row and writes the tables. Called by bench/compare.sh, which documents the options."""
import argparse
import json
import os
import pathlib
import shlex
import subprocess
import sys
import tempfile
import time

import report
import rows

MODULES = {"torch": "torch", "onnxruntime": "onnxruntime", "openvino": "openvino", "ncnn": "ncnn"}


def say(text):
    print(text, file=sys.stderr, flush=True)


def versions_of(python):
    """Of the peers that this Python has, by asking it and not by importing them here."""
    found = {}
    for module in MODULES.values():
        code = f"import importlib.metadata as m, importlib.util as u; print(m.version('{module}') if u.find_spec('{module}') else '')"
        text = subprocess.run([python, "-c", code], capture_output=True, text=True).stdout.strip()
        if text:
            found[module] = text
    return found


def processor():
    for line in open("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown"


def machine(settings):
    text = subprocess.run([f"{settings['bin']}/tw-bench", "machine", "--threads", str(settings["threads"])],
                          capture_output=True, text=True, check=True).stdout
    flags = next((line for line in open("/proc/cpuinfo") if line.startswith("flags")), "").split()
    return {"cpu": processor(), "kernel": os.uname().release, **json.loads(text),
            "extensions": [f for f in ("avx2", "avx512f", "avx512_bf16", "avx512_fp16", "amx_bf16") if f in flags]}


def prepare(settings, wanted):
    """Weights, inputs, oracle, the engines' formats, and compiled code: once, kept in the work folder."""
    for network in dict.fromkeys(row.network for row in wanted):
        of_network = [row for row in wanted if row.network == network]
        engines = sorted({peer.split()[0] for row in of_network for peer in row.peers
                          if peer.split()[0] in rows.ENGINES and peer not in settings["absent"]})
        batches = ",".join(str(b) for b in sorted({row.batch for row in of_network}))
        say(f"preparing {network}")
        subprocess.run([settings["python"], "bench/peers/prepare.py", "--out", f"{settings['work']}/{network}",
                        "--network", network, "--batches", batches, "--engines", ",".join(engines)], check=True,
                       stdout=subprocess.DEVNULL)
    environment = {**os.environ, **settings["environment"]}
    for row in wanted:
        for peer in row.peers:
            if "compiled" not in peer or peer in settings["absent"]:
                continue
            mark = pathlib.Path(f"{settings['work']}/compiled-{row.key}-{peer.replace(' ', '-')}")
            if mark.exists():
                continue
            say(f"compiling {peer} for {row.key}")
            with tempfile.TemporaryDirectory() as folder:
                if subprocess.run(rows.command(peer, row, settings, folder + "/out"), stdin=subprocess.DEVNULL,
                                  env=environment, stdout=subprocess.DEVNULL).returncode == 0:
                    mark.write_text("")


def measure(key, settings, settings_file):
    with tempfile.TemporaryDirectory() as folder:
        out = f"{folder}/row.json"
        arguments = shlex.split(settings["prefix"]) + [
            sys.executable, "bench/compare/measure.py", "--row", key, "--settings", settings_file, "--out", out]
        status = subprocess.run(arguments).returncode
        found = json.load(open(out)) if os.path.exists(out) else {"contestants": {}}
        if status:
            found["incomplete"] = f"the measuring process ended with {status}"
        return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", default="", help="keys or their beginnings, e.g. sample,dps-f32-1,convs")
    parser.add_argument("--without", default="", help="peers to leave out, e.g. ncnn,torch compiled")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", default=time.strftime("bench/results/cpu-%Y-%m-%d", time.gmtime()))
    parser.add_argument("--continue", dest="go_on", action="store_true")
    parser.add_argument("--prepare", action="store_true")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    keys = [row.key for row in rows.ROWS] + list(rows.CONVOLUTIONS)
    if options.rows:
        starts = options.rows.split(",")
        matches = lambda start: [start] if start in keys else [key for key in keys if key.startswith(start)]
        unknown = [s for s in starts if not matches(s)]
        if unknown:
            parser.error(f"no row begins with {', '.join(unknown)}; there are {', '.join(keys)}")
        keys = [key for key in keys if any(key in matches(s) for s in starts)]
    if options.list:
        print("\n".join(keys))
        return
    python = sys.executable
    work = os.environ.get("WORK", "build/compare")
    pathlib.Path(work).mkdir(parents=True, exist_ok=True)
    found = versions_of(python)
    every_peer = {peer for row in rows.ROWS for peer in row.peers}
    left_out = [w for w in options.without.split(",") if w]
    absent = {peer: f"{peer.split()[0]} is not installed" for peer in every_peer if peer.split()[0] not in found}
    absent |= {peer: "left out by --without" for peer in every_peer if any(peer.startswith(w) for w in left_out)}
    settings = {"python": python, "bin": os.environ.get("BIN", "build/release/bin"), "work": work,
                "threads": options.threads, "rounds": options.rounds, "absent": absent,
                "prefix": os.environ.get("RUN_PREFIX", ""),
                "environment": {"TORCHINDUCTOR_CACHE_DIR": str(pathlib.Path(work).resolve() / "inductor"),
                                "TW_THREADS": str(options.threads)}}
    for peer, why in sorted(absent.items()):
        say(f"skipped: {peer} ({why})")
    prepare(settings, [row for row in rows.ROWS if row.key in keys] or [rows.ROWS[0]])
    if options.prepare:
        return
    settings_file = f"{work}/settings.json"
    pathlib.Path(settings_file).write_text(json.dumps(settings))

    table = {"rows": {}}
    if options.go_on and os.path.exists(options.out + ".json"):
        table = json.load(open(options.out + ".json"))
    table.update(machine=machine(settings), threads=options.threads, rounds=options.rounds, versions=found,
                 absent=absent, date=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()))
    pathlib.Path(options.out).parent.mkdir(parents=True, exist_ok=True)
    for number, key in enumerate(keys):
        begin = time.monotonic()
        table["rows"][key] = measure(key, settings, settings_file)
        report.judge(key, table)
        report.write(table, options.out)
        say(f"{number + 1}/{len(keys)} {report.line(key, table)}  ({time.monotonic() - begin:.0f} s)")
    say(f"written: {options.out}.md, {options.out}.json")


if __name__ == "__main__":
    main()
