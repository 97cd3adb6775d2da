#!/usr/bin/env python3
"""A whole program: loads the network, draws one image by 50 steps of DDIM (Song et al. 2021, eta 0), writes a PNG.

Timestep t is followed by t - 20; x0 is clipped to [-1, 1], as in the scheduler config that prepare.py wrote.
"""
import argparse
import importlib

import numpy


def torch_network(options):
    import torch
    import unet

    torch.set_num_threads(options.threads)
    memory_format = torch.contiguous_format if options.layout == "contiguous" else torch.channels_last
    net = unet.load(options.model).eval().requires_grad_(False).to(memory_format=memory_format)

    def evaluate(x, t):
        with torch.inference_mode():
            image = torch.from_numpy(x).contiguous(memory_format=memory_format)
            return net(image, torch.from_numpy(t)).contiguous().numpy()

    return evaluate


def ddim(evaluate, x, steps=50):
    beta = numpy.linspace(1e-4, 0.02, 1000, dtype=numpy.float32)
    abar = numpy.cumprod(1 - beta, dtype=numpy.float32)
    stride = 1000 // steps
    for t in range(1000 - stride, -1, -stride):
        a, following = abar[t], abar[t - stride] if t >= stride else numpy.float32(1)
        eps = evaluate(x, numpy.full(len(x), t, numpy.float32))
        x0 = ((x - (1 - a) ** 0.5 * eps) / a**0.5).clip(-1, 1)
        x = (following**0.5 * x0 + (1 - following) ** 0.5 * eps).astype(numpy.float32)
    return x


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=["torch", "onnxruntime", "openvino", "ncnn"], default="torch")
    parser.add_argument("--layout", choices=["contiguous", "channels_last"], default="contiguous")
    parser.add_argument("--model", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--start", required=True, help="x_T, (1, 3, h, w) f32 safetensors")
    parser.add_argument("--out", required=True, help="FILE.png; FILE.safetensors lies beside it")
    options = parser.parse_args()
    if options.engine == "torch":
        evaluate = torch_network(options)
    else:
        load = importlib.import_module(options.engine + "_peer").load
        evaluate = load(options.model, 1, options.threads, "f32")
    import engine

    x = ddim(evaluate, engine.read_safetensors(options.start)["x_T"].copy())
    engine.write_safetensors(options.out.replace(".png", ".safetensors"), "samples", x)
    from PIL import Image

    pixels = ((x[0].transpose(1, 2, 0) + 1) * 127.5).round().clip(0, 255).astype(numpy.uint8)
    Image.fromarray(pixels).save(options.out)


if __name__ == "__main__":
    main()
