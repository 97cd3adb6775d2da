"""What the inference engines share: a sampling step of a network that takes and gives numpy arrays."""
import json

import contest
import numpy


def read_safetensors(path):
    """f32 tensors only, without PyTorch in the process."""
    data = open(path, "rb").read()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    return {name: numpy.frombuffer(data[8 + length :], numpy.float32,
                                   (entry["data_offsets"][1] - entry["data_offsets"][0]) // 4,
                                   entry["data_offsets"][0]).reshape(entry["shape"])
            for name, entry in header.items()}


def write_safetensors(path, name, array):
    array = numpy.ascontiguousarray(array, numpy.float32)
    header = json.dumps({name: {"dtype": "F32", "shape": array.shape, "data_offsets": [0, array.nbytes]}}).encode()
    with open(path, "wb") as out:
        out.write(len(header).to_bytes(8, "little") + header + array.tobytes())


def main(description, load, program, program_bytes):
    options = contest.options(description).parse_args()
    assert options.mode == "sample", "inference engines only sample"
    evaluate = load(options.model, options.batch, options.threads, options.precision)
    if options.inputs:
        given = read_safetensors(options.inputs)
        write_safetensors(options.outputs, "y", evaluate(given["x"], given["t"]))
    rng = numpy.random.default_rng(0)
    size = json.load(open(f"{options.model}/unet/config.json"))["sample_size"]
    x = rng.standard_normal((options.batch, 3, size, size), dtype=numpy.float32)
    t = numpy.full(options.batch, 500, numpy.float32)

    def step():
        contest.ddpm_update(numpy, x, evaluate(x, t), rng)

    contest.serve(step, program, options.threads, program_bytes)
