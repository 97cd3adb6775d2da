#!/usr/bin/env python3
"""PyTorch's side of bench/gpu/compare.py: the steps of bench/peers/torch_peer.py on a GPU. One line of JSON.

    torch_steps.py NETWORK sample|dps|train BATCH f32|bf16 cuda|cpu SECONDS eager|compile

compile is torch.compile(mode="max-autotune"), with CUDA graphs. Weights are random: times do not depend on them.
"""
import json
import pathlib
import sys
import time
import warnings

warnings.filterwarnings("ignore")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "peers"))
import torch  # noqa: E402

import torch_peer  # noqa: E402
import unet  # noqa: E402


class Options:
    def __init__(self, network, mode, batch):
        self.network, self.mode, self.batch = network, mode, int(batch)


def make_evaluate(network, mode, low, device, compiled):
    net = unet.UNet(**unet.NETWORKS[network])
    if low and mode != "train":
        net.to(torch.bfloat16)
    net.to(memory_format=torch.channels_last)
    if mode != "train":
        net.requires_grad_(False)
        net.eval()
    call = torch.compile(net, mode="max-autotune") if compiled else net

    def evaluate(x, t):
        if compiled and device == "cuda":
            torch.compiler.cudagraph_mark_step_begin()
        if not low:
            return call(x, t)
        if mode != "train":
            return call(x.to(torch.bfloat16), t)
        with torch.autocast(device, torch.bfloat16):
            return call(x, t)

    return net, evaluate


def main():
    network, mode, batch, precision, device, seconds, kind = sys.argv[1:]
    torch.set_default_device(device)
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False  # f32 is f32
    torch.manual_seed(0)
    net, evaluate = make_evaluate(network, mode, precision == "bf16", device, kind == "compile")
    step = torch_peer.make_step(evaluate, net, Options(network, mode, batch), torch.channels_last)
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    for _ in range(5):
        step()
    wait()
    # The reference implementation of DPS shows its residual in every step, which waits for it.
    together = 10 if device == "cuda" and mode != "dps" else 1
    taken, start = [], time.perf_counter()
    while not taken or time.perf_counter() - start < float(seconds):
        begin = time.perf_counter()
        for _ in range(together):
            step()
        wait()
        taken.append((time.perf_counter() - begin) / together)
    found = {"seconds": taken, "program": "torch " + torch.__version__}
    if device == "cuda":
        found |= {"peak_bytes": torch.cuda.max_memory_allocated(), "reserved_bytes": torch.cuda.max_memory_reserved(),
                  "device": torch.cuda.get_device_name()}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
