"""CPU time of a model in ONNX Runtime with one thread, at 1, 64 and 1,024 rows; see forest.py.

Included is what a call from Python costs at least: the better of a plain `run` and one with bound, preallocated inputs
and outputs. (Measured: the call itself is 2 to 4 µs of the figure at one row.)
"""

import json
import sys
import time

import numpy as np
import onnxruntime as ort

SECONDS = 0.5


def main(model, rows):
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    start = time.perf_counter()
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    result = {"load_ms": (time.perf_counter() - start) * 1e3}
    name, width = session.get_inputs()[0].name, session.get_inputs()[0].shape[1]
    rows = np.fromfile(rows, np.float32).reshape(-1, width)
    for size in (1, 64, 1024):
        batches = [rows[i : i + size] for i in range(0, len(rows) - size + 1, size)]
        result[size] = min(plain(session, name, batches), bound(session, name, batches))
    print(json.dumps(result))


def measure(call, batches):
    for batch in batches:
        call(batch)
    start, cpu, calls = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - start < SECONDS:
        for batch in batches:
            call(batch)
        calls += len(batches)
    return (time.process_time() - cpu) * 1e6 / calls


def plain(session, name, batches):
    return measure(lambda batch: session.run(None, {name: batch}), batches)


def bound(session, name, batches):
    """Inputs and outputs bound beforehand: a call is a call, and its outputs go where they went before."""
    bindings = []
    for batch in batches:
        binding = session.io_binding()
        binding.bind_input(name, "cpu", 0, np.float32, batch.shape, batch.ctypes.data)
        for output, value in zip(session.get_outputs(), session.run(None, {name: batch})):
            binding.bind_ortvalue_output(output.name, ort.OrtValue.ortvalue_from_numpy(value))
        bindings.append(binding)
    try:
        return measure(session.run_with_iobinding, bindings)
    except RuntimeError:
        return float("inf")  # Some exports declare outputs of one row, which binding holds them to.


if __name__ == "__main__":
    main(*sys.argv[1:3])
