#!/usr/bin/env python3
"""ncnn as a contestant: converted by pnnx, Winograd on (its default), a batch image by image, as its tensors have none."""
import json
import math

import contest
import ncnn
import numpy

PROGRAM_BYTES = contest.resident_bytes()


def embed(t, base):
    half = base // 2
    angle = t * numpy.exp(-math.log(10000) / (half - 1) * numpy.arange(half))
    return numpy.concatenate([numpy.sin(angle), numpy.cos(angle)]).astype(numpy.float32)


def load(folder, batch, threads, precision):
    net = ncnn.Net()
    net.opt.num_threads = threads
    net.opt.use_vulkan_compute = False
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.opt.use_bf16_storage = precision == "bf16"
    net.load_param(f"{folder}/1.ncnn.param")
    net.load_model(f"{folder}/1.ncnn.bin")
    base = json.load(open(f"{folder}/unet/config.json"))["block_out_channels"][0]

    def evaluate(x, t):
        results = []
        for image, time in zip(x, t):
            extractor = net.create_extractor()
            extractor.input("in0", ncnn.Mat(numpy.ascontiguousarray(image)))
            extractor.input("in1", ncnn.Mat(embed(float(time), base)))
            status, out = extractor.extract("out0")
            assert status == 0, f"ncnn: extract returned {status}"
            results.append(numpy.array(out))
        return numpy.stack(results)

    return evaluate


if __name__ == "__main__":
    import engine

    engine.main(__doc__, load, "ncnn " + ncnn.__version__, PROGRAM_BYTES)
