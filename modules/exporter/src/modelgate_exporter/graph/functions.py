"""numpy's functions on stand-ins, as far as they work on each row by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from . import elementwise as each
from .build import Graph
from .columns import Col, joined, roots
from .elementwise import Untraceable
from .numeric import interpolated
from .symbols import Array, Symbol, chosen, lifted, over_rows


def reduced(graph: Graph, name: str, cols: list[Col]) -> Col:
    """One number of all columns; `nan…` leaves missing values out."""
    each._numbers(tuple(cols))
    skips = name.startswith("nan")
    kind = name.removeprefix("nan").removesuffix("0")
    matrix = joined(graph, cols)
    if kind in ("any", "all"):
        tests = graph.double(graph.op("Not", graph.op("Equal", matrix, graph.constant([[0.0]]))))
        most = 0.5 if kind == "any" else len(cols) - 0.5
        return each.made(graph, graph.double(graph.op("Greater", graph.sum(tests), graph.constant([[most]]))), tuple(cols), "bool")
    if kind == "median":
        raise Untraceable("it takes a median")
    if kind in ("max", "min"):
        made = cols[0]
        rule = {"max": "fmax" if skips else "maximum", "min": "fmin" if skips else "minimum"}[kind]
        for col in cols[1:]:
            made = each.ufunc(graph, rule, (made, col))
        return made
    lost = graph.op("IsNaN", matrix)
    neutral = graph.constant([[1.0 if kind == "prod" else 0.0]])
    values = graph.where(lost, neutral, matrix) if skips else matrix
    if kind == "prod":
        product = graph.gather(values, [0])
        for place in range(1, len(cols)):
            product = graph.op("Mul", product, graph.gather(values, [place]))
        return each.made(graph, product, tuple(cols))
    total = graph.sum(values)
    if kind == "sum":
        return each.made(graph, total, tuple(cols))
    count = graph.sum(graph.double(graph.op("Not", lost))) if skips else graph.constant([[float(len(cols))]])
    mean = graph.op("Div", total, count)
    if kind == "mean":
        return each.made(graph, mean, tuple(cols))
    apart = graph.op("Sub", values, mean)
    squares = graph.op("Mul", apart, apart)
    if skips:
        squares = graph.where(lost, graph.constant([[0.0]]), squares)
    free = count if name.endswith("0") else graph.op("Sub", count, graph.constant([[1.0]]))
    variance = graph.op("Div", graph.sum(squares), free)
    return each.made(graph, graph.op("Sqrt", variance) if kind == "std" else variance, tuple(cols))


def _reduce(name: str) -> Callable[..., Any]:
    def rule(graph: Graph, array: Any, axis: Any = None, keepdims: bool = False, **_: Any) -> Any:
        if axis not in (1, -1, "columns") or getattr(array, "ndim", 0) != 2:
            return over_rows(array, name, axis)
        return Array(graph, [reduced(graph, name, array.cols)], 2 if keepdims else 1)

    return rule


def where(graph: Graph, test: Any, *values: Any) -> Any:
    """`np.where` with three arguments."""
    if len(values) != 2:
        raise Untraceable("it looks for places of rows")
    return chosen(graph, test, *values)


def select(graph: Graph, tests: Any, values: Any, default: Any = 0) -> Any:
    """`np.select`: the first test that holds."""
    made = default
    for test, value in reversed(list(zip(tests, values, strict=True))):
        made = chosen(graph, test, value, made)
    return made


def clip(graph: Graph, array: Any, *bounds: Any, **keywords: Any) -> Any:
    """`np.clip`."""
    return array.clip(*bounds, **keywords)


def rounding(graph: Graph, array: Any, decimals: int = 0, **_: Any) -> Any:
    """`np.round`."""
    return array.round(decimals)


def nan_to_num(graph: Graph, array: Any, copy: bool = True, nan: float = 0.0, posinf: Any = None, neginf: Any = None) -> Any:
    """`np.nan_to_num`."""
    big = np.finfo(np.float64).max
    array = array.fillna(nan)
    return array.clip(-big if neginf is None else neginf, big if posinf is None else posinf)


def beside(graph: Graph, arrays: Any, *_: Any, **keywords: Any) -> Any:
    """`np.column_stack`, `hstack`, `concatenate(axis=1)` and `stack(axis=1)`."""
    cols: list[Col] = []
    for array in arrays:
        cols += array.cols if isinstance(array, Symbol) else [lifted(graph, array)]
    return Array(graph, [replace(col, label=place) for place, col in enumerate(cols)], 2)


def _along(ndim: int, name: str) -> Callable[..., Any]:
    def rule(graph: Graph, arrays: Any, axis: int = 0, **_: Any) -> Any:
        if axis not in (1, -1) or any(isinstance(a, Symbol) and a.ndim < ndim for a in arrays):
            raise Untraceable(f"it puts rows below each other (np.{name})")
        return beside(graph, arrays)

    return rule


def hstack(graph: Graph, arrays: Any, **_: Any) -> Any:
    """`np.hstack` of matrices."""
    if any(isinstance(array, Symbol) and array.ndim != 2 for array in arrays):
        raise Untraceable("it puts rows below each other (np.hstack)")
    return beside(graph, arrays)


def isin(graph: Graph, array: Any, values: Any, **_: Any) -> Any:
    """`np.isin`."""
    return array.isin(list(np.ravel(values)))


def digitize(graph: Graph, array: Any, bins: Any, right: bool = False) -> Any:
    """`np.digitize` and `np.searchsorted`: how many edges are below."""
    edges = np.asarray(bins, np.float64)
    if np.any(np.diff(edges) < 0):
        raise Untraceable("it has bins that descend")
    return array.each_col(lambda col: counted(graph, col, edges, right))


def counted(graph: Graph, col: Col, edges: Any, right: bool) -> Col:
    """The number of edges that a number has reached, or gone beyond."""
    kind = "Greater" if right else "GreaterOrEqual"
    value = each.tensor(graph, col)
    count = graph.sum(graph.double(graph.op(kind, value, graph.constant([edges]))))
    last = graph.where(graph.op("IsNaN", value), graph.constant([[float(len(edges))]]), count)
    return each.made(graph, last, (col,))


def searchsorted(graph: Graph, edges: Any, array: Any, side: str = "left", **_: Any) -> Any:
    """`np.searchsorted` in a constant."""
    if isinstance(edges, Symbol) or not isinstance(array, Symbol):
        raise Untraceable("it searches in the rows")
    return array.each_col(lambda col: counted(graph, col, np.asarray(edges, np.float64), side == "left"))


def interp(graph: Graph, array: Any, points: Any, values: Any, **_: Any) -> Any:
    """`np.interp` in a table."""
    x, y = np.asarray(points, np.float64), np.asarray(values, np.float64)
    return array.each_col(lambda col: each.made(graph, interpolated(graph, each.tensor(graph, col), x, y), (col,)))


def like(value: float) -> Callable[..., Any]:
    """`np.zeros_like` and `ones_like`."""

    def rule(graph: Graph, array: Any, *_: Any, **__: Any) -> Any:
        def same(col: Col) -> Col:
            # Of as many rows as the column has.
            lost = graph.double(graph.op("IsNaN", each.tensor(graph, col)))
            zero = graph.op("Mul", lost, graph.constant([[0.0]]))
            return each.made(graph, graph.op("Add", zero, graph.constant([[value]])), (col,))

        return array.each_col(same)

    return rule


def full_like(graph: Graph, array: Any, value: Any, *_: Any, **__: Any) -> Any:
    """`np.full_like`."""
    return like(float(value))(graph, array)


def reshape(graph: Graph, array: Any, *shape: Any, **_: Any) -> Any:
    """`np.reshape` to one column or one row."""
    return (array if isinstance(array, Array) else array.values).reshape(*shape)


def ravel(graph: Graph, array: Any, *_: Any, **__: Any) -> Any:
    """`np.ravel` of one column."""
    return reshape(graph, array, -1)


def two_dimensional(graph: Graph, array: Any, *_: Any, **__: Any) -> Any:
    """`np.expand_dims(x, 1)`, `np.atleast_2d` of a matrix."""
    return Array(graph, array.cols, 2)


def same(graph: Graph, array: Any, *_: Any, **__: Any) -> Any:
    """A function that changes nothing."""
    return array.copy()


def norm(graph: Graph, array: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """`np.linalg.norm` of each row."""
    if axis not in (1, -1) or ord not in (None, 2):
        raise Untraceable("it computes over all rows")
    squares = [each.ufunc(graph, "square", (col,)) for col in array.cols]
    total = reduced(graph, "sum", squares)
    return Array(graph, [each.ufunc(graph, "sqrt", (total,))], 2 if keepdims else 1)


def dot(graph: Graph, array: Any, weights: Any) -> Any:
    """`np.dot` with a constant."""
    if not isinstance(array, Symbol):
        raise Untraceable("it multiplies a matrix from the left")
    return array @ weights


def isclose(graph: Graph, one: Any, other: Any, rtol: float = 1e-5, atol: float = 1e-8, **_: Any) -> Any:
    """`np.isclose` to a number."""
    return abs(one - other) <= (atol + rtol * np.abs(other))


def diff(graph: Graph, array: Any, n: int = 1, axis: int = -1, **_: Any) -> Any:
    """`np.diff` between neighbouring columns."""
    if n != 1 or axis not in (1, -1) or array.ndim != 2:
        raise Untraceable("it looks at other rows than its own")
    pairs = zip(array.cols[1:], array.cols[:-1], strict=True)
    return Array(graph, [each.ufunc(graph, "subtract", pair) for pair in pairs], 2)


def _not_known(graph: Graph, *_: Any, **__: Any) -> Any:
    raise Untraceable("it computes over all rows")


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "where": where, "select": select, "clip": clip, "round": rounding, "around": rounding, "round_": rounding,
    "nan_to_num": nan_to_num, "column_stack": beside, "hstack": hstack, "concatenate": _along(2, "concatenate"),
    "stack": _along(1, "stack"), "isin": isin, "in1d": isin, "digitize": digitize, "searchsorted": searchsorted,
    "interp": interp, "zeros_like": like(0.0), "ones_like": like(1.0), "full_like": full_like, "reshape": reshape,
    "ravel": ravel, "expand_dims": two_dimensional, "atleast_2d": two_dimensional, "copy": same, "squeeze": ravel,
    "norm": norm, "dot": dot, "matmul": dot, "isclose": isclose, "diff": diff, "fix": lambda g, a, **_: a.elementwise("trunc", (a,)),
    "real": same, "array": same,
    **{name: _reduce(kind) for name, kind in {
        "sum": "sum", "mean": "mean", "max": "max", "amax": "max", "min": "min", "amin": "min", "prod": "prod",
        "std": "std0", "var": "var0", "any": "any", "all": "all", "nansum": "nansum", "nanmean": "nanmean",
        "nanmax": "nanmax", "nanmin": "nanmin", "nanstd": "nanstd0", "nanvar": "nanvar0", "nanprod": "nanprod",
    }.items()},
}  # fmt: skip

__all__ = ["FUNCTIONS", "reduced", "roots"]
