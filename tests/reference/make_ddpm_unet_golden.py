"""Writes tests/golden/ddpm_unet.safetensors: what PyTorch computes for a small DDPM U-Net.

    python tests/reference/make_ddpm_unet_golden.py     (needs torch, numpy, safetensors)

The network is written here from the paper (Ho et al. 2020, appendix B), in PyTorch's layout (n, c, h, w) and with
separate q, k, v; names and weight layouts are turned into ours on writing. In the file: initial parameters
"init/NAME", inputs "x", "t", "labels", "target", the result "y", "loss", its gradients "grad/NAME" and "grad_x",
"losses" of ten Adam steps, and a few parameters after them "final/NAME".
"""
import math
import pathlib

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

BASE, MULTIPLIERS, BLOCKS, GROUPS, EPS, CLASSES, ATTEND, RESOLUTION = 16, (1, 2), 1, 8, 1e-6, 3, (8,), 16
EMBEDDING = 4 * BASE


def group_norm(c):
    return nn.GroupNorm(GROUPS, c, eps=EPS)


class ResBlock(nn.Module):
    def __init__(self, c_in, c_out):
        super().__init__()
        self.norm1, self.conv1 = group_norm(c_in), nn.Conv2d(c_in, c_out, 3, padding=1)
        self.time_emb_proj = nn.Linear(EMBEDDING, c_out)
        self.norm2, self.conv2 = group_norm(c_out), nn.Conv2d(c_out, c_out, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(c_in, c_out, 1) if c_in != c_out else None

    def forward(self, x, e):
        h = self.conv1(F.silu(self.norm1(x))) + self.time_emb_proj(F.silu(e))[:, :, None, None]
        h = self.conv2(F.silu(self.norm2(h)))
        return h + (self.conv_shortcut(x) if self.conv_shortcut else x)


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.group_norm = group_norm(c)
        self.to_q, self.to_k, self.to_v, self.to_out = (nn.Linear(c, c) for _ in range(4))

    def forward(self, x):
        n, c, h, w = x.shape
        tokens = self.group_norm(x).reshape(n, c, h * w).transpose(1, 2)
        q, k, v = self.to_q(tokens), self.to_k(tokens), self.to_v(tokens)
        weights = torch.softmax(q @ k.transpose(1, 2) / math.sqrt(c), dim=-1)
        return x + self.to_out(weights @ v).transpose(1, 2).reshape(n, c, h, w)


class Level(nn.Module):
    def __init__(self, inputs, c, attends, attentions=None):
        super().__init__()
        self.resnets = nn.ModuleList(ResBlock(i, c) for i in inputs)
        count = (attentions or len(inputs)) if attends else 0
        self.attentions = nn.ModuleList(Attention(c) for _ in range(count))

    def step(self, i, x, e):
        x = self.resnets[i](x, e)
        return self.attentions[i](x) if i < len(self.attentions) else x


class Resample(nn.Module):
    def __init__(self, c, stride):
        super().__init__()
        self.conv = nn.Conv2d(c, c, 3, stride=stride, padding=0 if stride == 2 else 1)
        self.down = stride == 2

    def forward(self, x):
        return self.conv(F.pad(x, (0, 1, 0, 1)) if self.down else F.interpolate(x, scale_factor=2.0))


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        widths = [BASE * m for m in MULTIPLIERS]
        last = len(widths) - 1
        self.conv_in = nn.Conv2d(3, BASE, 3, padding=1)
        self.time_embedding = nn.ModuleDict(
            {"linear_1": nn.Linear(BASE, EMBEDDING), "linear_2": nn.Linear(EMBEDDING, EMBEDDING)})
        self.class_embedding = nn.Embedding(CLASSES + 1, EMBEDDING)
        skips, c = [BASE], BASE
        self.down_blocks = nn.ModuleList()
        for i, width in enumerate(widths):
            level = Level([c] + [width] * (BLOCKS - 1), width, RESOLUTION >> i in ATTEND)
            c = width
            skips += [c] * BLOCKS
            if i < last:
                level.downsamplers = nn.ModuleList([Resample(c, 2)])
                skips.append(c)
            self.down_blocks.append(level)
        self.mid_block = Level([c, c], c, True, attentions=1)
        self.up_blocks = nn.ModuleList()
        for i, width in reversed(list(enumerate(widths))):
            inputs = []
            for _ in range(BLOCKS + 1):
                inputs.append(c + skips.pop())
                c = width
            level = Level(inputs, width, RESOLUTION >> i in ATTEND)
            if i > 0:
                level.upsamplers = nn.ModuleList([Resample(c, 1)])
            self.up_blocks.append(level)
        self.conv_norm_out, self.conv_out = group_norm(c), nn.Conv2d(c, 3, 3, padding=1)

    def forward(self, x, t, labels):
        half = BASE // 2
        phase = t[:, None] * torch.exp(-math.log(10000) * torch.arange(half) / (half - 1))
        e = self.time_embedding["linear_1"](torch.cat([phase.sin(), phase.cos()], dim=1))
        e = self.time_embedding["linear_2"](F.silu(e)) + self.class_embedding(labels)
        h = self.conv_in(x)
        skips = [h]
        for level in self.down_blocks:
            for i in range(len(level.resnets)):
                h = level.step(i, h, e)
                skips.append(h)
            if hasattr(level, "downsamplers"):
                h = level.downsamplers[0](h)
                skips.append(h)
        for i in range(2):
            h = self.mid_block.step(i, h, e)
        for level in self.up_blocks:
            for i in range(len(level.resnets)):
                h = level.step(i, torch.cat([h, skips.pop()], dim=1), e)
            if hasattr(level, "upsamplers"):
                h = level.upsamplers[0](h)
        return self.conv_out(F.silu(self.conv_norm_out(h)))


def ours(tensors, prefix):
    """Names and layouts of this project: (kh, kw, in, out), (in, out), and one projection for q, k and v."""
    result = {}
    for name, value in tensors.items():
        value = value.detach()
        if value.ndim == 4:
            value = value.permute(2, 3, 1, 0)
        elif value.ndim == 2 and "class_embedding" not in name:
            value = value.t()
        if ".to_q." in name:
            parts = [tensors[name.replace(".to_q.", f".to_{p}.")].detach() for p in "qkv"]
            value = torch.cat([p.t() if p.ndim == 2 else p for p in parts], dim=-1)
            name = name.replace(".to_q.", ".to_qkv.")
        elif ".to_k." in name or ".to_v." in name:
            continue
        result[prefix + name] = value.contiguous().clone()
    return result


def main():
    torch.manual_seed(1)
    torch.use_deterministic_algorithms(True)
    net = UNet()
    for p in net.parameters():  # no zeros: every path must count
        nn.init.normal_(p, std=0.3 if p.ndim == 1 else 1 / math.sqrt(p[0].numel()))
    for name, p in net.named_parameters():
        if "norm" in name and name.endswith("weight"):
            p.data += 1
    n = 3
    x = torch.randn(n, 3, RESOLUTION, RESOLUTION, requires_grad=True)
    t, labels = torch.tensor([3.0, 417.0, 999.0]), torch.tensor([0, 2, 3])
    target = torch.randn(n, 3, RESOLUTION, RESOLUTION)
    nhwc = lambda v: v.detach().permute(0, 2, 3, 1).contiguous()

    out = ours(dict(net.named_parameters()), "init/")
    y = net(x, t, labels)
    loss = F.mse_loss(y, target)
    loss.backward()
    out |= ours({name: p.grad for name, p in net.named_parameters()}, "grad/")
    out |= {"x": nhwc(x), "t": t, "labels": labels.int(), "target": nhwc(target), "y": nhwc(y), "loss": loss.detach(),
            "grad_x": nhwc(x.grad)}

    optimiser = torch.optim.Adam(net.parameters(), lr=1e-3)
    losses = []
    for _ in range(10):
        optimiser.zero_grad()
        loss = F.mse_loss(net(x.detach(), t, labels), target)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        losses.append(loss.item())
    out["losses"] = torch.tensor(losses)
    final = ours(dict(net.named_parameters()), "final/")
    keep = ("conv_in", "mid_block.attentions.0.", "up_blocks.1.resnets.0.time_emb_proj", "class_embedding", "conv_out")
    out |= {name: value for name, value in final.items() if name.startswith(tuple("final/" + k for k in keep))}
    path = pathlib.Path(__file__).resolve().parents[1] / "golden" / "ddpm_unet.safetensors"
    save_file(out, path)
    print(path, path.stat().st_size, "bytes; losses", losses)


if __name__ == "__main__":
    main()
