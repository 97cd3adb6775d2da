#!/usr/bin/env python3
"""Writes what all contestants share, once: weights, inputs, what f64 makes of them, and the engines' own formats.

    prepare.py --out DIR --network ddpm-cifar10 [--batches 1,4,16] [--engines onnxruntime,openvino,ncnn]

DIR/unet/, DIR/scheduler/   a diffusers folder, which ours and PyTorch read
DIR/network.json            the name of the network
DIR/inputs-N.safetensors    x, t, v for a batch of N: the same four images again and again
DIR/start.safetensors       x_T of one image
DIR/reference.safetensors   of the first images in f64: y and dx; of the small networks also loss and dw
DIR/convs.json              its distinct convolutions
DIR/N.onnx, N.xml, 1.ncnn.* the network for a batch of N
What is there already is left as it is.
"""
import argparse
import json
import os
import pathlib
import warnings

warnings.filterwarnings("ignore")
import torch  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from torch.nn import functional as F  # noqa: E402

import unet  # noqa: E402

SCHEDULER = {"_class_name": "DDIMScheduler", "num_train_timesteps": 1000, "beta_start": 1e-4, "beta_end": 0.02,
             "beta_schedule": "linear", "prediction_type": "epsilon", "clip_sample": True, "set_alpha_to_one": True,
             "steps_offset": 0, "timestep_spacing": "leading"}


def write_weights(folder, name):
    torch.manual_seed(0)
    net = unet.UNet(**unet.NETWORKS[name])
    (folder / "unet").mkdir(parents=True, exist_ok=True)
    (folder / "scheduler").mkdir(exist_ok=True)
    (folder / "unet" / "config.json").write_text(json.dumps(unet.config_of(**unet.NETWORKS[name]), indent=1))
    scheduler = SCHEDULER | ({"variance_type": "learned_range"} if net.adm else {})
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler, indent=1))
    save_file(unet.to_diffusers(net.state_dict()), folder / "unet" / "diffusion_pytorch_model.safetensors")
    (folder / "network.json").write_text(json.dumps(
        {"name": name, "parameters": sum(p.numel() for p in net.parameters())}))


def write_inputs(folder, size, outputs, batches, images):
    generator = torch.Generator().manual_seed(1)
    x, v = (torch.randn(images, channels, size, size, generator=generator) for channels in (3, outputs))
    t = torch.linspace(30, 970, images)
    for batch in batches:
        which = [i % images for i in range(batch)]
        save_file({"x": x[which], "t": t[which], "v": v[which]}, folder / f"inputs-{batch}.safetensors")
    return x, t, v


def write_reference(folder, x, t, v, train):
    net = unet.load(folder, torch.float64)
    x, t, v = x.double(), t.double(), v.double()
    y = torch.cat([net(x[i : i + 1], t[i : i + 1]).detach() for i in range(len(x))])
    results = {"y": y}
    net.requires_grad_(False)
    x.requires_grad_()
    results["dx"] = torch.autograd.grad((net(x, t) * v).sum(), x)[0]
    if train:
        net.requires_grad_(True)
        x.requires_grad_(False)
        loss = F.mse_loss(net(x, t), v)
        results["loss"] = loss.detach()
        results["dw"] = torch.autograd.grad(loss, net.conv_in.weight)[0]
    save_file({name: value.detach().contiguous() for name, value in results.items()},
              folder / "reference.safetensors")


def write_convolutions(folder, name):
    """convs.json: the distinct convolutions of the network at batch 1, and how often each occurs."""
    net, found = unet.load(folder), {}

    def record(module, inputs, output):
        n, ci, h, w = inputs[0].shape
        pad = [module.padding[0]] * 4
        if module.stride[0] == 2:  # the layer before has padded the right and the bottom
            h, w, pad = h - 1, w - 1, [0, 1, 0, 1]
        key = (h, w, ci, module.out_channels, module.kernel_size[0], module.stride[0], tuple(pad))
        found[key] = found.get(key, 0) + 1

    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(record)
    size = unet.NETWORKS[name]["size"]
    with torch.inference_mode():
        net(torch.zeros(1, 3, size, size), torch.zeros(1))
    names = ("h", "w", "ci", "co", "k", "stride", "pad")
    (folder / "convs.json").write_text(json.dumps(
        [dict(zip(names, key), n=1, count=count) for key, count in found.items()], indent=1))


class Embedded(torch.nn.Module):
    """The network from x and the sinusoid of t: pnnx cannot convert the sinusoid."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x, embedding):
        return self.net.evaluate(x, embedding)


def export(folder, batch, engines, size):
    net = unet.load(folder).eval().requires_grad_(False)
    x, t = torch.zeros(batch, 3, size, size), torch.full((batch,), 500.0)
    if "onnxruntime" in engines and not (folder / f"{batch}.onnx").exists():
        torch.onnx.export(net, (x, t), folder / f"{batch}.onnx", dynamo=False, opset_version=17,
                          input_names=["x", "t"], output_names=["y"])
    if "openvino" in engines and not (folder / f"{batch}.xml").exists():
        import openvino

        model = openvino.convert_model(net, example_input=(x, t), input=[list(x.shape), list(t.shape)])
        openvino.save_model(model, folder / f"{batch}.xml", compress_to_fp16=False)
    if "ncnn" in engines and batch == 1 and not (folder / "1.ncnn.param").exists():
        import pnnx

        before = os.getcwd()
        os.chdir(folder)
        try:
            pnnx.export(Embedded(net), "1.pt", (x, net.embed(t)), fp16=False)
        finally:
            os.chdir(before)
            for left in folder.glob("1.pnnx.*"):
                left.unlink()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--network", choices=list(unet.NETWORKS), required=True)
    parser.add_argument("--batches", default="1,4,16")
    parser.add_argument("--engines", default="")
    options = parser.parse_args()
    folder, batches = options.out, [int(b) for b in options.batches.split(",")]
    size, small = unet.NETWORKS[options.network]["size"], options.network != "adm-ffhq-256"
    if not (folder / "network.json").exists():
        write_weights(folder, options.network)
    if not (folder / "convs.json").exists():
        write_convolutions(folder, options.network)
    images, outputs = (4, 3) if small else (1, 6)
    if not all((folder / f"inputs-{b}.safetensors").exists() for b in batches):
        write_inputs(folder, size, outputs, batches, images)
    if not (folder / "reference.safetensors").exists():
        x, t, v = write_inputs(folder, size, outputs, batches, images)
        write_reference(folder, x, t, v, train=small)
    if not (folder / "start.safetensors").exists():
        save_file({"x_T": torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(2))},
                  folder / "start.safetensors")
    engines = [e for e in options.engines.split(",") if e]
    for batch in batches if engines else []:
        export(folder, batch, engines, size)


if __name__ == "__main__":
    main()
