"""CPU time of a model in ONNX Runtime with one thread; see operators.py.

Included is what a call from Python costs at least: the better of a plain `run` and one with bound, preallocated inputs
and outputs. (Measured: the call itself is 2 to 4 µs of the figure at one row.)
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort

SECONDS = 0.5
# From loading to looking at what stays resident, as for ours.
SETTLED = 2.0


def rss_mib():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


def peak_mib():
    status = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith("VmHWM:")).split()[1]) / 2**10


def main(model, rows, sizes):
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # What the library itself takes on its first session is not the model's.
    ort.InferenceSession(TINY, options, providers=["CPUExecutionProvider"])
    before = rss_mib()
    start = time.perf_counter()
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    load_ms = (time.perf_counter() - start) * 1e3
    time.sleep(SETTLED)
    result = {"load_ms": load_ms, "grown_mib": rss_mib() - before, "peak_mib": peak_mib() - before}
    kinds = {"tensor(string)": object, "tensor(int64)": np.int64, "tensor(double)": np.float64}
    described = {one["name"]: one for one in json.loads(Path(rows).read_text())}
    feeds = {}
    for one in session.get_inputs():
        values = described[one.name]
        feeds[one.name] = np.array(values["values"], kinds.get(one.type, np.float32)).reshape(-1, values["width"])
    count = len(next(iter(feeds.values())))
    for size in map(int, sizes.split(",")):
        starts = range(0, count - size + 1, size)
        batches = [{name: array[start : start + size] for name, array in feeds.items()} for start in starts]
        result[size] = min(plain(session, batches), bound(session, batches))
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


def plain(session, batches):
    return measure(lambda batch: session.run(None, batch), batches)


def bound(session, batches):
    """Inputs and outputs bound beforehand: a call is a call, and its outputs go where they went before."""
    if any(array.dtype == object for array in batches[0].values()):
        return float("inf")  # Texts cannot be bound.
    bindings = []
    for batch in batches:
        binding = session.io_binding()
        for name, array in batch.items():
            binding.bind_input(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        for output, value in zip(session.get_outputs(), session.run(None, batch)):
            binding.bind_ortvalue_output(output.name, ort.OrtValue.ortvalue_from_numpy(value))
        bindings.append(binding)
    try:
        return measure(session.run_with_iobinding, bindings)
    except RuntimeError:
        return float("inf")  # Some exports declare outputs of one row, which binding holds them to.


def tiny():
    from onnx import TensorProto, helper

    value = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "g", [value("x")], [value("y")])
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


if __name__ == "__main__":
    TINY = tiny()
    main(*sys.argv[1:4])
