#!/usr/bin/env python3
"""Single convolutions in PyTorch, f32: F.conv2d as it is, and oneDNN itself with its weights reordered beforehand.

Answers like tw-bench convs --interactive; a step is a sweep over the list. In the result, seconds a call: "forward" is
F.conv2d, the better of both layouts; "onednn" the reordered one; "data" and "weight" are oneDNN's gradients through
aten.convolution_backward, which has no way to keep reordered weights.
"""
import argparse
import json
import statistics
import time

import contest
import torch
from torch.nn import functional as F


class Convolution:
    def __init__(self, row, batch):
        self.row = {**row, "n": batch}
        top, bottom, left, right = row["pad"]
        h, w = row["h"], row["w"]
        self.pad = top
        if top != bottom:  # the padding is given, not timed
            h, w, self.pad = h + bottom, w + right, 0
        self.stride = row["stride"]
        shape = (row["co"], row["ci"], row["k"], row["k"])
        size = row["co"] * row["ci"] * row["k"] ** 2
        copies = max(2, min(8, (8 << 20) // size))
        self.x = torch.randn(batch, row["ci"], h, w)
        self.xl = self.x.contiguous(memory_format=torch.channels_last)
        self.weights = [torch.randn(shape) for _ in range(copies)]
        self.channels_last = [w.contiguous(memory_format=torch.channels_last) for w in self.weights]
        self.bias = torch.zeros(row["co"])
        self.dy = torch.randn_like(F.conv2d(self.xl, self.channels_last[0], None, self.stride, self.pad))
        reorder = torch.ops.mkldnn._reorder_convolution_weight
        self.packed = [reorder(w, [self.pad] * 2, [self.stride] * 2, [1, 1], 1, list(self.x.shape))
                       for w in self.weights]
        self.restart()

    def restart(self):
        self.times = {"contiguous": [], "channels_last": [], "onednn": [], "data": [], "weight": []}

    def clock(self, name, call, weights):
        for weight in weights:
            begin = time.perf_counter()
            call(weight)
            self.times[name].append(time.perf_counter() - begin)

    def sweep(self):
        pad, stride = [self.pad] * 2, [self.stride] * 2
        with torch.inference_mode():
            self.clock("contiguous", lambda w: F.conv2d(self.x, w, self.bias, stride, pad), self.weights)
            self.clock("channels_last", lambda w: F.conv2d(self.xl, w, self.bias, stride, pad), self.channels_last)
            self.clock("onednn", lambda w: torch.ops.mkldnn._convolution_pointwise(
                self.xl, w, self.bias, pad, stride, [1, 1], 1, "none", [], ""), self.packed)
            for name, mask in (("data", [True, False, False]), ("weight", [False, True, True])):
                self.clock(name, lambda w: torch.ops.aten.convolution_backward(
                    self.dy, self.xl, w, [self.row["co"]], stride, pad, [1, 1], False, [0, 0], 1, mask),
                    self.channels_last)

    def report(self):
        medians = {name: statistics.median(times) if times else 0 for name, times in self.times.items()}
        medians["forward"] = min(medians.pop("contiguous"), medians.pop("channels_last"))
        return {**self.row, **medians}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--list", required=True)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--json", required=True)
    options = parser.parse_args()
    program_bytes = contest.resident_bytes()
    torch.set_num_threads(options.threads)
    convolutions = [Convolution(row, options.batch) for row in json.load(open(options.list))]

    def sweep():
        for convolution in convolutions:
            convolution.sweep()

    sweep()
    for convolution in convolutions:
        convolution.restart()
    contest.serve(sweep, "torch " + torch.__version__, torch.get_num_threads(), program_bytes, warm_up=0)
    with open(options.json, "w") as out:
        json.dump({"convolutions": [c.report() for c in convolutions]}, out, indent=1)


if __name__ == "__main__":
    main()
