"""How a peer answers to bench/compare: the protocol of `tw-bench net --interactive`.

Once warm it prints {"ready": true, ...}; a line "run SECONDS" asks for steps until they have taken that long, whose
durations are printed as {"seconds": [...]}; at the end of the input it prints its peak memory and ends.
"""
import argparse
import json
import resource
import sys
import time


def resident_bytes():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


def peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def options(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--model", required=True, help="folder that prepare.py wrote")
    parser.add_argument("--mode", choices=["sample", "dps", "train"], default="sample")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--inputs", help="x, t and v of the check (safetensors)")
    parser.add_argument("--outputs", help="its results are written here")
    return parser


def serve(step, program, threads, program_bytes, warm_up=3, **more):
    for _ in range(warm_up):
        step()
    tell({"ready": True, "program": program, "threads": threads, **more})
    for line in sys.stdin:
        wanted, spent, seconds = float(line.split()[1]), 0.0, []
        while not seconds or spent < wanted:
            begin = time.perf_counter()
            step()
            seconds.append(time.perf_counter() - begin)
            spent += seconds[-1]
        tell({"seconds": seconds})
    tell({"peak_rss_bytes": peak_bytes(), "program_bytes": program_bytes})


def tell(what):
    print(json.dumps(what), flush=True)


def ddpm_update(numpy, x, output, rng):
    """One DDPM step of an engine that returns arrays: x0 clipped, then the posterior's mean and noise."""
    abar, beta = 0.0786, 0.0101
    x0 = ((x - (1 - abar) ** 0.5 * output) / abar**0.5).clip(-1, 1)
    noise = rng.standard_normal(x.shape, dtype=numpy.float32)
    return x0, (x - beta / (1 - abar) ** 0.5 * output) / (1 - beta) ** 0.5 + beta**0.5 * noise
