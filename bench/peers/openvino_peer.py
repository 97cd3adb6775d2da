#!/usr/bin/env python3
"""OpenVINO as a contestant: the network converted for a fixed batch, latency hint, f32 or bf16 by its own choice."""
import contest
import numpy
import openvino

PROGRAM_BYTES = contest.resident_bytes()


def load(folder, batch, threads, precision):
    core = openvino.Core()
    model = core.compile_model(f"{folder}/{batch}.xml", "CPU", {
        "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads})
    request = model.create_infer_request()
    return lambda x, t: numpy.array(request.infer([x, t])[0])


if __name__ == "__main__":
    import engine

    engine.main(__doc__, load, "openvino " + openvino.__version__.split("-")[0], PROGRAM_BYTES)
