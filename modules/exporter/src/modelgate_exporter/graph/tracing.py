"""Runs a user's function on stand-ins for columns, and says which line cannot be followed."""

from __future__ import annotations

import contextlib
import linecache
import math
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..errors import CannotExport
from .branches import scalar
from .build import Graph
from .columns import Col, Context, NeedsTexts, alone
from .elementwise import Untraceable
from .frames import Frame
from .functions import beside
from .series import Index, Scalar, Series
from .symbols import Array, Symbol

MATH = {
    **{name: name for name in ("sqrt", "exp", "log", "log2", "log10", "log1p", "expm1", "sin", "cos", "tan", "tanh", "floor", "ceil", "fabs")},
    "isnan": "isnan", "trunc": "trunc", "radians": "radians", "degrees": "degrees",
}  # fmt: skip
"""Python's functions of numbers that numpy has under the same name."""

ADVICE = (
    "write it with numpy's or pandas' arithmetic, comparisons and np.where on whole columns, compute the feature "
    "before the pipeline, or write it as a module of your own (modules/BUNDLE.md)"
)


def traced(function: Callable[[Any], Any], columns: Any, step: Any, named: Any, context: Context) -> Any:
    """The columns that a function makes of a frame, a series or an array."""
    graph, cols = context.graph, columns.cols
    given: Any
    if columns.framed:
        given = (Series if columns.single else Frame)(graph, list(cols))
    else:
        given = Array(graph, list(cols), 1 if columns.single else 2)
    made = _called(function, given, cols, step, named, context)
    if not isinstance(made, Symbol):
        raise context.refuse(step, cols, f"its {_name(named)} gives {type(made).__name__} instead of columns", ADVICE)
    found = [_rows(graph, col, cols) for col in made.cols]
    return replace(columns, cols=found, framed=not isinstance(made, Array), single=made.ndim == 1)


def _rows(graph: Graph, col: Col, cols: list[Col]) -> Col:
    """A constant column gets as many rows as the others have."""
    from .branches import _of

    return col if col.roots or not cols else _of(graph, col, cols[0]).named(col.label)


def _called(function: Callable[[Any], Any], given: Any, cols: list[Col], step: Any, named: Any, context: Context) -> Any:
    try:
        with _pandas(context.graph), np.errstate(all="ignore"):
            return function(given)
    except (CannotExport, NeedsTexts):
        raise
    except Untraceable as error:
        why = str(error)
        raise _refused(error, why, cols, step, named, context) from error
    except Exception as error:
        why = f"it fails on symbolic columns ({type(error).__name__}: {' '.join(str(error).split())[:160]})"
        raise _refused(error, why, cols, step, named, context) from error


def _refused(error: Exception, why: str, cols: list[Col], step: Any, named: Any, context: Context) -> CannotExport:
    at = _line(error)
    return context.refuse(step, cols, f"its {_name(named)} cannot run row by row: {at}{why}", ADVICE)


def _name(named: Any) -> str:
    name = getattr(named, "__qualname__", getattr(named, "__name__", type(named).__name__))
    return str(name).rsplit("<locals>.", 1)[-1]


def _line(error: Exception) -> str:
    """`line 12 of features.py (`…`): ` of the last line that is the user's."""
    ours = Path(__file__).parent.parent
    found = None
    for entry in traceback.extract_tb(error.__traceback__):
        path = Path(entry.filename)
        if ours in path.parents or any(part in path.parts for part in ("pandas", "numpy", "sklearn", "scipy")):
            continue
        found = entry
    if found is None:
        return ""
    text = (found.line or linecache.getline(found.filename, found.lineno or 0)).strip()
    return f"line {found.lineno} of {Path(found.filename).name}{f' (`{text[:120]}`)' if text else ''}: "


class _Meta(type):
    """A class that makes stand-ins of stand-ins, and else is the class it stands for."""

    real: Any
    made: Any

    def __call__(cls, *args: Any, **keywords: Any) -> Any:
        if not (args or keywords) or _symbolic(args) or _symbolic(keywords.values()):
            return cls.made(*args, **keywords)
        return cls.real(*args, **keywords)

    def __instancecheck__(cls, value: Any) -> bool:
        return isinstance(value, cls.real)

    def __subclasscheck__(cls, kind: Any) -> bool:
        return issubclass(kind, cls.real)

    def __getattr__(cls, name: str) -> Any:
        return getattr(cls.real, name)


def _symbolic(values: Any) -> bool:
    return any(
        isinstance(value, (Symbol, Index))
        or (isinstance(value, dict) and _symbolic(value.values()))
        or (isinstance(value, (list, tuple)) and _symbolic(value))
        for value in values
    )


@contextlib.contextmanager
def _pandas(graph: Graph) -> Iterator[None]:
    """pandas' functions, and those of numpy that have no protocol, take stand-ins for a while."""

    def frame(data: Any = None, index: Any = None, columns: Any = None, **_: Any) -> Any:
        if data is None:
            return Frame(graph, [])
        if isinstance(data, dict):
            made = Frame(graph, [])
            for label, value in data.items():
                made[label] = value
            return made
        if not isinstance(data, Symbol):
            raise Untraceable("it makes a frame of other things than columns")
        labels = list(columns) if columns is not None else [col.label for col in data.cols]
        if isinstance(data, Frame) and columns is not None:
            return data[labels]
        return Frame(graph, [col.named(label) for col, label in zip(data.cols, labels, strict=True)])

    def series(data: Any = None, index: Any = None, name: Any = None, **_: Any) -> Any:
        if not isinstance(data, Symbol) or len(data.cols) != 1:
            raise Untraceable("it makes a series of other things than a column")
        return Series(graph, [data.cols[0].named(name if name is not None else data.cols[0].label)])

    def concat(parts: Any, axis: Any = 0, **_: Any) -> Any:
        if axis not in (1, "columns"):
            raise Untraceable("it puts rows below each other (pd.concat)")
        return Frame(graph, [col for part in parts for col in part.cols])

    def get_dummies(*_: Any, **__: Any) -> Any:
        raise Untraceable("it makes a column of each value that the rows have (pd.get_dummies); OneHotEncoder(handle_unknown='ignore') does that for the values of the training")

    def categorical(*_: Any, **__: Any) -> Any:
        raise Untraceable("it makes categories of a column (pd.Categorical); OrdinalEncoder and OneHotEncoder take the text itself")

    def isna(value: Any) -> Any:
        return value.isna()

    def notna(value: Any) -> Any:
        return value.notna()

    def to_numeric(value: Any, **_: Any) -> Any:
        if any(col.kind == "category" for col in value.cols):
            raise Untraceable("it makes a text a number")
        return value

    def to_datetime(value: Any, unit: Any = None, **_: Any) -> Any:
        if all(col.kind == "date" for col in value.cols):
            return value
        raise Untraceable("it reads dates from text; give the sample frame a column of datetime64, whose requests have milliseconds since 1970")

    def cut(value: Any, bins: Any, right: bool = True, labels: Any = None, include_lowest: bool = False, **_: Any) -> Any:
        return _cut(graph, value, bins, right, labels, include_lowest)

    replaced: dict[str, Any] = {
        "concat": concat, "isna": isna, "isnull": isna, "notna": notna, "notnull": notna,
        "to_numeric": to_numeric, "to_datetime": to_datetime, "cut": cut,
        "get_dummies": get_dummies,
    }  # fmt: skip
    real = {name: getattr(pd, name) for name in [*replaced, "DataFrame", "Series", "Categorical"]}
    math_real = {name: getattr(math, name) for name in MATH}
    numpy_real = {name: getattr(np, name) for name in ("asarray", "array", "c_", "vectorize")}

    class Beside:
        """`np.c_`."""

        def __getitem__(self, parts: Any) -> Any:
            given = parts if isinstance(parts, tuple) else (parts,)
            return beside(graph, given) if _symbolic(given) else numpy_real["c_"][parts]

    def array(name: str) -> Callable[..., Any]:
        def call(value: Any, *args: Any, **keywords: Any) -> Any:
            if isinstance(value, Symbol):
                return value if isinstance(value, Array) else Array(graph, list(value.cols), value.ndim)
            return numpy_real[name](value, *args, **keywords)

        return call

    def vectorize(function: Any, *args: Any, **keywords: Any) -> Any:
        def call(*values: Any) -> Any:
            if len(values) == 1 and isinstance(values[0], Symbol):
                return values[0].each_col(lambda col: scalar(graph, function, col))
            return numpy_real["vectorize"](function, *args, **keywords)(*values)

        return call

    def of_math(name: str) -> Callable[..., Any]:
        def call(value: Any, *args: Any) -> Any:
            if isinstance(value, Symbol) and not args:
                return value.elementwise(MATH[name], (value,))
            return math_real[name](value, *args)

        return call

    def either(name: str) -> Callable[..., Any]:
        def call(*args: Any, **keywords: Any) -> Any:
            symbolic = _symbolic(args) or _symbolic(keywords.values())
            return (replaced if symbolic else real)[name](*args, **keywords)

        return call

    try:
        for name in replaced:
            setattr(pd, name, either(name))
        for name, value in (("asarray", array("asarray")), ("array", array("array")), ("c_", Beside()), ("vectorize", vectorize)):
            setattr(np, name, value)
        for name in MATH:
            setattr(math, name, of_math(name))
        for name, make in (("DataFrame", frame), ("Series", series), ("Categorical", categorical)):
            setattr(pd, name, _Meta(name, (), {"real": real[name], "made": staticmethod(make)}))
        yield
    finally:
        for name, value in real.items():
            setattr(pd, name, value)
        for name, value in numpy_real.items():
            setattr(np, name, value)
        for name, value in math_real.items():
            setattr(math, name, value)


def _cut(graph: Graph, value: Any, bins: Any, right: bool, labels: Any, include_lowest: bool) -> Any:
    from . import elementwise as each
    from .functions import counted

    if isinstance(bins, (int, np.integer)):
        raise Untraceable("it makes bins of the values of all rows (pd.cut with a number)")
    if labels is None:
        raise Untraceable("it makes intervals (pd.cut without labels=)")
    edges = np.asarray(bins, np.float64)
    col = value.cols[0]
    count = counted(graph, col, edges, right)
    number = each.made(graph, graph.op("Sub", alone(graph, count), graph.constant([[1.0]])), (col,))
    x = each.tensor(graph, col)
    kinds = ("Less" if include_lowest else "LessOrEqual", "Greater") if right else ("Less", "GreaterOrEqual")
    outside = graph.op("Or", graph.op(kinds[0], x, graph.constant([[edges[0]]])), graph.op(kinds[1], x, graph.constant([[edges[-1]]])))
    outside = graph.op("Or", outside, graph.op("IsNaN", x))
    if include_lowest and right:
        lowest = graph.op("Equal", x, graph.constant([[edges[0]]]))
        number = each.made(graph, graph.where(lowest, graph.constant([[0.0]]), alone(graph, number)), (col,))
    number = each.made(graph, graph.where(outside, graph.constant([[np.nan]]), alone(graph, number)), (col,))
    if labels is not False:
        number = each.mapped(graph, number, {float(at): label for at, label in enumerate(labels)}, None)
    return Series(graph, [number.named(col.label)])


__all__ = ["Scalar", "traced"]
