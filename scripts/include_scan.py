#!/usr/bin/env python3
"""Checks the layer rule: a folder may include only itself and the folders before it.

Prints every include that breaks it and exits with 1 if there is one. kernels/ may see no more of tensor/ than what a
view is made of, so that a kernel can be read and tested with a plain pointer.
"""
import pathlib
import re
import sys

LAYERS = ["tensor", "kernels", "autograd", "nn", "diffusion", "apps"]
KERNELS_MAY_SEE = {"dtype.h", "shape.h", "view.h", "error.h", "device.h", "philox.h", "normal.h", "cuda_library.h", "cuda_memory.h", "cuda_event.h"}
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.M)


def problems(root: pathlib.Path):
    for layer in LAYERS:
        for path in sorted((root / layer).rglob("*")):
            if path.suffix not in {".h", ".cpp", ".cu", ".cuh"}:
                continue
            for included in INCLUDE.findall(path.read_text()):
                target = included.split("/")[0]
                where = f"{path.relative_to(root)}: includes {included}"
                if target not in LAYERS:
                    yield f"{where}, which is not a path from the root of the project"
                elif LAYERS.index(target) > LAYERS.index(layer):
                    yield f"{where}, but {layer}/ stands below {target}/"
                elif layer == "kernels" and target == "tensor" and included[len("tensor/"):] not in KERNELS_MAY_SEE:
                    yield f"{where}, but kernels/ may know only {', '.join(sorted(KERNELS_MAY_SEE))} of tensor/"


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    found = list(problems(root))
    for line in found:
        print(line, file=sys.stderr)
    print(f"include scan: {len(found)} breaches of the layer rule")
    return 1 if found else 0


sys.exit(main())
