"""Runs a user's function on stand-ins for columns, and says which line cannot be followed."""

from __future__ import annotations

import contextlib
import linecache
import math
import re
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..errors import CannotExport
from .branches import NeedsWays, explored, scalar
from .build import Graph
from .builtin import builtin
from .columns import Col, Context, NeedsTexts, alone
from .elementwise import Untraceable
from .frames import DUMMIES, Dummies, Frame
from .functions import beside
from .powers import with_powers
from .series import Index, Scalar, Series
from .symbols import Array, Symbol, collected, lifted, of_its_own
from .tables import with_tables

MATH = {
    **{name: name for name in ("sqrt", "exp", "log", "log2", "log10", "log1p", "expm1", "sin", "cos", "tan", "tanh", "floor", "ceil", "fabs")},
    "isnan": "isnan", "trunc": "trunc", "radians": "radians", "degrees": "degrees",
}  # fmt: skip
"""Python's functions of numbers that numpy has under the same name."""

ADVICE = (
    "write it with numpy's or pandas' arithmetic, comparisons and np.where on whole columns, or as a function of one value or "
    "one row in Python alone, given to .map or .apply(axis=1) on columns of the frame, or compute the feature before the pipeline"
)


def traced(function: Callable[[Any], Any], columns: Any, step: Any, named: Any, context: Context) -> Any:
    """The columns that a function makes of a frame, a series or an array."""
    graph, cols = context.graph, columns.cols
    # Of values that it is not defined for, a function gives none.
    graph.gaps = True
    given: Any
    if columns.framed:
        given = (Series if columns.single else Frame)(graph, list(cols))
    else:
        given = Array(graph, list(cols), 1 if columns.single else 2)
    made = _called(function, given, cols, step, named, context)
    if isinstance(made, (list, tuple)) and _symbolic(made):
        of_rows, _, ndim = collected(graph, made)
        made = Array(graph, of_rows, ndim)
    if not isinstance(made, Symbol):
        raise context.refuse(step, cols, f"its {_name(named)} gives {type(made).__name__} instead of columns", ADVICE)
    try:
        of_its_own(made)
    except Untraceable as error:
        raise _refused(error, str(error), cols, step, named, context) from error
    found = [_rows(graph, col, cols) for col in made.cols]
    return replace(columns, cols=found, framed=not isinstance(made, Array), single=made.ndim == 1)


def _rows(graph: Graph, col: Col, cols: list[Col]) -> Col:
    """A constant column gets as many rows as the others have."""
    from .branches import _of

    return col if col.roots or not cols else _of(graph, col, cols[0]).named(col.label)


def _called(function: Callable[[Any], Any], given: Any, cols: list[Col], step: Any, named: Any, context: Context) -> Any:
    try:
        with _pandas(context.graph), np.errstate(all="ignore"):
            # With functions of Python that take stand-ins: `len`, `int`, `max` and the like. Code that has another use for
            # these names is run without.
            with builtin(_globals(named), context.graph) as there:
                try:
                    if there:
                        return _run(function, given, context.graph)
                except (CannotExport, NeedsTexts):
                    raise
                except Exception:
                    pass
            return _run(function, given, context.graph)
    except (CannotExport, NeedsTexts):
        raise
    except Untraceable as error:
        why = str(error)
        raise _refused(error, why, cols, step, named, context) from error
    except Exception as error:
        why = f"it fails on symbolic columns ({type(error).__name__}: {' '.join(str(error).split())[:160]})"
        raise _refused(error, why, cols, step, named, context) from error


def _run(function: Callable[[Any], Any], given: Any, graph: Graph) -> Any:
    try:
        return function(given.copy() if given.ndim else given)
    except NeedsWays:
        return explored(graph, lambda: _one(graph, function(given.copy())))


def _globals(named: Any) -> dict[str, Any]:
    """The names of the module that a function of the user's was written in."""
    inner = getattr(named, "func", named)
    found: dict[str, Any] = getattr(inner, "__globals__", {})
    return found


def of_text(function: Callable[[Any], Any], text: Col, cols: list[Col], step: Any, context: Context) -> Any:
    """The result of a function of one text for a stand-in."""
    given = Scalar(context.graph, [text])
    return _called(lambda _: explored(context.graph, lambda: function(given)), given, cols, step, function, context)


def _one(graph: Graph, made: Any) -> Any:
    """The result of one way through a loop over rows."""
    if isinstance(made, list) and _symbolic(made):
        cols, _, ndim = collected(graph, made)
        return Array(graph, cols, ndim)
    return made


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
    for entry in getattr(error, "stack", None) or traceback.extract_tb(error.__traceback__):
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
        if isinstance(data, (list, tuple)):
            cols, names, _ = collected(graph, data)
            labels = list(columns) if columns is not None else names
            return Frame(graph, [col.named(label) for col, label in zip(cols, labels, strict=True)])
        if not isinstance(data, Symbol):
            raise Untraceable("it makes a frame of other things than columns")
        labels = list(columns) if columns is not None else [col.label for col in data.cols]
        if isinstance(data, Frame) and columns is not None:
            return data[labels]
        return Frame(graph, [col.named(label) for col, label in zip(data.cols, labels, strict=True)])

    def series(data: Any = None, index: Any = None, name: Any = None, **_: Any) -> Any:
        if isinstance(data, (list, tuple, dict)):
            return _of_values(graph, data, index, name)
        if not isinstance(data, Symbol) or len(data.cols) != 1:
            raise Untraceable("it makes a series of other things than a column")
        return Series(graph, [data.cols[0].named(name if name is not None else data.cols[0].label)])

    def concat(parts: Any, axis: Any = 0, **_: Any) -> Any:
        if axis not in (1, "columns"):
            raise Untraceable("it puts rows below each other (pd.concat)")
        return Frame(graph, [col for part in parts for col in part.cols])

    def get_dummies(data: Any, prefix: Any = None, prefix_sep: str = "_", dummy_na: bool = False, columns: Any = None, drop_first: bool = False, **_: Any) -> Any:
        if not isinstance(data, Frame) or prefix is not None or dummy_na or drop_first:
            raise Untraceable(DUMMIES)
        texts = [col.label for col in data.cols if col.kind == "category" or col.numeral] if columns is None else list(columns)
        if any(data._find(label).kind != "category" for label in texts):
            raise Untraceable(DUMMIES)
        return Dummies(data, texts, {label: str(label) for label in texts}, prefix_sep)

    def categorical(values: Any = None, categories: Any = None, ordered: Any = None, **_: Any) -> Any:
        if categories is None:
            raise Untraceable("it makes categories of the values that the rows have (pd.Categorical without categories=); OrdinalEncoder and OneHotEncoder take the text itself")
        known = list(categories)
        codes = values.map({value: float(place) for place, value in enumerate(known)}).fillna(-1.0)
        return type("Categorical", (), {"codes": codes, "categories": pd.Index(known)})()

    def isna(value: Any) -> Any:
        return value.isna()

    def notna(value: Any) -> Any:
        return value.notna()

    def to_numeric(value: Any, **options: Any) -> Any:
        return value.each_col(lambda col: _number(graph, col, options.get("errors", "raise")))

    def to_datetime(value: Any, errors: str = "raise", *args: Any, **options: Any) -> Any:
        if all(col.kind == "date" for col in value.cols):
            return value
        options = {name: option for name, option in options.items() if option not in (None, False)}
        if args or len(value.cols) != 1 or set(options) - {"format", "unit", "cache", "infer_datetime_format"}:
            raise Untraceable("it reads dates with options (format=, errors= and unit= have operators)")
        return value.each_col(lambda col: _date(graph, col, errors, options.get("format"), options.get("unit")))

    def cut(value: Any, bins: Any, right: bool = True, labels: Any = None, include_lowest: bool = False, **_: Any) -> Any:
        return _cut(graph, value, bins, right, labels, include_lowest)

    replaced: dict[str, Any] = {
        "concat": concat, "isna": isna, "isnull": isna, "notna": notna, "notnull": notna,
        "to_numeric": to_numeric, "to_datetime": to_datetime, "cut": cut,
        "get_dummies": get_dummies,
    }  # fmt: skip
    real = {name: getattr(pd, name) for name in [*replaced, "DataFrame", "Series", "Categorical"]}
    math_real = {name: getattr(math, name) for name in MATH}
    re_real = {name: getattr(re, name) for name in ("sub", "findall", "search", "match", "fullmatch")}
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
            if isinstance(value, (list, tuple)) and _symbolic(value):
                cols, _, ndim = collected(graph, value)
                return Array(graph, cols, ndim)
            return numpy_real[name](value, *args, **keywords)

        return call

    def vectorize(function: Any, *args: Any, **keywords: Any) -> Any:
        def call(*values: Any) -> Any:
            if len(values) == 1 and isinstance(values[0], Symbol):
                return values[0].each_col(lambda col: scalar(graph, function, col))
            if any(isinstance(value, Symbol) for value in values):
                cells = [Scalar(graph, list(value.cols)) if isinstance(value, Symbol) else value for value in values]
                return Array(graph, [lifted(graph, explored(graph, lambda: function(*cells)))], 1)
            return numpy_real["vectorize"](function, *args, **keywords)(*values)

        return call

    def of_math(name: str) -> Callable[..., Any]:
        def call(value: Any, *args: Any) -> Any:
            if isinstance(value, Symbol) and not args:
                return value.elementwise(MATH[name], (value,))
            return math_real[name](value, *args)

        return call

    def of_patterns(name: str) -> Callable[..., Any]:
        def call(pattern: Any, *args: Any, **keywords: Any) -> Any:
            given = list(args)
            place = 1 if name == "sub" else 0
            if len(given) > place and isinstance(given[place], Scalar):
                text = given.pop(place)
                return _matched(name, pattern, text, *given, **keywords)
            return re_real[name](pattern, *args, **keywords)

        return call

    def either(name: str) -> Callable[..., Any]:
        def call(*args: Any, **keywords: Any) -> Any:
            symbolic = _symbolic(args) or _symbolic(keywords.values())
            return (replaced if symbolic else real)[name](*args, **keywords)

        return call

    within = contextlib.ExitStack()
    try:
        within.enter_context(with_tables(graph))
        within.enter_context(with_powers(graph))
        for name in replaced:
            setattr(pd, name, either(name))
        for name, value in (("asarray", array("asarray")), ("array", array("array")), ("c_", Beside()), ("vectorize", vectorize)):
            setattr(np, name, value)
        for name in MATH:
            setattr(math, name, of_math(name))
        for name in re_real:
            setattr(re, name, of_patterns(name))
        for name, make in (("DataFrame", frame), ("Series", series), ("Categorical", categorical)):
            setattr(pd, name, _Meta(name, (), {"real": real[name], "made": staticmethod(make)}))
        yield
    finally:
        within.close()
        for name, value in real.items():
            setattr(pd, name, value)
        for name, value in numpy_real.items():
            setattr(np, name, value)
        for name, value in math_real.items():
            setattr(math, name, value)
        for name, value in re_real.items():
            setattr(re, name, value)


def _matched(name: str, pattern: Any, text: Scalar, *args: Any, count: int = 0, flags: int = 0) -> Any:
    """`re.sub`, `findall`, `search`, `match` and `fullmatch` of a stand-in for one text."""
    if len(args) > (1 if name == "sub" else 0):
        raise Untraceable(f"it calls re.{name} with options by their place")
    texts = text._text()
    if name == "sub":
        return texts.replace(pattern, args[0], n=count or -1, flags=flags, regex=True)
    if name == "findall":
        return texts.findall(pattern, flags)
    test = {"search": texts.contains, "match": texts.match, "fullmatch": texts.fullmatch}[name]
    return test(pattern, flags=flags)


UNITS = {"ms": 1.0, "s": 1e3, "us": 1e-3, "ns": 1e-6, "D": 86_400_000.0, "h": 3_600_000.0, "m": 60_000.0}
"""Milliseconds of the units of `pd.to_datetime`."""


def _date(graph: Graph, col: Col, errors: str, form: Any, unit: Any) -> Col:
    from . import elementwise as each
    from .rewriting import date

    if col.kind == "number" and not col.numeral:
        size = UNITS.get("ns" if unit is None else unit)
        if size is None:
            raise Untraceable(f"it reads dates of the unit {unit!r}")
        return each.made(graph, graph.op("Floor", graph.op("Mul", each.tensor(graph, col), graph.constant([[size]]))), (col,), "date")
    if unit is not None or (form is not None and not isinstance(form, str)):
        raise Untraceable("it reads dates from text with options (format= has an operator)")
    return date(graph, col, None if form in (None, "ISO8601") else form, errors != "coerce")


def _number(graph: Graph, col: Col, errors: str = "raise") -> Col:
    from .rewriting import number

    if col.kind != "category" or col.numeral:
        return col
    return number(graph, col, errors != "coerce")


def _of_values(graph: Graph, data: Any, index: Any, name: Any) -> Any:
    """A series of a list: one value of each row, or the values of one row under their names."""
    if isinstance(data, dict):
        return Series(graph, [lifted(graph, value).named(label) for label, value in data.items()])
    if isinstance(index, (list, tuple)) and len(index) == len(data):
        return Series(graph, [lifted(graph, value).named(label) for label, value in zip(index, data, strict=True)])
    if len(data) == 1:
        return Series(graph, [lifted(graph, data).named(name)])
    return Series(graph, [lifted(graph, value).named(place) for place, value in enumerate(data)])


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
