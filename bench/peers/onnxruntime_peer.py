#!/usr/bin/env python3
"""ONNX Runtime as a contestant: the network exported for a fixed batch, all graph optimisations."""
import contest
import onnxruntime

PROGRAM_BYTES = contest.resident_bytes()


def load(folder, batch, threads, precision):
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = onnxruntime.InferenceSession(f"{folder}/{batch}.onnx", settings, ["CPUExecutionProvider"])
    return lambda x, t: session.run(None, {"x": x, "t": t})[0]


if __name__ == "__main__":
    import engine

    engine.main(__doc__, load, "onnxruntime " + onnxruntime.__version__, PROGRAM_BYTES)
