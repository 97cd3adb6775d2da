"""The U-Nets of DDPM (Ho et al. 2020) and ADM (Dhariwal & Nichol 2021) in PyTorch, with the parameter names of
diffusers' UNet2DModel.

A user of PyTorch would write it like this: one GEMM for q, k and v, F.scaled_dot_product_attention, F.silu.
"""
import json
import math
import pathlib

import torch
from torch import nn
from torch.nn import functional as F

# Sizes are those of diffusers' config.json. adm-ffhq-256 is the network of Chung et al. 2022 (DPS).
NETWORKS = {
    "ddpm-cifar10": dict(size=32, widths=(128, 256, 256, 256), blocks=2, attention=(16,), head=None),
    "unet-64": dict(size=64, widths=(64, 128, 192, 256), blocks=2, attention=(16, 8), head=None),
    "adm-ffhq-256": dict(size=256, widths=(128, 128, 256, 256, 512, 512), blocks=1, attention=(16,), head=64, adm=True),
}


def norm(c, adm=False):
    return nn.GroupNorm(32, c, eps=1e-5 if adm else 1e-6)


class ResBlock(nn.Module):
    """adm: the time scales and shifts the second norm; `resample` acts on x and on what the first convolution sees."""

    def __init__(self, c_in, c_out, c_temb, adm, resample=None):
        super().__init__()
        self.adm, self.resample = adm, resample or (lambda x: x)
        self.norm1, self.conv1 = norm(c_in, adm), nn.Conv2d(c_in, c_out, 3, padding=1)
        self.time_emb_proj = nn.Linear(c_temb, 2 * c_out if adm else c_out)
        self.norm2, self.conv2 = norm(c_out, adm), nn.Conv2d(c_out, c_out, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(c_in, c_out, 1) if c_in != c_out else None

    def forward(self, x, temb):
        h = self.conv1(self.resample(F.silu(self.norm1(x))))
        temb = self.time_emb_proj(F.silu(temb))[:, :, None, None]
        if self.adm:
            scale, shift = temb.chunk(2, 1)
            h = self.norm2(h) * (1 + scale) + shift
        else:
            h = self.norm2(h + temb)
        h, x = self.conv2(F.silu(h)), self.resample(x)
        return h + (x if self.conv_shortcut is None else self.conv_shortcut(x))


class Attention(nn.Module):
    def __init__(self, c, head, adm):
        super().__init__()
        self.heads = c // head if head else 1
        self.group_norm, self.to_qkv, self.to_out = norm(c, adm), nn.Linear(c, 3 * c), nn.Linear(c, c)

    def forward(self, x):
        n, c, h, w = x.shape
        tokens = self.group_norm(x).flatten(2).transpose(1, 2)
        if self.heads == 1:
            q, k, v = (part[:, None] for part in self.to_qkv(tokens).chunk(3, -1))
            y = F.scaled_dot_product_attention(q, k, v)[:, 0]
        else:
            q, k, v = self.to_qkv(tokens).view(n, h * w, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
            y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, h * w, c)
        return x + self.to_out(y).transpose(1, 2).reshape(n, c, h, w)


class Downsample(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.conv = nn.Conv2d(c, c, 3, stride=2)

    def forward(self, x, _):
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.conv = nn.Conv2d(c, c, 3, padding=1)

    def forward(self, x, _):
        return self.conv(doubled(x))


def halved(x):
    return F.avg_pool2d(x, 2)


def doubled(x):
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


class Level(nn.Module):
    def __init__(self, inputs, c, c_temb, attentions, head, adm, resample=None):
        super().__init__()
        self.resnets = nn.ModuleList(ResBlock(i, c, c_temb, adm) for i in inputs)
        self.attentions = nn.ModuleList(Attention(c, head, adm) for _ in range(attentions))
        if resample:
            name, module = resample
            self.add_module(name, nn.ModuleList([module(c)]))

    def step(self, i, x, temb):
        x = self.resnets[i](x, temb)
        return self.attentions[i](x) if i < len(self.attentions) else x


class UNet(nn.Module):
    def __init__(self, size, widths, blocks, attention, head, adm=False):
        super().__init__()
        self.adm, self.base, c_temb, last = adm, widths[0], 4 * widths[0], len(widths) - 1
        attends = lambda level: size >> level in attention
        down = (lambda c: ResBlock(c, c, c_temb, adm, halved)) if adm else Downsample
        up = (lambda c: ResBlock(c, c, c_temb, adm, doubled)) if adm else Upsample
        self.conv_in = nn.Conv2d(3, self.base, 3, padding=1)
        self.time_embedding = nn.ModuleDict(
            {"linear_1": nn.Linear(self.base, c_temb), "linear_2": nn.Linear(c_temb, c_temb)})
        skips, c, self.down_blocks, self.up_blocks = [self.base], self.base, nn.ModuleList(), nn.ModuleList()
        for i, width in enumerate(widths):
            inputs, c = [c] + [width] * (blocks - 1), width
            self.down_blocks.append(Level(inputs, c, c_temb, blocks * attends(i), head, adm,
                                          ("downsamplers", down) if i < last else None))
            skips += [c] * (blocks + (i < last))
        self.mid_block = Level([c, c], c, c_temb, 1, head, adm)
        for i, width in reversed(list(enumerate(widths))):
            inputs = []
            for _ in range(blocks + 1):
                inputs.append(c + skips.pop())
                c = width
            self.up_blocks.append(Level(inputs, c, c_temb, (blocks + 1) * attends(i), head, adm,
                                        ("upsamplers", up) if i else None))
        self.conv_norm_out, self.conv_out = norm(c, adm), nn.Conv2d(c, 6 if adm else 3, 3, padding=1)

    def embed(self, t):  # the sinusoid of the timesteps, (n, base) f32
        half = self.base // 2
        frequency = torch.exp(-math.log(10000) / (half - (not self.adm)) * torch.arange(half, dtype=t.dtype))
        angle = t[:, None] * frequency
        return torch.cat([angle.cos(), angle.sin()] if self.adm else [angle.sin(), angle.cos()], 1)

    def evaluate(self, x, embedding):
        temb = self.time_embedding["linear_1"](embedding.to(self.conv_in.weight.dtype))
        temb = self.time_embedding["linear_2"](F.silu(temb))
        x = self.conv_in(x)
        skips = [x]
        for level in self.down_blocks:
            for i in range(len(level.resnets)):
                x = level.step(i, x, temb)
                skips.append(x)
            if hasattr(level, "downsamplers"):
                x = level.downsamplers[0](x, temb)
                skips.append(x)
        for i in range(2):
            x = self.mid_block.step(i, x, temb)
        for level in self.up_blocks:
            for i in range(len(level.resnets)):
                x = level.step(i, torch.cat([x, skips.pop()], 1), temb)
            if hasattr(level, "upsamplers"):
                x = level.upsamplers[0](x, temb)
        return self.conv_out(F.silu(self.conv_norm_out(x)))

    def forward(self, x, t):
        return self.evaluate(x, self.embed(t))


def to_diffusers(state):
    result = {}
    for name, value in state.items():
        if ".to_qkv." in name:
            for part, piece in zip("qkv", value.chunk(3)):
                result[name.replace(".to_qkv.", f".to_{part}.")] = piece.contiguous()
        else:
            result[name.replace(".to_out.", ".to_out.0.")] = value.contiguous()
    return result


def from_diffusers(tensors):
    result = {}
    for name, value in tensors.items():
        if ".to_q." in name:
            parts = [tensors[name.replace(".to_q.", f".to_{p}.")] for p in "qkv"]
            result[name.replace(".to_q.", ".to_qkv.")] = torch.cat(parts)
        elif ".to_k." not in name and ".to_v." not in name:
            result[name.replace(".to_out.0.", ".to_out.")] = value
    return result


def config_of(size, widths, blocks, attention, head, adm=False):
    """diffusers' unet/config.json."""
    kinds = ["Attn" if size >> i in attention else "Resnet" if adm else "" for i in range(len(widths))]
    ends = {"Attn": "Block2D", "": "Block2D", "Resnet": "sampleBlock2D"}
    config = {"_class_name": "UNet2DModel", "sample_size": size, "in_channels": 3, "out_channels": 3,
              "layers_per_block": blocks, "block_out_channels": list(widths), "norm_num_groups": 32, "norm_eps": 1e-6,
              "down_block_types": [k + "Down" + ends[k] for k in kinds],
              "up_block_types": [k + "Up" + ends[k] for k in reversed(kinds)], "attention_head_dim": head,
              "downsample_padding": 0, "flip_sin_to_cos": False, "freq_shift": 1, "act_fn": "silu"}
    if adm:
        config |= {"out_channels": 6, "norm_eps": 1e-5, "flip_sin_to_cos": True, "freq_shift": 0,
                   "resnet_time_scale_shift": "scale_shift", "downsample_type": "resnet", "upsample_type": "resnet"}
    return config


def load(folder, dtype=torch.float32):
    """The network of a folder that prepare.py wrote, without a second copy of its weights on the way."""
    from safetensors.torch import load_file

    folder = pathlib.Path(folder)
    with torch.device("meta"):
        net = UNet(**NETWORKS[network_name(folder)])
    state = from_diffusers(load_file(folder / "unet" / "diffusion_pytorch_model.safetensors"))
    net.load_state_dict({name: value.to(dtype) for name, value in state.items()}, assign=True)
    return net


def network_name(folder):
    return json.loads((pathlib.Path(folder) / "network.json").read_text())["name"]
