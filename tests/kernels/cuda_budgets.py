#!/usr/bin/env python3
"""Holds the CUDA kernels to their budgets of registers and shared memory, from what ptxas said when they were compiled.

    cuda_budgets.py FOLDER [--write]     FOLDER: where scripts/cmake/keep_resource_usage.sh left *.cu.o.resources

cuda_budgets.txt has a row for each kernel of each file: registers a thread of its instances, those of f64 apart, and bytes of
shared memory a block; what has no row is held to the row "*". Budgets are for sm_90; on no architecture may a kernel spill.
--write makes the table anew.
"""
import pathlib
import re
import subprocess
import sys

TABLE = pathlib.Path(__file__).with_suffix(".txt")
HEADER = f"# {'file':22} {'kernel':28} registers  of f64  shared bytes\n"
DEFAULT = f"{'*':24} {'*':28} {48:9} {128:7} {12288:13}\n"
COMPILED = re.compile(r"Compiling entry function '(\w+)' for '(sm_\d+)'")
SPILLS = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores")
USED = re.compile(r"Used (\d+) registers")
SHARED = re.compile(r"(\d+) bytes smem")


def kernels(folder):
    """(file, mangled name, architecture, registers, spilled bytes, shared bytes) of every kernel."""
    for path in sorted(pathlib.Path(folder).glob("*.resources")):
        name = spilled = None
        for line in path.read_text().splitlines():
            if found := COMPILED.search(line):
                name, architecture = found.groups()
            elif found := SPILLS.search(line):
                spilled = int(found[2])
            elif name and (found := USED.search(line)):
                shared = SHARED.search(line)
                yield path.name.split(".")[0], name, architecture, int(found[1]), spilled, int(shared[1]) if shared else 0
                name = None


def demangled(names):
    if not names:
        return []
    return subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True).stdout.splitlines()


def plain(full):
    """ "void tw::cuda::(anonymous namespace)::step_kernel<float, tw::f16>(...)" -> step_kernel"""
    return re.search(r"(\w+)[<(]", full.replace("(anonymous namespace)::", ""))[1]


def main():
    folder, write = sys.argv[1], "--write" in sys.argv
    found = list(kernels(folder))
    if not found:
        sys.exit(f"cuda_budgets: no *.resources in {folder}: compile the backend first")
    used, failures = {}, []
    for (file, _, architecture, registers, spilled, shared), full in zip(found, demangled([k[1] for k in found])):
        if spilled:
            failures.append(f"{file}: {full} spills {spilled} bytes on {architecture}")
        if architecture != "sm_90":
            continue
        row = used.setdefault((file, plain(full)), [0, 0, 0])
        arguments = re.search(r"<(.*?)>\(", full)
        f64 = bool(arguments and re.search(r"\bdouble\b", arguments[1]))
        row[f64] = max(row[f64], registers)
        row[2] = max(row[2], shared)
    if write:
        TABLE.write_text(HEADER + DEFAULT + "".join(f"{file:24} {kernel:28} {-(-a // 8) * 8:9} {-(-b // 8) * 8:7} {c:13}\n"
                                          for (file, kernel), (a, b, c) in sorted(used.items())))
    budgets = {}
    for line in TABLE.read_text().splitlines():
        if not line.startswith("#"):
            file, kernel, *numbers = line.split()
            budgets[file, kernel] = [int(number) for number in numbers]
    for key, row in sorted(used.items()):
        allowed = budgets.get(key, budgets["*", "*"])
        for what, value, budget in zip(("registers", "registers in f64", "bytes of shared memory"), row, allowed):
            if value > budget:
                failures.append(f"{key[0]}: {key[1]} uses {value} {what}, its budget is {budget}")
    if used:
        failures += [f"{file}: {kernel} is not there any more" for file, kernel in sorted(set(budgets) - set(used) - {('*', '*')})]
    print("\n".join(failures) or f"{len(found)} kernels within their budgets, no spills")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
