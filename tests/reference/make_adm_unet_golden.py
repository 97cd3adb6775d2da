"""Writes tests/golden/adm_unet.safetensors: what PyTorch computes for a small ADM U-Net (Dhariwal & Nichol 2021).

    python tests/reference/make_adm_unet_golden.py FIXTURE     (needs torch, safetensors)

FIXTURE is the folder guided_diffusion_tiny: weights and outputs of the original code. The network of bench/peers/unet.py
must reproduce them before it is asked for anything. In the file, in our layouts: weights "init/NAME" (f16, which is
what they are computed with), "x", "t", the weights "v" of the output's sum, the result "y", and the gradients "grad_x"
and "grad/NAME" (of the time projections and of one block that resamples).
"""
import json
import pathlib
import sys

import torch
from safetensors.torch import load_file, save_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench/peers"))
import unet  # noqa: E402

BLOCK = {"in_layers.0": "norm1", "in_layers.2": "conv1", "emb_layers.1": "time_emb_proj", "out_layers.0": "norm2",
         "out_layers.3": "conv2", "skip_connection": "conv_shortcut", "norm": "group_norm", "qkv": "to_qkv",
         "proj_out": "to_out"}


def heads_together(value, heads):
    """The rows of qkv from [head][q, k, v][d] to [q, k, v][head][d]."""
    rows = value.flatten(1) if value.dim() > 1 else value
    return rows.unflatten(0, (heads, 3, -1)).transpose(0, 1).flatten(0, 2)


def from_guided(state, net, blocks):
    """The parameters of guided-diffusion under the names of `net`."""
    places = {"time_embed.0": "time_embedding.linear_1", "time_embed.2": "time_embedding.linear_2",
              "input_blocks.0.0": "conv_in", "out.0": "conv_norm_out", "out.2": "conv_out",
              "middle_block.0": "mid_block.resnets.0", "middle_block.1": "mid_block.attentions.0",
              "middle_block.2": "mid_block.resnets.1"}
    index = 1
    for i, level in enumerate(net.down_blocks):
        for j in range(blocks):
            places[f"input_blocks.{index}.0"] = f"down_blocks.{i}.resnets.{j}"
            places[f"input_blocks.{index}.1"] = f"down_blocks.{i}.attentions.{j}"
            index += 1
        if hasattr(level, "downsamplers"):
            places[f"input_blocks.{index}.0"] = f"down_blocks.{i}.downsamplers.0"
            index += 1
    index = 0
    for i, level in enumerate(net.up_blocks):
        for j in range(blocks + 1):
            places[f"output_blocks.{index}.0"] = f"up_blocks.{i}.resnets.{j}"
            places[f"output_blocks.{index}.1"] = f"up_blocks.{i}.attentions.{j}"
            if j == blocks:
                places[f"output_blocks.{index}.{1 + (len(level.attentions) > 0)}"] = f"up_blocks.{i}.upsamplers.0"
            index += 1
    result = {}
    for name, value in state.items():
        place = next(p for p in sorted(places, key=len, reverse=True) if name.startswith(p + "."))
        rest, kind = name[len(place) + 1 :].rpartition(".")[::2]
        ours = ".".join(filter(None, (places[place], BLOCK.get(rest, rest), kind)))
        if rest == "qkv":
            module = net.get_submodule(places[place])
            value = heads_together(value, module.heads)
        elif rest == "proj_out" and kind == "weight":
            value = value[:, :, 0]
        result[ours] = value
    return result


def check_against(fixture):
    flags = json.loads((fixture / "model_flags.json").read_text())["model_flags"]
    widths = tuple(flags["num_channels"] * int(m) for m in flags["channel_mult"].split(","))
    net = unet.UNet(flags["image_size"], widths, flags["num_res_blocks"],
                    tuple(int(r) for r in flags["attention_resolutions"].split(",")), flags["num_head_channels"], True)
    state = torch.load(fixture / "model.pt", map_location="cpu", weights_only=True)
    net.load_state_dict(from_guided(state, net, flags["num_res_blocks"]))
    expected = load_file(fixture / "expected.safetensors")
    for name, y in expected.items():
        if name.startswith("unet_t"):
            with torch.no_grad():
                mine = net(expected["x_T"], torch.full((len(expected["x_T"]),), float(name[6:])))
            error = float((mine - y).abs().max())
            print(f"{name}: {error:.1e} from the original")
            assert error < 1e-5, name


def ours(name, value):
    """(out, in, kh, kw) -> (kh, kw, in, out), (out, in) -> (in, out)."""
    if value.dim() == 4:
        value = value.permute(2, 3, 1, 0)
    elif value.dim() == 2:
        value = value.t()
    return name, value.contiguous()


def main():
    check_against(pathlib.Path(sys.argv[1]))
    torch.manual_seed(0)
    net = unet.UNet(8, (32, 32), 1, (4,), 16, True)
    for name, parameter in net.named_parameters():
        if parameter.dim() == 1:  # norms and biases start as nothing: every parameter shall be seen
            torch.nn.init.normal_(parameter, 1.0 * name.endswith("weight"), 0.3)
        parameter.data = parameter.data.half().float()
    init = dict(ours("init/" + n, p.data.half()) for n, p in net.named_parameters())
    net.double()
    x, v = (torch.randn(2, c, 8, 8, dtype=torch.double).float().double() for c in (3, 6))
    t = torch.tensor([17.0, 803.0])
    x.requires_grad_()
    y = net(x, t.double())
    (y * v).sum().backward()
    wanted = ("time_emb_proj.weight", "downsamplers.0.conv1.weight", "upsamplers.0.norm2.bias", "conv_in.weight")
    grads = dict(ours("grad/" + n, p.grad.float()) for n, p in net.named_parameters() if n.endswith(wanted))
    nhwc = {name: value.detach().permute(0, 2, 3, 1).contiguous().float()
            for name, value in {"x": x, "v": v, "y": y, "grad_x": x.grad}.items()}
    save_file(init | grads | nhwc | {"t": t}, ROOT / "tests/golden/adm_unet.safetensors")


if __name__ == "__main__":
    main()
