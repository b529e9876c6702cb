"""Graphs of a few operators, and the values that they are run with.

A family (`families/*.py`) is a function `graphs(rng)` that yields `Graph`s. Most are made by `single`: one operator, its
arguments, attributes and opset. An argument is an `Arg` (an input of the graph, whose values each set of feeds draws), a
numpy array (a constant) or None (an optional input that is left out).
"""
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

F16, F32, F64 = np.float16, np.float32, np.float64
FLOATS = (F16, F32, F64)
INTS = (np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64)
NUMBERS = FLOATS + INTS
BOOL, TEXT = np.bool_, np.object_

# The operator's first version in each opset that this harness asks for: the opsets from 7 on that change it.
NEWEST = 21


@dataclass
class Arg:
    """An input of a graph: its type, its sizes (None: the rows), and how its values are drawn."""
    dtype: type = F32
    dims: tuple = (None, 4)
    kind: str = "mixed"
    # Draws the values itself: `(rng, shape) -> array`.
    draw: object = None


@dataclass
class Feed:
    """The inputs of one run. `scale` bounds the sums behind each output (Σ|terms|): None is the output itself, a number
    or one array for each output; where it is NaN, any value will do, for the reason `exempt`."""
    inputs: list
    scale: object = None
    exempt: str = ""


@dataclass
class Graph:
    operator: str
    note: str
    model: onnx.ModelProto
    feeds: list
    # Whether the first dimension of every input and output is the rows.
    rows: bool = True
    # `(inputs, outputs) -> (scale, exempt)` for feeds without a scale of their own.
    judge: object = None
    # `(inputs, outputs) -> (outputs, reason)`: what the standard says where ONNX Runtime departs from it.
    standard: object = None
    answers: list = field(default_factory=list)


def by_reference(model, reason, places=(0,)):
    """Takes these outputs from the standard's reference implementation instead of from ONNX Runtime."""
    evaluator = []

    def standard(inputs, outputs):
        if not evaluator:
            evaluator.append(ReferenceEvaluator(model))
        right = evaluator[0].run(None, dict(zip([value.name for value in model.graph.input], inputs)))
        right = [np.asarray(one).astype(other.dtype).reshape(other.shape) if place in places else other
                 for place, (one, other) in enumerate(zip(right, outputs))]
        same = all(np.array_equal(one, other, equal_nan=other.dtype.kind == "f") for one, other in zip(right, outputs))
        return right, "" if same else reason
    return standard


def specials(dtype):
    """The values of a type that break things."""
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        info = np.finfo(dtype)
        tiny, big = info.smallest_subnormal, {2: 3e4, 4: 1e30, 8: 1e300}[dtype.itemsize]
        values = [np.nan, np.inf, -np.inf, 0.0, -0.0, tiny, -tiny, info.tiny, 100, -100, big, -big, 1, -1, 0.5, -2.5,
                  18.5, -30, 88.8, -104, 1e-4, 3.5]
        return np.array(values, dtype)
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        values = [info.min, info.max, info.min + 1, info.max - 1, 0, 1, 2, 3, 7, 100]
        return np.array(values + ([-1, -2, -7, -100] if dtype.kind == "i" else []), dtype)
    if dtype.kind == "b":
        return np.array([False, True])
    return np.array(["", "a", "Ab c", "a\nb", "äöü ß", "日本語", "1", " x "], object)


def draw(rng, dtype, shape, kind="mixed"):
    """Values of a type. Kinds: `plain` (near zero), `special`, `mixed` (plain and special), `large` (finite, ±100 to
    ±1e30), `positive`, `unit` (0 to 1), `small` (whole numbers)."""
    dtype = np.dtype(dtype)
    count = int(np.prod(shape, dtype=np.int64))
    if dtype.kind in "bO" or kind == "special":
        return rng.choice(specials(dtype), count).reshape(shape).astype(dtype)
    if dtype.kind == "f":
        plain = rng.standard_normal(count) * 2
        if kind == "positive":
            plain = np.abs(plain) + 0.1
        if kind == "unit":
            plain = rng.random(count)
        if kind == "small":
            plain = np.rint(plain * 2)
        if kind == "large":
            top = {2: 3.5, 4: 30, 8: 200}[dtype.itemsize]
            plain = rng.choice([-1, 1], count) * 10.0 ** rng.uniform(1, top, count)
    else:
        low = 0 if dtype.kind == "u" or kind in ("positive", "unit") else -6
        plain = rng.integers(low + (kind == "positive"), 7, count)
    values = plain.astype(dtype)
    if kind == "mixed":
        values = np.where(rng.random(count) < 0.35, rng.choice(specials(dtype), count), values).astype(dtype)
    return values.reshape(shape)


def sized(dims, rows):
    return tuple(rows if dim is None else dim for dim in dims)


def value_info(name, dtype, dims):
    kind = TensorProto.STRING if np.dtype(dtype).kind == "O" else helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return helper.make_tensor_value_info(name, kind, ["N" if dim is None else dim for dim in dims])


def model_of(nodes, inputs, outputs, constants, opset, ml=None):
    """A model of these nodes; `inputs` are name, type and sizes; `constants` arrays by name."""
    domains = {node.domain for node in nodes}
    imports = [helper.make_opsetid("", opset)]
    if "ai.onnx.ml" in domains:
        imports.append(helper.make_opsetid("ai.onnx.ml", ml or 3))
    if "com.microsoft" in domains:
        imports.append(helper.make_opsetid("com.microsoft", 1))
    tensors = [
        helper.make_tensor(name, TensorProto.STRING, np.shape(value), [text.encode() for text in np.ravel(value)])
        if np.asarray(value).dtype.kind in "OU" else numpy_helper.from_array(np.asarray(value), name)
        for name, value in constants.items()
    ]
    graph = helper.make_graph(
        nodes, "g", [value_info(*each) for each in inputs],
        [helper.make_empty_tensor_value_info(name) for name in outputs], tensors)
    model = helper.make_model(graph, opset_imports=imports, producer_name="")
    model.ir_version = 10
    return model


def feeds_of(rng, args, rows, kinds):
    """A set of inputs for each number of rows and each kind; the kind None is each argument's own."""
    made = []
    for count in rows:
        for kind in kinds:
            made.append(Feed([
                arg.draw(rng, sized(arg.dims, count)) if arg.draw
                else draw(rng, arg.dtype, sized(arg.dims, count), kind if kind and arg.kind == "mixed" else arg.kind)
                for arg in args]))
    return made


def single(rng, op, args, attrs=None, opset=17, domain="", outputs=1, rows=(1, 3), kinds=("plain", "special", None),
           is_rows=True, judge=None, note="", feeds=None, ml=None, name=None):
    """One operator. With `is_rows=False` the sizes are taken as they are (all given)."""
    attrs = {key: value for key, value in (attrs or {}).items() if value is not None}
    inputs, constants, names = [], {}, []
    for place, arg in enumerate(args):
        if arg is None:
            names.append("")
            continue
        names.append(f"{'x' if isinstance(arg, Arg) else 'c'}{place}")
        if isinstance(arg, Arg):
            inputs.append((names[-1], arg.dtype, arg.dims))
        else:
            constants[names[-1]] = arg
    outs = [f"y{place}" for place in range(outputs)] if isinstance(outputs, int) else outputs
    node = helper.make_node(op, names, outs, domain=domain, **attrs)
    model = model_of([node], inputs, [out for out in outs if out], constants, opset, ml)
    used = [arg for arg in args if isinstance(arg, Arg)]
    if feeds is None:
        feeds = feeds_of(rng, used, rows if is_rows and any(None in arg.dims for arg in used) else (0,), kinds)
    types = ",".join(np.dtype(arg.dtype).name.replace("object", "string") for arg in used)
    shown = " ".join(f"{key}={str(value)[:24]}" for key, value in attrs.items() if not isinstance(value, onnx.TensorProto))
    text = f"opset {opset} {types} {[arg.dims for arg in used]} {shown} {note}"
    full = op if not domain else f"{domain}.{op}"
    return Graph(name or full, " ".join(text.split()), model, feeds, is_rows, judge)
