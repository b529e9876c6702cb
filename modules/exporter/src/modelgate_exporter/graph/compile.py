"""A fitted pipeline as one graph: what `tabular` cannot do is done by operators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import pandas as pd
from onnx import TensorProto

from ..errors import CannotExport
from ..frame import is_missing
from ..model import Names
from ..model import named as class_names
from .answers import answer
from .build import MISSING, Graph
from .checks import refusing
from .columns import Col, Context, NeedsTexts, Root, is_nan
from .foreign import Foreign, Stage
from .result import Result
from .steps import Columns

MATRIX = "X"


@dataclass
class Compiled:
    """A graph, the config of the module in front of it, and the outputs."""

    onnx: bytes
    tabular: dict[str, Any] | None
    """`None` where the graph takes texts and nothing else."""
    outputs: list[dict[str, Any]]
    inputs: list[dict[str, Any]]
    """Names, datatypes and `nullable`, as `tabular`'s config has them."""
    doubts: list[str]
    """Why some rows may be answered otherwise, one sentence for each step that leaves something open."""
    foreign: Stage | None = None
    """The stage in Python, where functions of the pipeline stand outside of the graph."""


@dataclass(frozen=True)
class Given:
    """The form in which the pipeline takes its rows."""

    framed: bool
    single: bool = False
    """One column by itself."""
    records: bool = False
    """A dictionary for each row, without what is missing."""
    may_lack: frozenset[str] = frozenset()
    """Columns that have no missing value in the sample, and may in a request."""


def compiled(pipeline: Any, frame: pd.DataFrame, datatypes: dict[str, str], given: Given, options: Any) -> Compiled:
    """The graph of a pipeline. Raises `CannotExport`, naming step, columns and remedy."""
    try:
        return _compiled(pipeline, frame, datatypes, given, options, texts=False)
    except NeedsTexts:
        return _compiled(pipeline, frame, datatypes, given, options, texts=True)


def _compiled(pipeline: Any, frame: pd.DataFrame, datatypes: dict[str, str], given: Given, options: Any, texts: bool) -> Compiled:
    graph = Graph()
    framed = given.framed
    context = Context(graph, options={"records": given.records})
    cols = [_column(name, frame[name], kind, framed) for name, kind in zip(frame.columns, datatypes.values(), strict=True)]
    cols = [_at(col, MATRIX, place) for place, col in enumerate(cols)]
    for place, col in enumerate(cols):
        # The bundle refuses a missing value before the graph has it.
        col.roots[0].lacks = col.roots[0].name in given.may_lack or bool(frame.iloc[:, place].isna().to_numpy().any())
    if texts:
        names = [col.roots[0].name for col in cols if datatypes[col.roots[0].name] == "bytes"]
        if MATRIX in names:
            raise CannotExport(f"cannot export column '{MATRIX}': a graph that takes texts calls its matrix so; give the column another name")
        graph.strings.inputs = {name: name for name in names}
        graph.strings.nullable = {name for name in names if name in given.may_lack or bool(frame[name].isna().to_numpy().any())}
    graph.foreign = _foreign(graph, cols, frame, datatypes, given)
    result = answer(pipeline, Columns(list(cols), framed, given.single), context)
    refusing(graph, result)
    frame, datatypes = graph.foreign.frame, graph.foreign.datatypes
    outputs, predict = _outputs(graph, result, options)
    graph.strings.complete()
    used, taken = _used(graph, outputs, cols)
    made = [one.name for one in graph.foreign.made if one.name in used | set(taken)]
    if not made and not used and taken and not graph.strings.nullable & set(taken):
        for name in taken:
            graph.input(name, TensorProto.STRING, 1)
        inputs = [{"name": name, "datatype": "bytes"} for name in taken]
        return Compiled(_finished(graph, outputs), None, predict, inputs, context.doubts)
    nullable = given.may_lack | graph.foreign.nullable
    tabular = _tabular(graph, cols, used | set(taken), frame, datatypes, nullable)
    if taken:
        # Behind the matrix, in the order of the module's outputs.
        tabular["texts"] = _texts(graph, taken)
    if made:
        stage = graph.foreign.stage(tabular["inputs"], made)
        return Compiled(_finished(graph, outputs), tabular, predict, stage.inputs, context.doubts, stage)
    return Compiled(_finished(graph, outputs), tabular, predict, tabular["inputs"], context.doubts)


def _foreign(graph: Graph, cols: list[Col], frame: pd.DataFrame, datatypes: dict[str, str], given: Given) -> Foreign:
    """The stage in Python, whose columns stand behind those of a request."""

    def column(name: str, values: pd.Series, datatype: str, nullable: bool) -> Col:
        col = _at(_column(name, values, datatype, True), MATRIX, len(cols))
        col.roots[0].lacks = nullable
        cols.append(col)
        if graph.strings.inputs is not None and datatype == "bytes":
            graph.strings.inputs[name] = name
            if nullable:
                graph.strings.nullable.add(name)
        return col

    named_ = frame.set_axis([str(name) for name in frame.columns], axis=1)
    return Foreign(named_, dict(datatypes), column, given.may_lack)


def _texts(graph: Graph, taken: list[str]) -> list[dict[str, Any]]:
    """The module's config for the texts that it hands on."""
    texts = []
    for name in taken:
        missing = {"missing": MISSING} if name in graph.strings.nullable else {}
        graph.input(name, TensorProto.STRING, 1)
        texts.append({"column": name, **missing})
    return texts


def _at(col: Col, tensor: str, place: int) -> Col:
    from dataclasses import replace

    return replace(col, tensor=tensor, place=place)


def _column(name: Any, values: pd.Series, datatype: str, framed: bool) -> Col:
    text = str(name)
    dtype = values.dtype
    kinds: dict[str, Any] = {"bytes": "category", "bool": "bool"}
    kind = "date" if pd.api.types.is_datetime64_any_dtype(dtype) else kinds.get(datatype, "number")
    root = Root(text, kind)
    shown = str(dtype)
    if datatype in ("bytes", "i64", "bool"):
        seen = dict.fromkeys(value for value in values if not is_missing(value))
        root.sample = list(seen) if len(seen) <= 2000 else []
    if isinstance(dtype, pd.CategoricalDtype):
        shown, root.categories = "category", list(dtype.categories)
    # None is a value to most steps, but only where the column is one of objects.
    none = dtype == object and any(value is None for value in values)
    label = name if framed else None
    words = root.vocabulary if kind == "category" else None
    return Col("", 0, kind, label, (root,), words, "none" if none else "nan", "", shown, True)


def _used(graph: Graph, outputs: Any, cols: list[Col]) -> tuple[set[str], list[str]]:
    """The inputs that the answer depends on: those of the matrix, and those that are texts."""
    nodes = {name: node for node in graph.nodes for name in node.output}
    texts = list(graph.strings.inputs or {})
    used: set[str] = set()
    seen: set[str] = set()
    pending = [tensor for _, tensor, *_ in outputs]
    constants = {tensor.name: tensor for tensor in graph.constants}
    while pending:
        name = pending.pop()
        if name in seen:
            continue
        seen.add(name)
        node = nodes.get(name)
        if node is None:
            continue
        if node.op_type == "Gather" and node.input[0] == MATRIX:
            places = onnx.numpy_helper.to_array(constants[node.input[1]]).ravel()
            used |= {cols[int(place)].roots[0].name for place in places}
            continue
        pending += node.input
    used |= {col.roots[0].name for col in cols if col.roots[0].strict}
    return used, [name for name in texts if name in seen]


def _tabular(graph: Graph, cols: list[Col], used: set[str], frame: pd.DataFrame, datatypes: dict[str, str], may_lack: frozenset[str]) -> dict[str, Any]:
    """The module's config: texts become codes, and what an encoder refuses is refused there."""
    kept = [place for place, col in enumerate(cols) if col.roots[0].name in used]
    blocks: list[dict[str, Any]] = []
    inputs = []
    for place in kept:
        root = cols[place].roots[0]
        entry: dict[str, Any] = {"name": root.name, "datatype": datatypes[root.name]}
        if root.name in may_lack or bool(frame.iloc[:, place].isna().to_numpy().any()):
            entry["nullable"] = True
            _one_mark(root, frame.iloc[:, place])
        if root.kind == "category":
            known: list[Any] = [*root.vocabulary.values, None]
            step = {"op": "ordinal", "categories": [known], "unknown": "value", "unknown_value": -1, "missing_value": None}
            blocks.append({"columns": [root.name], "steps": [step]})
            if not root.strict and root.name not in (graph.strings.inputs or {}):
                values = sorted({str(value) for value in frame.iloc[:, place] if not is_missing(value)})
                if len(values) <= 200:
                    entry["categories"] = values
        elif blocks and not blocks[-1]["steps"] and root.name not in blocks[-1]["columns"]:
            blocks[-1]["columns"].append(root.name)
        else:
            blocks.append({"columns": [root.name], "steps": []})
        inputs.append(entry)
    for place in kept:
        root = cols[place].roots[0]
        for known in root.strict[:1]:
            both = [value for value in known if all(value in other for other in root.strict)]
            listed = [_category(value, root.kind) for value in both]
            blocks.append({"columns": [root.name], "steps": [{"op": "ordinal", "categories": [listed], "unknown": "error"}]})
    guards = sum(bool(cols[place].roots[0].strict) for place in kept)
    _narrowed(graph, {place: at for at, place in enumerate(kept)}, len(kept) + guards)
    return {"inputs": inputs, "output": {"name": MATRIX, "datatype": "f64"}, "blocks": blocks}


def _one_mark(root: Root, values: pd.Series) -> None:
    """Both marks are null in a request, and different values to most steps."""
    if root.kind == "category" and values.dtype == object:
        marks = {value is None for value in values if is_missing(value)}
        if len(marks) > 1:
            raise CannotExport(
                f"cannot export column '{root.name}': its missing values are None in some rows and NaN in others, and both are "
                "null in a request; use one mark for missing values before the pipeline is fitted"
            )


def _category(value: Any, kind: str) -> Any:
    if value is None or kind == "category":
        return value if value is None else str(value)
    if kind == "bool":
        return bool(value)
    number = float(value)
    return int(number) if number.is_integer() else number


def _narrowed(graph: Graph, places: dict[int, int], width: int) -> None:
    """The graph's input has the columns in use alone."""
    constants = {tensor.name: tensor for tensor in graph.constants}
    for node in graph.nodes:
        if node.op_type == "Gather" and node.input[0] == MATRIX:
            wanted = onnx.numpy_helper.to_array(constants[node.input[1]]).ravel()
            node.input[1] = graph.places([places.get(int(place), 0) for place in wanted])
    graph.input(MATRIX, TensorProto.DOUBLE, width)


def _outputs(graph: Graph, result: Result, options: Any) -> tuple[list[Any], list[dict[str, Any]]]:
    """The graph's outputs, and the predict module's config of them."""
    outputs: list[Any] = []
    predict: list[dict[str, Any]] = []

    def add(name: str, tensor: str, kind: int, shape: Any, **more: Any) -> None:
        outputs.append((name, tensor, kind, shape))
        predict.append({"name": name, "from": name, **more})

    if result.targets:
        _several(graph, result.targets, options, add)
        if options.probabilities and result.probabilities is not None:
            add("probabilities", result.probabilities, TensorProto.DOUBLE, [None, len(result.targets)])
        elif options.decision and result.decision is not None:
            add("decision", result.decision, TensorProto.DOUBLE, [None, result.decision_width])
        return outputs, predict
    if result.values is not None:
        squeeze = {"squeeze": True} if result.flat else {}
        add("prediction", result.values, TensorProto.DOUBLE, [None, result.width], **squeeze)
        return outputs, predict
    labels, kind, more = named(graph, result)
    if options.classes is not None:
        more = {"classes": options.classes}
    add("prediction", graph.op("Squeeze", labels, graph.places([1])), kind, [None], **more)
    if result.probabilities is not None and options.probabilities:
        more = class_names(result.classes, Names(None, options.classes))
        add("probabilities", result.probabilities, TensorProto.DOUBLE, [None, len(result.classes)], **more)
    elif result.decision is not None and options.decision:
        squeeze = {"squeeze": True} if result.decision_width == 1 else {}
        add("decision", result.decision, TensorProto.DOUBLE, [None, result.decision_width], **squeeze)
    return outputs, predict


def _several(graph: Graph, targets: list[Result], options: Any, add: Any) -> None:
    """Several classifiers: one prediction of all of them, and each one's probabilities."""
    parts, kinds, more = [], set(), {}
    for target in targets:
        labels, kind, more = named(graph, target)
        parts.append(labels)
        kinds.add(kind)
    if len(kinds) > 1:
        parts = [named(graph, target, as_text=True)[0] for target in targets]
        kinds, more = {TensorProto.STRING}, {}
    add("prediction", graph.concat(parts), kinds.pop(), [None, len(parts)], **more)
    names = options.targets or [str(at) for at in range(len(targets))]
    for name, target in zip(names, targets, strict=True):
        if target.probabilities is not None and not options.probabilities:
            more = class_names(target.classes, Names())
            add(f"probabilities_{name}", target.probabilities, TensorProto.DOUBLE, [None, len(target.classes)], **more)


def named(graph: Graph, result: Result, as_text: bool = False) -> tuple[str, int, dict[str, Any]]:
    """The labels `[rows, 1]`, their type, and what the predict module makes of them."""
    assert result.index is not None
    labels = np.asarray(result.classes)
    more: dict[str, Any] = {}
    if as_text:
        labels = np.asarray([str(value) for value in labels], dtype=object)
    elif labels.dtype == bool:
        more = {"classes": [False, True]}
        labels = labels.astype(np.int64)
    elif labels.dtype.kind in "iu" or (labels.dtype.kind == "f" and not np.any(labels % 1)):
        labels = labels.astype(np.int64)
    elif all(isinstance(value, (bool, np.bool_)) for value in labels):
        more = {"classes": [False, True]}
        labels = labels.astype(np.int64)
    elif all(isinstance(value, (int, np.integer)) for value in labels):
        labels = labels.astype(np.int64)
    else:
        labels = np.asarray([str(value) for value in labels], dtype=object)
    text = labels.dtype == object
    found = graph.op("Gather", graph.constant(labels, object if text else np.int64), result.index, axis=0)
    return found, TensorProto.STRING if text else TensorProto.INT64, more


def over_matrix(estimator: Any, path: Any, width: int, options: Options) -> tuple[bytes, list[dict[str, Any]]]:
    """The graph of an estimator, or of the last steps, over a matrix of numbers."""
    graph = Graph()
    graph.input(MATRIX, TensorProto.DOUBLE, width)
    roots = [Root(f"x{place}", "number") for place in range(width)]
    cols = [Col(MATRIX, place, "number", place, (root,)) for place, root in enumerate(roots)]
    result = answer(estimator, Columns(cols, False), Context(graph, tuple(path)))
    outputs, predict = _outputs(graph, result, options)
    return _finished(graph, outputs), predict


@dataclass(frozen=True)
class Options:
    """Names, and whether scores are an output where there are no probabilities."""

    targets: list[str] | None = None
    classes: list[str] | None = None
    decision: bool = True
    probabilities: bool = True


def _finished(graph: Graph, outputs: Any) -> bytes:
    return graph.finish("pipeline", outputs).SerializeToString(deterministic=True)


__all__ = ["Compiled", "compiled", "is_nan"]
