"""What is compared: the rows of the table, who competes in each, and what is asked of us."""
import dataclasses

NETWORKS = {"ddpm-cifar10": "DDPM CIFAR-10", "unet-64": "64x64 U-Net", "adm-ffhq-256": "ADM FFHQ 256"}
ENGINES = ("onnxruntime", "openvino", "ncnn")
EAGER = ("torch contiguous", "torch channels_last")
LOW = ("torch bf16 weights", "torch bf16 autocast", "torch bf16 compiled")


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Our time (or memory) against the best of some peers: peer / ours must reach the gate and should the goal."""

    against: tuple
    gate: float
    goal: float
    of: str = "time"  # or "memory": ours / peer must not exceed
    what: str = ""


@dataclasses.dataclass(frozen=True)
class Row:
    key: str
    network: str
    mode: str
    batch: int
    precision: str = "f32"
    seconds: float = 1.0  # that each contestant gets a round
    peers: tuple = EAGER
    verdicts: tuple = ()

    @property
    def title(self):
        name = {"sample": "sampling step", "dps": "DPS step", "train": "training step",
                "start": "start to first sample, DDIM 50"}[self.mode]
        return f"{NETWORKS[self.network]}: {name} {self.precision}, batch {self.batch}"


def memory(gate=0.5, goal=0.35):
    return Verdict(EAGER, gate, goal, "memory", "memory, PyTorch eager")


def eager(gate, goal):
    return Verdict(EAGER, gate, goal, "time", "PyTorch eager, better layout")


FASTEST = ("torch compiled",) + ENGINES


def fastest(gate, goal):
    return Verdict(FASTEST, gate, goal, "time", "fastest of compiled PyTorch and engines")


def low(gate, goal):
    return Verdict(EAGER + LOW, gate, goal, "time", "faster of PyTorch's f32 and bf16")


CIFAR = "ddpm-cifar10"
ROWS = [
    Row("sample-f32-1", CIFAR, "sample", 1, "f32", 1, EAGER + FASTEST, (eager(1.8, 2.5), fastest(1.4, 2.2), memory())),
    Row("sample-f32-4", CIFAR, "sample", 4, "f32", 1, EAGER + ("torch compiled",), (eager(1.7, 2.4), memory())),
    Row("sample-f32-16", CIFAR, "sample", 16, "f32", 2, EAGER + FASTEST,
        (eager(1.6, 2.3), fastest(1.4, 2.0), memory())),
    Row("sample-bf16-1", CIFAR, "sample", 1, "bf16", 1, EAGER + LOW + ("openvino bf16",), (low(1.6, 2.4), memory())),
    Row("sample-bf16-16", CIFAR, "sample", 16, "bf16", 2, EAGER + LOW + ("openvino bf16",),
        (low(1.3, 2.0), memory())),
    Row("dps-f32-1", CIFAR, "dps", 1, "f32", 1, EAGER + ("torch compiled",), (eager(1.8, 2.6), memory())),
    Row("dps-f32-4", CIFAR, "dps", 4, "f32", 1.5, EAGER, (eager(1.8, 2.6), memory())),
    Row("dps-f32-16", CIFAR, "dps", 16, "f32", 2, EAGER, (eager(1.7, 2.6), memory())),
    Row("train-f32-4", CIFAR, "train", 4, "f32", 2, EAGER + ("torch compiled",), (eager(1.6, 2.4), memory())),
    Row("train-f32-16", CIFAR, "train", 16, "f32", 2, EAGER, (eager(1.6, 2.4), memory())),
    Row("start-f32-1", CIFAR, "start", 1, "f32", 0, EAGER + ("onnxruntime", "openvino"), (eager(3, 5), memory())),
    Row("unet64-sample-f32-1", "unet-64", "sample", 1, "f32", 1, EAGER, (eager(1.5, 1.5), memory())),
    Row("unet64-dps-f32-1", "unet-64", "dps", 1, "f32", 1, EAGER, (eager(1.5, 1.5), memory())),
    Row("unet64-train-f32-4", "unet-64", "train", 4, "f32", 1, EAGER, (eager(1.5, 1.5), memory())),
    Row("adm-sample-f32-1", "adm-ffhq-256", "sample", 1, "f32", 1, EAGER, (eager(1.5, 1.5), memory())),
    Row("adm-dps-f32-1", "adm-ffhq-256", "dps", 1, "f32", 1, EAGER, (eager(1.5, 1.5), memory())),
]
CONVOLUTIONS = {"convs-1": 1, "convs-16": 16}
# FLOP of a step over those of an evaluation: the data gradient costs as much as the forward pass, so does the other.
PASSES = {"sample": 1, "dps": 2, "train": 3, "start": 50}


def command(contestant, row, settings, outputs=None):
    """The process of a contestant that waits for "run SECONDS"."""
    model = f"{settings['work']}/{row.network}"
    threads = str(settings["threads"])
    if contestant == "ours":
        return [f"{settings['bin']}/tw-bench", "net", "--model", model, "--mode", row.mode, "--batch", str(row.batch),
                "--precision", row.precision, "--threads", threads, "--interactive", "--json", outputs + ".json"]
    kind = contestant.split()[0]
    words = contestant.split()[1:]
    arguments = [settings["python"], f"bench/peers/{kind}_peer.py", "--model", model, "--mode", row.mode, "--batch",
                 str(row.batch), "--threads", threads]
    if kind == "torch":
        if "contiguous" in words:
            arguments += ["--layout", "contiguous"]
        arguments += ["--compile"] * ("compiled" in words) + ["--autocast"] * ("autocast" in words)
    if "bf16" in words:
        arguments += ["--precision", "bf16"]
    if outputs:
        arguments += ["--inputs", f"{model}/inputs-{row.batch}.safetensors", "--outputs", outputs + ".safetensors"]
    return arguments


def check_command(row, settings, outputs):
    model = f"{settings['work']}/{row.network}"
    return [f"{settings['bin']}/tw-bench", "check", "--model", model, "--mode", row.mode, "--precision", row.precision,
            "--threads", str(settings["threads"]), "--inputs", f"{model}/inputs-{row.batch}.safetensors", "--outputs",
            outputs + ".safetensors"]


def start_command(contestant, row, settings, outputs):
    model, threads = f"{settings['work']}/{row.network}", str(settings["threads"])
    start = f"{model}/start.safetensors"
    if contestant == "ours":
        return [f"{settings['bin']}/tw-sample", "--model", model, "--inject", start, "--sampler", "ddim", "--steps",
                "50", "--threads", threads, "--quiet", "--out", outputs, "--save-tensor", outputs + ".safetensors"]
    arguments = [settings["python"], "bench/peers/start_peer.py", "--engine", contestant.split()[0], "--model", model,
                 "--threads", threads, "--start", start, "--out", outputs + ".png"]
    return arguments + (["--layout", contestant.split()[1]] if contestant.startswith("torch") else [])
