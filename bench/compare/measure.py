#!/usr/bin/env python3
"""Measures one row: starts its contestants, lets them run in turn for some rounds, writes what they report.

    measure.py --row KEY --settings FILE.json --out FILE.json

While one runs the others are stopped (SIGSTOP), so that no thread of theirs waits actively. The file is written again
after every round.
"""
import argparse
import ctypes
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import rows
from errors import relative_errors


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def busy_seconds():
    """Of all processors since the start, stolen time included."""
    user, nice, system, _, _, irq, softirq, steal = map(int, open("/proc/stat").readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


class Contestant:
    def __init__(self, name, arguments, environment):
        self.name, self.rounds, self.report, self.failure = name, [], {}, None
        self.foreign = []  # of each round: the share of the processors' time that other programs took
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
                                        env=environment, preexec_fn=die_with_parent)

    def read(self):
        while True:
            line = self.process.stdout.readline()
            if not line:
                self.fail()
                return {}
            if line.startswith(b"{"):
                return json.loads(line)

    def fail(self):
        self.errors.seek(0)
        text = self.errors.read().decode(errors="replace").strip().splitlines()
        self.failure = (text or ["ended without a word"])[-1][:300]

    def wait_until_ready(self):
        self.report.update(self.read())
        self.report.pop("ready", None)
        self.pause()

    def pause(self):
        if not self.failure:
            self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def processor_seconds(self):
        fields = open(f"/proc/{self.process.pid}/stat").read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def turn(self, seconds):
        """(durations of the steps, share of other programs)"""
        begin, busy, own = time.perf_counter(), busy_seconds(), self.processor_seconds()
        self.resume()
        self.process.stdin.write(f"run {seconds}\n".encode())
        self.process.stdin.flush()
        steps = self.read().get("seconds", [])
        if self.failure:
            return steps, 1.0
        others = busy_seconds() - busy - (self.processor_seconds() - own)
        share = others / ((time.perf_counter() - begin) * os.cpu_count())
        self.pause()
        return steps, max(0.0, share)

    def run(self, seconds):
        best = ([], 2.0)
        for _ in range(3):
            best = min(best, self.turn(seconds), key=lambda turn: turn[1])
            if best[1] <= 0.05 or self.failure:
                break
        self.rounds.append(best[0])
        self.foreign.append(round(best[1], 3))

    def finish(self):
        self.resume()
        self.process.stdin.close()
        for line in self.process.stdout:
            if line.startswith(b"{"):
                self.report.update(json.loads(line))
        self.process.wait()


def summary(contestant, batch, path):
    medians = [statistics.median(times) for times in contestant.rounds if times]
    result = {**contestant.report, "foreign": contestant.foreign, "rounds": [[round(s, 6) for s in times] for times in contestant.rounds]}
    if medians:
        result["seconds_per_image"] = statistics.median(medians) / batch
        result["round_seconds_per_image"] = [m / batch for m in medians]
    if contestant.failure:
        result["failure"] = contestant.failure
    if contestant.name == "ours" and os.path.exists(path + ".json"):
        whole = json.load(open(path + ".json"))
        result.update({k: v for k, v in whole["rows"][0].items() if k not in ("seconds", "mode", "batch")})
        result.update(program=whole["program"], threads=whole["threads"], build=whole["build"])
        result["seconds_per_image"] = statistics.median(medians) / batch
    return result


def measure(row, settings, save):
    environment = {**os.environ, **settings["environment"]}
    folder = tempfile.mkdtemp()
    path = lambda name: f"{folder}/{name.replace(' ', '-')}"
    names = ["ours"] + [p for p in row.peers if p not in settings["absent"]]
    contestants = [Contestant(n, rows.command(n, row, settings, path(n)), environment) for n in names[:2]]
    for i, name in enumerate(names):  # two start at a time
        contestants[i].wait_until_ready()
        if i + 2 < len(names):
            following = names[i + 2]
            contestants.append(Contestant(following, rows.command(following, row, settings, path(following)),
                                          environment))
    results = lambda: {c.name: summary(c, row.batch, path(c.name)) for c in contestants}
    for turn in range(settings["rounds"]):
        for contestant in contestants[turn % 2 :: 2] + contestants[1 - turn % 2 :: 2]:
            if not contestant.failure:
                contestant.run(row.seconds)
        save(results())
    for contestant in contestants:
        if not contestant.failure:
            contestant.finish()
    if "ours" in names:
        subprocess.run(rows.check_command(row, settings, path("ours")), env=environment, check=False)
    found = results()
    for name in names:
        found[name]["error"] = relative_errors(f"{settings['work']}/{row.network}/reference.safetensors",
                                               path(name) + ".safetensors", row.mode)
    save(found)


def measure_start(row, settings, save):
    """Whole processes, one after another."""
    environment = {**os.environ, **settings["environment"]}
    folder = tempfile.mkdtemp()
    names = ["ours"] + [p for p in row.peers if p not in settings["absent"]]
    found = {name: {"rounds": [], "peak_rss_bytes": 0} for name in names}
    for turn in range(settings["rounds"] + 1):  # the first one fills the disk cache and does not count
        for name in names:
            out = f"{folder}/{name.replace(' ', '-')}"
            begin = time.perf_counter()
            process = subprocess.Popen(rows.start_command(name, row, settings, out), env=environment,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, preexec_fn=die_with_parent)
            text = process.stderr.read().decode(errors="replace")
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = status
            if status:
                found[name]["failure"] = (text.strip().splitlines() or [f"status {status}"])[-1][:300]
            elif turn:
                found[name]["rounds"].append(time.perf_counter() - begin)
                found[name]["peak_rss_bytes"] = usage.ru_maxrss * 1024
                found[name]["seconds_per_image"] = statistics.median(found[name]["rounds"])
                found[name]["round_seconds_per_image"] = found[name]["rounds"]
        save(found)


def measure_convolutions(batch, settings, save):
    folder = tempfile.mkdtemp()
    listed = json.load(open(f"{settings['work']}/ddpm-cifar10/convs.json"))
    pathlib.Path(f"{folder}/list.json").write_text(json.dumps([{**row, "n": batch} for row in listed]))
    common = ["--list", f"{folder}/list.json", "--threads", str(settings["threads"])]
    environment = {**os.environ, **settings["environment"]}
    ours = Contestant("ours", [f"{settings['bin']}/tw-bench", "convs", "--interactive", "--json",
                               f"{folder}/ours.json"] + common, environment)
    peer = Contestant("torch", [settings["python"], "bench/peers/conv_peer.py", "--batch", str(batch), "--json",
                                f"{folder}/torch.json"] + common, environment)
    for contestant in (ours, peer):
        contestant.wait_until_ready()
    for _ in range(settings["rounds"]):
        for contestant in (ours, peer):
            if not contestant.failure:
                contestant.run(0.001)  # a sweep
    for contestant in (ours, peer):
        if not contestant.failure:
            contestant.finish()
    failures = {c.name: c.failure for c in (ours, peer) if c.failure}
    tables = {name: json.load(open(f"{folder}/{name}.json"))["convolutions"] for name in ("ours", "torch")
              if name not in failures}
    save({**tables, "counts": [row["count"] for row in listed], "failures": failures})


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--row", required=True)
    parser.add_argument("--settings", required=True)
    parser.add_argument("--out", required=True)
    options = parser.parse_args()
    settings = json.load(open(options.settings))

    def save(found):
        text = json.dumps({"contestants": found, "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())})
        pathlib.Path(options.out + ".new").write_text(text)
        os.replace(options.out + ".new", options.out)

    if options.row in rows.CONVOLUTIONS:
        measure_convolutions(rows.CONVOLUTIONS[options.row], settings, save)
        return
    row = next(row for row in rows.ROWS if row.key == options.row)
    (measure_start if row.mode == "start" else measure)(row, settings, save)


if __name__ == "__main__":
    sys.exit(main())
