#!/usr/bin/env python3
"""PyTorch as a contestant: eager or compiled, contiguous or channels last, f32 or bf16.

sample: one network evaluation and one DDPM update, in inference mode.
dps:    the same with the gradient of a masked residual norm to x_t; weights frozen.
train:  noise, forward, backward, gradient clipping at 1, Adam.
"""
import math
import warnings

import contest

warnings.filterwarnings("ignore")
import torch  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

import unet  # noqa: E402

PROGRAM_BYTES = contest.resident_bytes()
ABAR, BETA, LOG_SMALL = 0.0786, 0.0101, math.log(0.01)


def check(evaluate, net, options, memory_format):
    """The step on given inputs, for comparison with the oracle (see tw-bench check)."""
    from safetensors.torch import load_file, save_file

    given = load_file(options.inputs)
    x = given["x"].contiguous(memory_format=memory_format)
    if options.mode == "sample":
        with torch.inference_mode():
            results = {"y": evaluate(x, given["t"]).float()}
    elif options.mode == "dps":
        x.requires_grad_()
        y = evaluate(x, given["t"])
        results = {"y": y.detach(), "dx": torch.autograd.grad((y * given["v"]).sum(), x)[0]}
    else:
        y = evaluate(x, given["t"])
        loss = F.mse_loss(y, given["v"])
        loss.backward()
        results = {"y": y.detach(), "loss": loss.detach(), "dw": net.conv_in.weight.grad.clone()}
        net.zero_grad(set_to_none=True)
    save_file({name: value.contiguous().clone() for name, value in results.items()}, options.outputs)


def make_step(evaluate, net, options, memory_format):
    size = unet.NETWORKS[options.network]["size"]
    x = torch.randn(options.batch, 3, size, size).contiguous(memory_format=memory_format)
    t = torch.full((options.batch,), 500.0)
    if options.mode == "train":
        optimiser = torch.optim.Adam(net.parameters(), lr=2e-4)

        def step():
            noise = torch.randn_like(x)
            loss = F.mse_loss(evaluate(ABAR**0.5 * x + (1 - ABAR) ** 0.5 * noise, t).float(), noise)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()

        return step
    mask = (torch.rand(1, 1, size, size) < 0.5).float()

    def update(x, output):
        std = BETA**0.5
        if output.shape[1] == 6:  # the variance is learned, as its logarithm between two bounds
            output, part = output.chunk(2, 1)
            std = torch.exp(0.5 * (LOG_SMALL + (part.detach() + 1) / 2 * (math.log(BETA) - LOG_SMALL)))
        x0 = ((x - (1 - ABAR) ** 0.5 * output) / ABAR**0.5).clamp(-1, 1)
        return x0, (x - BETA / (1 - ABAR) ** 0.5 * output) / (1 - BETA) ** 0.5 + std * torch.randn_like(x)

    def sample():
        with torch.inference_mode():
            update(x, evaluate(x, t).float())

    def dps():
        x_t = x.detach().requires_grad_()
        x0, following = update(x_t, evaluate(x_t, t).float())
        loss = (mask * (x - x0)).flatten(1).norm(dim=1).sum()
        (gradient,) = torch.autograd.grad(loss, x_t)
        return following.detach() - gradient

    return sample if options.mode == "sample" else dps


def main():
    parser = contest.options(__doc__)
    parser.add_argument("--layout", choices=["contiguous", "channels_last"], default="channels_last")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--autocast", action="store_true", help="bf16 by autocast instead of bf16 weights")
    options = parser.parse_args()
    options.network = unet.network_name(options.model)
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    low = options.precision == "bf16"
    cast = low and not (options.autocast or options.mode == "train")
    net = unet.load(options.model, torch.bfloat16 if cast else torch.float32)
    memory_format = torch.contiguous_format if options.layout == "contiguous" else torch.channels_last
    net.to(memory_format=memory_format)
    if options.mode != "train":
        net.requires_grad_(False)
        net.eval()
    call = torch.compile(net) if options.compile else net

    def evaluate(x, t):
        if cast:
            return call(x.to(torch.bfloat16), t)
        if low:
            with torch.autocast("cpu", torch.bfloat16):
                return call(x, t)
        return call(x, t)

    if options.inputs:
        check(evaluate, net, options, memory_format)
    step = make_step(evaluate, net, options, memory_format)
    contest.serve(step, "torch " + torch.__version__, torch.get_num_threads(), PROGRAM_BYTES,
                  weight_bytes=sum(p.numel() * p.element_size() for p in net.parameters()))


if __name__ == "__main__":
    main()
