#!/usr/bin/env python3
"""The jobs of `tw-bench net` in PyTorch: the DDPM U-Net of Ho et al. 2020 for CIFAR-10, 35,746,307 parameters.

    ddpm_unet_torch.py --mode sample|dps|train --batch 1,4,16 --precision f32|bf16 --json FILE

sample: one network evaluation and one DDPM update, nothing recorded.
dps:    one network evaluation, the residual norm of a masked x0, its gradient to x_t (weights frozen), the update.
train:  noise, forward, backward, gradient clipping at 1, Adam.
Channels last and contiguous are both timed; the better one counts. Times are medians over --repeat runs after one
warm-up. Peak memory is of the whole process, so compare.sh starts one process a row.
"""
import argparse
import json
import math
import resource
import statistics
import time

import torch
from torch import nn
from torch.nn import functional as F


class ResBlock(nn.Module):
    def __init__(self, c_in, c_out, c_temb):
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(32, c_in, 1e-6), nn.Conv2d(c_in, c_out, 3, padding=1)
        self.temb = nn.Linear(c_temb, c_out)
        self.norm2, self.conv2 = nn.GroupNorm(32, c_out, 1e-6), nn.Conv2d(c_out, c_out, 3, padding=1)
        self.skip = nn.Conv2d(c_in, c_out, 1) if c_in != c_out else nn.Identity()

    def forward(self, x, temb):
        h = self.conv1(F.silu(self.norm1(x))) + self.temb(F.silu(temb))[:, :, None, None]
        return self.skip(x) + self.conv2(F.silu(self.norm2(h)))


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.norm, self.qkv, self.out = nn.GroupNorm(32, c, 1e-6), nn.Linear(c, 3 * c), nn.Linear(c, c)

    def forward(self, x):
        n, c, h, w = x.shape
        q, k, v = self.qkv(self.norm(x).flatten(2).transpose(1, 2)).chunk(3, -1)
        y = F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0]
        return x + self.out(y).transpose(1, 2).reshape(n, c, h, w)


class Downsample(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.conv = nn.Conv2d(c, c, 3, stride=2)

    def forward(self, x):
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.conv = nn.Conv2d(c, c, 3, padding=1)

    def forward(self, x):
        return self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))


class UNet(nn.Module):
    def __init__(self, base=128, multipliers=(1, 2, 2, 2), blocks=2, resolution=32, attention=(16,), channels=3):
        super().__init__()
        self.base, c_temb = base, 4 * base
        self.mlp = nn.Sequential(nn.Linear(base, c_temb), nn.SiLU(), nn.Linear(c_temb, c_temb))
        self.conv_in = nn.Conv2d(channels, base, 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        c, skips, size = base, [base], resolution
        for level, multiplier in enumerate(multipliers):
            for _ in range(blocks):
                block = nn.ModuleList([ResBlock(c, base * multiplier, c_temb)])
                c = base * multiplier
                if size in attention:
                    block.append(Attention(c))
                self.down.append(block)
                skips.append(c)
            if level + 1 < len(multipliers):
                self.down.append(nn.ModuleList([Downsample(c)]))
                skips.append(c)
                size //= 2
        self.mid = nn.ModuleList([ResBlock(c, c, c_temb), Attention(c), ResBlock(c, c, c_temb)])
        for level, multiplier in reversed(list(enumerate(multipliers))):
            for i in range(blocks + 1):
                block = nn.ModuleList([ResBlock(c + skips.pop(), base * multiplier, c_temb)])
                c = base * multiplier
                if size in attention:
                    block.append(Attention(c))
                if level and i == blocks:
                    block.append(Upsample(c))
                self.up.append(block)
            if level:
                size *= 2
        self.norm_out, self.conv_out = nn.GroupNorm(32, c, 1e-6), nn.Conv2d(c, channels, 3, padding=1)

    def forward(self, x, t):
        half = self.base // 2
        frequency = torch.exp(-math.log(10000) / (half - 1) * torch.arange(half, dtype=torch.float32))
        angle = t[:, None].float() * frequency
        temb = self.mlp(torch.cat([angle.sin(), angle.cos()], 1).to(self.mlp[0].weight.dtype))
        run = lambda layer, x: layer(x, temb) if isinstance(layer, ResBlock) else layer(x)
        x = self.conv_in(x)
        skips = [x]
        for block in self.down:
            for layer in block:
                x = run(layer, x)
            skips.append(x)
        for layer in self.mid:
            x = run(layer, x)
        for block in self.up:
            x = torch.cat([x, skips.pop()], 1)
            for layer in block:
                x = run(layer, x)
        return self.conv_out(F.silu(self.norm_out(x)))


def job(mode, net, batch, precision, memory_format):
    """A closure that does one step of the job on a fresh image batch."""
    low = precision == "bf16"
    x = torch.randn(batch, 3, 32, 32).contiguous(memory_format=memory_format)
    t = torch.full((batch,), 500)
    abar, beta = 0.0786, 0.0101
    if mode == "train":
        optimiser = torch.optim.Adam(net.parameters(), lr=2e-4)

        def step():
            noise = torch.randn_like(x)
            with torch.autocast("cpu", torch.bfloat16, enabled=low):
                loss = F.mse_loss(net(abar**0.5 * x + (1 - abar) ** 0.5 * noise, t).float(), noise)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()

        return step
    net.requires_grad_(False)
    weight_type = torch.bfloat16 if low else torch.float32
    net.to(weight_type)
    mask = (torch.rand(1, 1, 32, 32) < 0.5).float()

    def update(x, output):
        x0 = ((x - (1 - abar) ** 0.5 * output) / abar**0.5).clamp(-1, 1)
        return x0, (x - beta / (1 - abar) ** 0.5 * output) / (1 - beta) ** 0.5 + beta**0.5 * torch.randn_like(x)

    if mode == "sample":

        @torch.no_grad()
        def step():
            update(x, net(x.to(weight_type), t).float())

        return step

    def step():
        x_t = x.detach().requires_grad_()
        x0, following = update(x_t, net(x_t.to(weight_type), t).float())
        loss = (mask * (x - x0)).flatten(1).norm(dim=1).sum()
        (gradient,) = torch.autograd.grad(loss, x_t)
        return following.detach() - gradient

    return step


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mode", choices=["sample", "dps", "train"], default="sample")
    parser.add_argument("--batch", default="1,4,16")
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--layout", choices=["both", "contiguous", "channels_last"], default="both")
    parser.add_argument("--json")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    layouts = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
    wanted = list(layouts) if options.layout == "both" else [options.layout]
    rows = []
    for batch in map(int, options.batch.split(",")):
        best = None
        for layout in wanted:
            torch.manual_seed(0)
            net = UNet().to(memory_format=layouts[layout])
            count = sum(p.numel() for p in net.parameters())
            assert count == 35746307, count
            step = job(options.mode, net, batch, options.precision, layouts[layout])
            step()
            times = []
            for _ in range(options.repeat):
                start = time.perf_counter()
                step()
                times.append(time.perf_counter() - start)
            if best is None or statistics.median(times) < statistics.median(best[1]):
                best = (layout, times)
            del net, step
        layout, times = best
        row = {
            "mode": options.mode,
            "batch": batch,
            "precision": options.precision,
            "seconds_per_image": statistics.median(times) / batch,
            "seconds": times,
            "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "layout": layout,
        }
        rows.append(row)
        print(f"{options.mode:6} batch {batch:3} {options.precision:4} {row['seconds_per_image'] * 1e3:9.2f} ms/image"
              f"  peak {row['peak_rss_bytes'] / 2**20:7.0f} MiB  {layout}")
    result = {"program": "torch " + torch.__version__, "threads": torch.get_num_threads(), "rows": rows}
    if options.json:
        with open(options.json, "w") as out:
            json.dump(result, out, indent=1)


if __name__ == "__main__":
    main()
