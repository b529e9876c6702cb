"""Writes differential cases: graphs, inputs and what ONNX Runtime answers, for `src/differential.rs` to compare.

    python generate.py --out cases.bin [--sample sample.bin] [--seed N] [--repeat N] [--families a,b]

One case is one graph with one set of inputs. `--sample` keeps some cases of every operator, by the seed.
"""
import argparse
import importlib
import multiprocessing
import pathlib
import pickle
import pkgutil
import random
import struct
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime

import families

ort = onnxruntime
ort.set_default_logger_severity(4)
MAGIC = b"MGDIFF1\n"
# Graphs that one child runs: a crash of ONNX Runtime costs no more than this.
CHUNK = 200
SAMPLE_BYTES = 1_900_000


def run(graph):
    """ONNX Runtime's answers: for each feed a list of arrays, or the text of its refusal."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        session = ort.InferenceSession(graph.model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        return str(error)
    names = [value.name for value in session.get_inputs()]
    answers = []
    for feed in graph.feeds:
        try:
            answers.append([np.asarray(out) for out in session.run(None, dict(zip(names, feed.inputs)))])
        except Exception as error:
            answers.append(str(error))
    return answers


def work(graphs, path):
    with open(path, "ab", buffering=0) as out:
        for graph in graphs:
            out.write(pickle.dumps(run(graph)))


def run_all(graphs):
    """The answers for each graph; the text "crash" where ONNX Runtime ended its process."""
    context = multiprocessing.get_context("fork")
    answers = []
    while len(answers) < len(graphs):
        some = graphs[len(answers):len(answers) + CHUNK]
        with tempfile.NamedTemporaryFile() as file:
            child = context.Process(target=work, args=(some, file.name))
            child.start()
            child.join(120)
            if child.is_alive():
                child.kill()
                child.join()
            with open(file.name, "rb") as done:
                while True:
                    try:
                        answers.append(pickle.load(done))
                    except (EOFError, pickle.UnpicklingError):
                        break
        if child.exitcode:
            answers.append("crash")
    return answers


def text(value):
    data = value.encode()
    return struct.pack("<I", len(data)) + data


def tensor(array):
    array = np.asarray(array)
    kind = onnx.TensorProto.STRING if array.dtype.kind in "OU" else onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
    head = struct.pack("<BB", kind, array.ndim) + b"".join(struct.pack("<I", size) for size in array.shape)
    if array.dtype.kind in "OU":
        return head + b"".join(text(str(value)) for value in array.ravel())
    return head + np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes()


def scale_of(scale, place, output):
    """The bound of one output's terms."""
    if scale is None:
        return struct.pack("<B", 0)
    scale = scale[place] if isinstance(scale, (list, tuple)) else scale
    if scale is None:
        return struct.pack("<B", 0)
    scale = np.asarray(scale, np.float64)
    if scale.ndim == 0:
        return struct.pack("<Bd", 1, float(scale))
    return struct.pack("<B", 2) + np.broadcast_to(scale, output.shape).astype("<f8").tobytes()


def encode(graph, answers, kept=None):
    """A graph with its sets of inputs; `kept` says which."""
    sets = []
    for place, (feed, outputs) in enumerate(zip(graph.feeds, answers)):
        if kept is not None and place not in kept:
            continue
        data = struct.pack("<B", len(feed.inputs)) + b"".join(map(tensor, feed.inputs))
        if isinstance(outputs, str):
            sets.append(data + struct.pack("<B", 0) + text(outputs[:120]))
            continue
        scale, exempt, departure = feed.scale, feed.exempt, ""
        with np.errstate(all="ignore"):
            if graph.standard:
                outputs, departure = graph.standard(feed.inputs, outputs)
            if graph.judge and scale is None:
                scale, exempt = graph.judge(feed.inputs, outputs)
        exempt = "; ".join(reason for reason in (departure, exempt) if reason)
        data += struct.pack("<BB", 1, len(outputs))
        data += b"".join(tensor(output) + scale_of(scale, at, output) for at, output in enumerate(outputs))
        sets.append(data + text(exempt))
    model = graph.model.SerializeToString()
    head = text(graph.operator) + text(graph.note) + struct.pack("<BI", graph.rows, len(model)) + model
    record = head + struct.pack("<H", len(sets)) + b"".join(sets)
    return struct.pack("<I", len(record)) + record


def sample(found, seed):
    """Some sets of some graphs of every operator, until the file is large enough."""
    chooser = random.Random(seed)
    by_operator = {}
    for graph, answers in found:
        if not isinstance(answers, str) and any(not isinstance(answer, str) for answer in answers):
            by_operator.setdefault(graph.operator, []).append((graph, answers))
    for graphs in by_operator.values():
        chooser.shuffle(graphs)
    records, size, round_ = [], 0, 0
    while any(len(graphs) > round_ for graphs in by_operator.values()):
        for operator in sorted(by_operator):
            if len(by_operator[operator]) <= round_:
                continue
            graph, answers = by_operator[operator][round_]
            answered = [place for place, answer in enumerate(answers) if not isinstance(answer, str)]
            record = encode(graph, answers, set(chooser.sample(answered, min(3, len(answered)))))
            if len(record) > 6000:
                continue
            if size + len(record) > SAMPLE_BYTES:
                return records
            records.append(record)
            size += len(record)
        round_ += 1
    return records


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--out", type=pathlib.Path, required=True)
    options.add_argument("--sample", type=pathlib.Path)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--repeat", type=int, default=1, help="draw each family so often, with other seeds")
    options.add_argument("--families", help="only these, by commas")
    chosen = options.parse_args()
    names = sorted(module.name for module in pkgutil.iter_modules(families.__path__))
    names = [name for name in names if not chosen.families or name in chosen.families.split(",")]
    found, count = [], 0
    with open(chosen.out, "wb") as out:
        out.write(MAGIC)
        for name in names:
            family = importlib.import_module(f"families.{name}")
            graphs = []
            for repeat in range(chosen.repeat):
                rng = np.random.default_rng([chosen.seed, repeat, *name.encode()])
                graphs += family.graphs(rng)
            answers = run_all(graphs)
            cases = refused = crashed = 0
            for graph, answer in zip(graphs, answers):
                if isinstance(answer, str):
                    crashed += answer == "crash"
                    if answer == "crash":
                        print("crash:", graph.operator, graph.note, file=sys.stderr)
                    refused += 1
                    if chosen.families and answer != "crash":
                        print("refused:", graph.operator, graph.note, answer[:160].replace("\n", " "), file=sys.stderr)
                    continue
                cases += sum(not isinstance(each, str) for each in answer)
                out.write(encode(graph, answer))
                found.append((graph, answer))
            count += cases
            print(f"{name}: {len(graphs)} graphs, {cases} cases; ONNX Runtime refuses {refused} graphs"
                  f" and crashes on {crashed}", flush=True)
    if chosen.sample:
        chosen.sample.write_bytes(MAGIC + b"".join(sample(found, chosen.seed)))
    print(f"{count} cases in {chosen.out}")


if __name__ == "__main__":
    main()
