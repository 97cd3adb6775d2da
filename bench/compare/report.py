"""Verdicts and tables: what bench/results/*.md and *.json say."""
import json
import pathlib

import rows

MIB = 2**20


def row_of(key):
    return next(row for row in rows.ROWS if row.key == key)


def best(contestants, names):
    """The fastest of some contestants that were measured: (name, result), or None."""
    there = [(n, contestants[n]) for n in names if contestants.get(n, {}).get("seconds_per_image")]
    return min(there, key=lambda item: item[1]["seconds_per_image"], default=None)


def judge(key, table):
    """Adds "verdicts" to a row: ratio, gate, goal, and who was the peer."""
    if key in rows.CONVOLUTIONS:
        return
    found, row, verdicts = table["rows"][key], row_of(key), []
    contestants = found["contestants"]
    ours = contestants.get("ours", {})
    for verdict in row.verdicts:
        entry = {"against": verdict.what, "gate": verdict.gate, "goal": verdict.goal, "of": verdict.of}
        peer = best(contestants, verdict.against)
        if peer is None or not ours.get("seconds_per_image"):
            entry["verdict"] = "not measured"
        elif verdict.of == "time":
            ratios = [p / o for p, o in zip(peer[1]["round_seconds_per_image"], ours["round_seconds_per_image"])]
            ratio = peer[1]["seconds_per_image"] / ours["seconds_per_image"]
            entry.update(peer=peer[0], ratio=ratio, least=min(ratios), most=max(ratios),
                         verdict="goal" if ratio >= verdict.goal else "gate" if ratio >= verdict.gate else "below")
        else:
            least = min((contestants[n] for n in verdict.against if contestants.get(n, {}).get("peak_rss_bytes")),
                        key=lambda c: c["peak_rss_bytes"])
            ratio = ours["peak_rss_bytes"] / least["peak_rss_bytes"]
            name = next(n for n in verdict.against if contestants.get(n) is least)
            entry.update(peer=name, ratio=ratio,
                         verdict="goal" if ratio <= verdict.goal else "gate" if ratio <= verdict.gate else "below")
        verdicts.append(entry)
    found["verdicts"] = verdicts


def line(key, table):
    found = table["rows"][key]
    if key in rows.CONVOLUTIONS:
        return key
    ours = found["contestants"].get("ours", {})
    parts = [f"{v['against']} {v['ratio']:.2f} ({v['verdict']})" if "ratio" in v else f"{v['against']} not measured"
             for v in found["verdicts"]]
    return f"{key}: {ours.get('seconds_per_image', 0) * 1e3:.1f} ms/image; " + "; ".join(parts)


def number(value, form):
    return format(value, form) if value is not None else ""


def above(result):
    """MiB above the program as it stands after loading its libraries, and above one copy of the weights."""
    if not result.get("program_bytes") or not result.get("weight_bytes"):
        return None
    return (result["peak_rss_bytes"] - result["program_bytes"] - result["weight_bytes"]) / MIB


def others(result):
    """The largest share of the processors' time that other programs took in a round, in per cent."""
    return f"{100 * max(result['foreign']):.0f}" if result.get("foreign") else ""


def worst(result):
    errors = result.get("error") or {}
    return max(errors.values(), default=None)


def verdict_table(table):
    lines = ["| work | against | ours | peer | ratio | rounds | gate | goal | verdict |", "|---|---|---|---|---|---|---|---|---|"]
    for key, found in table["rows"].items():
        if key in rows.CONVOLUTIONS:
            continue
        row, contestants = row_of(key), found["contestants"]
        for v in found.get("verdicts", []):
            sign = "<=" if v["of"] == "memory" else ">="
            if "ratio" not in v:
                lines.append(f"| {row.title} | {v['against']} | | | | | {sign} {v['gate']} | {sign} {v['goal']} | not measured |")
                continue
            ours, peer = contestants["ours"], contestants[v["peer"]]
            unit = "s" if row.mode == "start" else "ms"
            scale = 1 if row.mode == "start" else 1e3
            show = ((lambda c: f"{c['peak_rss_bytes'] / MIB:.0f} MiB") if v["of"] == "memory" else
                    (lambda c: f"{c['seconds_per_image'] * scale:.4g} {unit}"))
            spread = f"{v['least']:.2f}-{v['most']:.2f}" if "least" in v else ""
            lines.append(f"| {row.title} | {v['against']}: {v['peer']} | {show(ours)} | {show(peer)} | **{v['ratio']:.2f}** | "
                         f"{spread} | {sign} {v['gate']} | {sign} {v['goal']} | {v['verdict']} |")
    return lines


def contestant_tables(table):
    lines = []
    peak = table["machine"]["peak_flops"]
    for key, found in table["rows"].items():
        if key in rows.CONVOLUTIONS:
            continue
        row, contestants = row_of(key), found["contestants"]
        lines += ["", f"### {row.title}", "", f"`{key}`, measured {found.get('finished', '')}"
                  + (f"; **incomplete: {found['incomplete']}**" if "incomplete" in found else ""), "",
                  "| | ms an image | GFLOP/s | % of peak | peak RSS, MiB | above program and weights, MiB | max rel. error | others, % |",
                  "|---|---|---|---|---|---|---|---|"]
        flops = contestants.get("ours", {}).get("flops_per_image") or table.get("flops", {}).get(row.network)
        if flops and row.mode != "start":
            table.setdefault("flops", {})[row.network] = flops
        weights = contestants.get("ours", {}).get("weight_bytes")
        for name, result in contestants.items():
            seconds = result.get("seconds_per_image")
            if "failure" in result or not seconds:
                lines.append(f"| {name} | failed: {result.get('failure', 'no result')} | | | | | | |")
                continue
            rate = flops * rows.PASSES[row.mode] / seconds if flops else None
            full = {"weight_bytes": weights, **result}
            lines.append(f"| {name} | {seconds * 1e3:.2f} | {number(rate and rate / 1e9, '.0f')} | "
                         f"{number(rate and 100 * rate / peak, '.0f')} | {result['peak_rss_bytes'] / MIB:.0f} | "
                         f"{number(above(full), '.0f')} | {number(worst(result), '.1e')} | {others(result)} |")
        for peer in row.peers:
            if peer in table["absent"]:
                lines.append(f"| {peer} | skipped: {table['absent'][peer]} | | | | | | |")
    return lines


def convolution_tables(table):
    lines = []
    for key, batch in rows.CONVOLUTIONS.items():
        found = table["rows"].get(key, {}).get("contestants", {})
        if "ours" not in found or "torch" not in found:
            continue
        lines += ["", f"### Convolutions of DDPM CIFAR-10, batch {batch}, us a call (GFLOP/s)", "",
                  "Ours with packed weights; oneDNN with reordered weights; PyTorch as called, the better layout. "
                  "Gradients of both peers are oneDNN's.", "",
                  "| h x w, ci -> co, kernel, stride | in the net | ours | method | oneDNN | PyTorch | data: ours | oneDNN | weight: ours | oneDNN |",
                  "|---|---|---|---|---|---|---|---|---|---|"]
        total = dict.fromkeys(("forward", "onednn", "torch", "data", "their data", "weight", "their weight"), 0.0)
        for ours, peer, count in zip(found["ours"], found["torch"], found["counts"]):
            stride = ours["stride"]
            flops = 2 * batch * ours["h"] * ours["w"] // stride**2 * ours["ci"] * ours["co"] * ours["k"] ** 2
            show = lambda s: f"{s * 1e6:.0f} ({flops / s / 1e9:.0f})" if s else ""
            lines.append(f"| {ours['h']}x{ours['w']}, {ours['ci']} -> {ours['co']}, {ours['k']}x{ours['k']}, {stride} | {count} | "
                         f"{show(ours['forward'])} | {ours['method']} | {show(peer['onednn'])} | {show(peer['forward'])} | "
                         f"{show(ours['data'])} | {show(peer['data'])} | {show(ours['weight'])} | {show(peer['weight'])} |")
            for name, seconds in (("forward", ours["forward"]), ("onednn", peer["onednn"]), ("torch", peer["forward"]),
                                  ("data", ours["data"]), ("their data", peer["data"]), ("weight", ours["weight"]),
                                  ("their weight", peer["weight"])):
                total[name] += seconds * count
        ms = {name: f"{seconds * 1e3:.1f} ms" for name, seconds in total.items()}
        lines.append(f"| all of the network | {sum(found['counts'])} | {ms['forward']} | | {ms['onednn']} | {ms['torch']} | "
                     f"{ms['data']} | {ms['their data']} | {ms['weight']} | {ms['their weight']} |")
    return lines


def write(table, path):
    machine = table["machine"]
    build = next((r["contestants"]["ours"].get("build") for r in table["rows"].values()
                  if r["contestants"].get("ours") and isinstance(r["contestants"]["ours"], dict)
                  and r["contestants"]["ours"].get("build")), "")
    bandwidth = ", ".join(f"{b['bytes_per_second'] / 1e9:.0f} GB/s at {b['bytes_per_thread'] / 1024:.0f} KiB"
                          for b in machine["bandwidth"])
    versions = ", ".join(f"{name} {version}" for name, version in table["versions"].items())
    lines = [f"# Comparison on a CPU, {table['date']}", "",
             f"{machine['cpu']} ({', '.join(machine['extensions'])}), {table['threads']} threads each, Linux {machine['kernel']}. "
             f"Measured peak {machine['peak_flops'] / 1e9:.0f} GFLOP/s (f32, {machine['isa']}), copies {bandwidth} a thread.",
             f"{machine['program']} ({build}) against {versions}.", "",
             f"Contestants run in turn, {table['rounds']} rounds after a warm-up, each in a process of its own with all "
             "threads and the same weights, the others stopped meanwhile; times are medians of the rounds' medians. "
             "A time ratio is the peer's over ours, a memory ratio ours over the peer's. GFLOP/s count padded taps, and "
             "twice (DPS) or three times (training) an evaluation. Errors are max |a - b| / max |b| against PyTorch in "
             "f64: of the output, of the gradient to the image (DPS), of the loss and the gradient to the first weight "
             "(training). A start has none: the weights are random, and an untrained network draws samples that part by a "
             "tenth from the last bit on, between PyTorch's two layouts as well. \"others\" is the largest share of the processors' "
             "time that other programs took in a round.", ""]
    skipped = [f"{peer} ({why})" for peer, why in sorted(table["absent"].items())]
    if skipped:
        lines += ["Skipped: " + "; ".join(skipped) + ".", ""]
    lines += verdict_table(table) + contestant_tables(table) + convolution_tables(table)
    pathlib.Path(path + ".md").write_text("\n".join(lines) + "\n")
    pathlib.Path(path + ".json").write_text(json.dumps(table, indent=1) + "\n")
