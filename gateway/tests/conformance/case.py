"""One case of the matrix: a model, what it is fed, and what ONNX Runtime and the library that trained it say."""

import json
import warnings
from pathlib import Path

import numpy as np
import onnxruntime as ort

OUT = Path(__file__).resolve().parents[1] / "data/conformance"
MADE = []
SKIPPED = []


def plain(array):
    """JSON has no NaN or infinity: null and texts stand for them."""
    flat = np.asarray(array).ravel()
    if flat.dtype.kind == "f":
        # Nine digits give a single back, seventeen a double.
        digits = 9 if flat.dtype == np.float32 else 17
        return [None if np.isnan(v) else ("inf" if v > 0 else "-inf") if np.isinf(v) else float(f"{v:.{digits}g}") for v in flat]
    return [v.item() if hasattr(v, "item") else v for v in flat]


def described(name, array):
    array = np.asarray(array)
    kind = "str" if array.dtype.kind in "OUS" else array.dtype.name
    return {"name": name, "type": kind, "shape": list(array.shape), "values": plain(array)}


def zipped(value):
    """A list of maps, which ZipMap makes, as a matrix."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return np.array([list(row.values()) for row in value], np.float32)
    return np.asarray(value)


def case(name, family, convert, feeds, library, tolerance=1e-5, note="", whole=False):
    """Converts a model and keeps it with the answers. `library` gives the library's own answer for each output, None
    where it has none. `tolerance` is relative, of scores; labels have to be equal. `whole` says that parts of the batch
    would have other shapes."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            onx = convert()
    except Exception as error:  # a converter that cannot is no case of ours
        SKIPPED.append((name, f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"))
        return
    onx.graph.name = "g"
    # Converters list operator sets in an order that changes from run to run.
    sets = sorted(((each.domain, each.version) for each in onx.opset_import))
    del onx.opset_import[:]
    for domain, version in sets:
        onx.opset_import.add(domain=domain, version=version)
    data = onx.SerializeToString()
    options = ort.SessionOptions()
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        values = [zipped(value) for value in session.run(None, feeds)]
    except Exception as error:
        SKIPPED.append((name, f"ONNX Runtime: {' '.join(str(error).split())[:160]}"))
        return
    outputs = [described(o.name, v) for o, v in zip(session.get_outputs(), values)]
    library = [None if value is None else described("", value) for value in library()]
    library += [None] * (len(outputs) - len(library))
    operators = sorted({(f"{n.domain}." if n.domain not in ("", "ai.onnx.ml") else "") + n.op_type for n in onx.graph.node})
    content = {
        "family": family,
        "note": note,
        "whole": whole,
        "tolerance": tolerance,
        "operators": operators,
        "inputs": [described(name, value) for name, value in feeds.items()],
        "outputs": outputs,
        "library": library,
    }
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / f"{name}.onnx").write_bytes(data)
    (OUT / f"{name}.json").write_text(json.dumps(content, separators=(",", ":"), ensure_ascii=False))
    MADE.append(name)
