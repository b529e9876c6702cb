"""Stand-ins for arrays, on which a user's function is run once, and what those for frames and series have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from . import elementwise as each
from .build import Graph
from .columns import Col
from .elementwise import Untraceable

ROWS = "it looks at other rows than its own"
OVER = "it computes over all rows"


def lifted(graph: Graph, value: Any) -> Col:
    """A single column, from a stand-in or a constant."""
    if isinstance(value, Symbol):
        if len(value.cols) != 1:
            raise Untraceable("it mixes one column with several")
        of_its_own(value)
        return value.cols[0]
    if isinstance(value, (list, tuple)) and len(value) == 1 and isinstance(value[0], Symbol):
        return lifted(graph, value[0])  # of a loop over the rows
    if isinstance(value, (list, tuple, np.ndarray, pd.Series)) and np.ndim(value) > 0:
        array = np.asarray(value)
        if array.size != 1:
            raise Untraceable("it computes with an array of its own")
        value = array.ravel()[0]
    return each.constant(graph, value)


def of_its_own(value: Any) -> None:
    """Refuses what says something of all rows, or of some of them."""
    if isinstance(value, Symbol) and (value._over_rows or value._rows):
        raise Untraceable(OVER if value._over_rows else ROWS)


def collected(graph: Graph, rows: Any) -> tuple[list[Col], list[Any], int]:
    """The columns that a loop over the rows has put into a list, their names, and how many dimensions that has."""
    if len(rows) != 1:
        raise Untraceable("it makes a list of other things than one for each row")
    (row,) = rows
    if isinstance(row, dict):
        return [lifted(graph, value).named(label) for label, value in row.items()], list(row), 2
    if isinstance(row, Symbol) and row.ndim:
        return list(row.cols), [col.label for col in row.cols], 2
    if isinstance(row, (list, tuple)):
        labels = list(getattr(row, "_fields", range(len(row))))
        return [lifted(graph, value).named(label) for value, label in zip(row, labels, strict=True)], labels, 2
    return [lifted(graph, row).named(None)], [None], 1


def is_frame(value: Any) -> bool:
    """Whether it stands for a frame."""
    return isinstance(value, Symbol) and value._form == "frame"


def is_series(value: Any) -> bool:
    """Whether it stands for a column of a frame."""
    return isinstance(value, Symbol) and value._form == "series"


class Symbol:
    """Columns that have no rows yet."""

    _form = "array"
    _over_rows = False
    """Whether it is one truth about all rows."""
    _rows = ""
    """The test that finds the rows it has values of, where it has not those of all."""

    # Before pandas' and numpy's own objects on the other side of an operator.
    __array_priority__ = 10_000
    __pandas_priority__ = 10_000

    def __init__(self, graph: Graph, cols: list[Col]) -> None:
        object.__setattr__(self, "graph", graph)
        object.__setattr__(self, "cols", cols)

    graph: Graph
    cols: list[Col]

    def like(self, cols: list[Col]) -> Any:
        """The same kind of object with other columns."""
        return type(self)(self.graph, cols)

    def elementwise(self, name: str, args: tuple[Any, ...]) -> Any:
        """A function of numpy on each column of whatever is wide."""
        wide = max((arg for arg in args if isinstance(arg, Symbol)), key=lambda arg: (len(arg.cols), is_frame(arg), is_series(arg)))
        count = len(wide.cols)
        self._alike(wide, args)
        rows = [self._aligned(arg, count, wide) for arg in args]
        out = []
        for place in range(count):
            col = each.ufunc(self.graph, name, tuple(row[place] for row in rows))
            out.append(replace(col, label=wide.cols[place].label))
        return wide.like(out)

    def _alike(self, wide: Symbol, args: tuple[Any, ...]) -> None:
        """Refuses to mix what is true of all rows, or what some rows have, with the values of each."""
        for arg in args:
            if isinstance(arg, Symbol) and (arg._over_rows != wide._over_rows or arg._rows != wide._rows):
                raise Untraceable(OVER if arg._over_rows or wide._over_rows else ROWS)

    def _aligned(self, arg: Any, count: int, wide: Symbol) -> list[Col]:
        if isinstance(arg, Symbol):
            if len(arg.cols) == count:
                if is_frame(arg) and is_frame(wide):
                    by_label = {col.label: col for col in arg.cols}
                    return [by_label.get(col.label, arg.cols[at]) for at, col in enumerate(wide.cols)]
                return list(arg.cols)
            if len(arg.cols) == 1 and not (is_frame(wide) and is_series(arg)):
                return arg.cols * count
            raise Untraceable("it mixes one column with several")
        if isinstance(arg, (pd.Series, dict)) and is_frame(wide):
            return [each.constant(self.graph, arg[col.label]) for col in wide.cols]
        if isinstance(arg, (list, tuple, np.ndarray)) and np.size(arg) == count and np.ndim(arg) in (1, 2) and count > 1:
            return [each.constant(self.graph, value) for value in np.ravel(np.asarray(arg))]
        return [lifted(self.graph, arg)] * count

    def __array_ufunc__(self, function: Any, method: str, *inputs: Any, **keywords: Any) -> Any:
        if method != "__call__" or any(key not in ("dtype", "casting", "out") for key in keywords) or keywords.get("out"):
            raise Untraceable(ROWS if method in ("reduce", "accumulate") else f"it calls np.{function.__name__} with options")
        if function.__name__ == "clip":
            return self.clip(*inputs[1:])
        if function.__name__ == "matmul":
            return self @ inputs[1]
        return self.elementwise(function.__name__, inputs)

    def __array_function__(self, function: Any, types: Any, args: Any, keywords: Any) -> Any:
        from .functions import FUNCTIONS

        rule = FUNCTIONS.get(function.__name__)
        if rule is None:
            raise Untraceable(f"it calls np.{function.__name__}, which has no operator")
        return rule(self.graph, *args, **keywords)

    def __array__(self, *args: Any, **keywords: Any) -> Any:
        raise Untraceable("it takes the values out of the columns")

    def _compared(name: str) -> Any:  # type: ignore[misc]
        return lambda self, other: self.elementwise(name, (self, other))

    def _reversed(name: str) -> Any:  # type: ignore[misc]
        return lambda self, other: self.elementwise(name, (other, self))

    __lt__, __le__, __gt__, __ge__ = map(_compared, ("less", "less_equal", "greater", "greater_equal"))
    __eq__, __ne__ = map(_compared, ("equal", "not_equal"))
    __add__, __sub__, __mul__, __truediv__ = map(_compared, ("add", "subtract", "multiply", "divide"))
    __floordiv__, __mod__, __pow__ = map(_compared, ("floor_divide", "remainder", "power"))
    __and__, __or__, __xor__ = map(_compared, ("bitwise_and", "bitwise_or", "bitwise_xor"))
    __radd__, __rsub__, __rmul__, __rtruediv__ = map(_reversed, ("add", "subtract", "multiply", "divide"))
    __rfloordiv__, __rmod__, __rpow__ = map(_reversed, ("floor_divide", "remainder", "power"))
    __rand__, __ror__, __rxor__ = map(_reversed, ("bitwise_and", "bitwise_or", "bitwise_xor"))
    eq, ne, lt, le, gt, ge = __eq__, __ne__, __lt__, __le__, __gt__, __ge__
    add, sub, mul, div, truediv = __add__, __sub__, __mul__, __truediv__, __truediv__
    floordiv, mod, pow = __floordiv__, __mod__, __pow__
    radd, rsub, rmul, rtruediv, rdiv = __radd__, __rsub__, __rmul__, __rtruediv__, __rtruediv__
    __hash__ = None  # type: ignore[assignment]

    def __neg__(self) -> Any:
        return self.elementwise("negative", (self,))

    def __pos__(self) -> Any:
        return self

    def __abs__(self) -> Any:
        return self.elementwise("absolute", (self,))

    def __invert__(self) -> Any:
        return self.elementwise("invert", (self,))

    def __matmul__(self, other: Any) -> Any:
        if isinstance(other, Symbol):
            raise Untraceable(ROWS)
        from .columns import joined, spread

        weights = np.asarray(other, np.float64)
        flat = weights.ndim == 1
        value = self.graph.affine(joined(self.graph, self.cols), weights[:, None] if flat else weights)
        made = spread(self.cols, value, 1 if flat else weights.shape[1])
        return Array(self.graph, made, 1 if flat else 2)

    dot = __matmul__

    def __bool__(self) -> bool:
        from .branches import decided

        return decided(self)

    def __float__(self) -> float:
        raise Untraceable("it makes a Python number of a column (use numpy's functions on the column)")

    __int__ = __index__ = __complex__ = __float__  # type: ignore[assignment]

    def __len__(self) -> int:
        raise Untraceable("it counts rows")

    def __repr__(self) -> str:
        return f"<columns {', '.join(str(col.label) for col in self.cols)}>"

    def each_col(self, function: Callable[[Col], Col]) -> Any:
        """Another column for each, under the same name."""
        return self.like([replace(function(col), label=col.label) for col in self.cols])

    def copy(self, *_: Any, **__: Any) -> Any:
        return self.like(list(self.cols))

    def astype(self, dtype: Any, *_: Any, **__: Any) -> Any:
        if isinstance(dtype, dict):
            return self.like([replace(each.cast(self.graph, c, dtype[c.label]), label=c.label) if c.label in dtype else c for c in self.cols])
        return self.each_col(lambda col: each.cast(self.graph, col, dtype))

    def fillna(self, value: Any = None, *_: Any, inplace: bool = False, **keywords: Any) -> Any:
        if value is None or keywords.get("method"):
            raise Untraceable(ROWS)
        by_label = value if isinstance(value, (dict, pd.Series)) else None

        def fill(col: Col) -> Col:
            if by_label is not None and col.label not in by_label:
                return col
            return each.filled(self.graph, col, lifted(self.graph, value if by_label is None else by_label[col.label]))

        return self._kept(self.each_col(fill), inplace)

    def _kept(self, made: Any, inplace: bool) -> Any:
        if not inplace:
            return made
        self.cols[:] = made.cols
        return None

    def isna(self) -> Any:
        return self.each_col(lambda col: each.is_missing(self.graph, col))

    def notna(self) -> Any:
        return self.each_col(lambda col: each.logical_not(self.graph, each.is_missing(self.graph, col)))

    isnull, notnull = isna, notna

    def isin(self, values: Any) -> Any:
        return self.each_col(lambda col: each.member(self.graph, col, values))

    def clip(self, lower: Any = None, upper: Any = None, *_: Any, **keywords: Any) -> Any:
        lower = keywords.get("min", keywords.get("a_min", lower))
        upper = keywords.get("max", keywords.get("a_max", upper))
        made = self
        for bound, name in ((lower, "maximum"), (upper, "minimum")):
            if bound is None:
                continue
            made = made.elementwise(name, (made, bound))
        return made

    def abs(self) -> Any:
        return abs(self)

    def round(self, decimals: int = 0, *_: Any, **__: Any) -> Any:
        return self.each_col(lambda col: each.rounded(self.graph, col, decimals))

    def replace(self, to_replace: Any = None, value: Any = None, **_: Any) -> Any:
        if isinstance(to_replace, (list, tuple)):
            values = value if isinstance(value, (list, tuple)) else [value] * len(to_replace)
            to_replace = dict(zip(to_replace, values, strict=True))
        elif not isinstance(to_replace, dict):
            to_replace = {to_replace: value}
        nested = any(isinstance(inner, dict) for inner in to_replace.values())

        def change(col: Col) -> Col:
            table = to_replace.get(col.label, {}) if nested else to_replace
            return each.mapped(self.graph, col, table, col) if table else col

        return self.each_col(change)

    def where(self, test: Any, other: Any = np.nan, **_: Any) -> Any:
        return chosen(self.graph, test, self, other, self)

    def mask(self, test: Any, other: Any = np.nan, **_: Any) -> Any:
        return chosen(self.graph, test, other, self, self)

    def pipe(self, function: Any, *args: Any, **keywords: Any) -> Any:
        return function(self, *args, **keywords)

    def reset_index(self, *_: Any, **__: Any) -> Any:
        return self

    infer_objects = convert_dtypes = reset_index

    def reduced(self, name: str) -> Any:
        """One number of all columns of a row."""
        from .functions import reduced

        return reduced(self.graph, name, self.cols)


def chosen(graph: Graph, test: Any, yes: Any, no: Any, like: Any = None) -> Any:
    """`np.where` of wide things."""
    for value in (test, yes, no):
        of_its_own(value)
    wide = max((v for v in (like, test, yes, no) if isinstance(v, Symbol)), key=lambda v: len(v.cols))
    count = len(wide.cols)
    rows = [wide._aligned(value, count, wide) for value in (test, yes, no)]
    cols = [each.choose(graph, *(row[at] for row in rows)) for at in range(count)]
    if like is None:
        return Array(graph, cols, 1 if count == 1 and not any((isinstance(v, Array) and v.ndim == 2) or is_frame(v) for v in (test, yes, no)) else 2)
    return like.like([replace(col, label=old.label) for col, old in zip(cols, wide.cols, strict=True)])


class Array(Symbol):
    """An array `[rows]` or `[rows, columns]`."""

    def __init__(self, graph: Graph, cols: list[Col], ndim: int = 2) -> None:
        super().__init__(graph, cols)
        object.__setattr__(self, "ndim", ndim)

    ndim: int

    def like(self, cols: list[Col]) -> Any:
        return Array(self.graph, cols, self.ndim)

    def __iter__(self) -> Any:
        """The rows one by one, as of an array of one row: a loop does the same to each."""
        from .series import Scalar

        cells = [Scalar(self.graph, [col]) for col in self.cols]
        return iter(cells if self.ndim == 1 else [cells])

    def tolist(self) -> Any:
        return list(self)

    @property
    def shape(self) -> Any:
        return (Rows(), len(self.cols))[: self.ndim]

    @property
    def size(self) -> Any:
        return Rows()

    @property
    def dtype(self) -> Any:
        return np.dtype(object if any(col.kind == "category" for col in self.cols) else np.float64)

    def __getitem__(self, key: Any) -> Any:
        rows, *rest = key if isinstance(key, tuple) else (key,)
        if rows is Ellipsis:
            rows = slice(None)
        if isinstance(rows, Symbol) and not rest:
            from .masked import masked

            return masked(self, rows)
        if not (isinstance(rows, slice) and rows == slice(None)):
            raise Untraceable(ROWS)
        if not rest:
            return self
        if rest[0] is None:
            return Array(self.graph, self.cols, 2)
        if self.ndim == 1:
            raise Untraceable(ROWS)
        places = np.arange(len(self.cols))[rest[0]]
        if np.ndim(places) == 0:
            return Array(self.graph, [self.cols[int(places)]], 1)
        return Array(self.graph, [self.cols[place] for place in places], 2)

    def __setitem__(self, key: Any, value: Any) -> None:
        rows, *rest = key if isinstance(key, tuple) else (key,)
        places = np.arange(len(self.cols))[rest[0]] if rest else np.arange(len(self.cols))
        if isinstance(value, Symbol) and value._rows:
            value = _put_back(self.graph, rows, value)
        for at, place in enumerate(np.atleast_1d(places)):
            fresh = value.cols[at] if isinstance(value, Symbol) and len(value.cols) > 1 else lifted(self.graph, value)
            if isinstance(rows, Symbol):
                test = rows.cols[at] if len(rows.cols) > 1 else rows.cols[0]
                fresh = each.choose(self.graph, test, fresh, self.cols[place])
            elif not (isinstance(rows, slice) and rows == slice(None)) and rows is not Ellipsis:
                raise Untraceable(ROWS)
            self.cols[place] = fresh

    def reshape(self, *shape: Any, **_: Any) -> Any:
        sizes = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple) else shape
        if sizes in ((-1, 1), (Rows(), 1)) or (len(sizes) == 2 and sizes[1] in (1, len(self.cols)) and (sizes[0] == -1 or isinstance(sizes[0], Rows))):
            return Array(self.graph, self.cols, 2)
        if sizes in ((-1,), -1) and len(self.cols) == 1:
            return Array(self.graph, self.cols, 1)
        raise Untraceable("it gives the array another shape")

    def ravel(self, *_: Any, **__: Any) -> Any:
        return self.reshape(-1)

    flatten = squeeze = ravel

    def reducing(name: str) -> Any:  # type: ignore[misc]
        def rule(self: Any, axis: Any = None, keepdims: bool = False, **_: Any) -> Any:
            if axis not in (1, -1) or self.ndim != 2:
                return over_rows(self, name, axis)
            return Array(self.graph, [self.reduced(name)], 2 if keepdims else 1)

        return rule

    sum, mean, max, min, prod, std, var, any, all = map(reducing, ("sum", "mean", "max", "min", "prod", "std0", "var0", "any", "all"))


def _put_back(graph: Graph, test: Any, value: Symbol) -> Array:
    """Values of some rows, which go into the same ones."""
    if not isinstance(test, Symbol) or len(test.cols) != 1 or each.test_of(graph, test.cols[0]) != value._rows:
        raise Untraceable(ROWS)
    return Array(graph, list(value.cols), 1)


def over_rows(value: Symbol, name: str, axis: Any) -> Any:
    """A reduction over the rows, of which tests alone say something of one row."""
    from .checks import ByColumn, counted, every, some

    if value._rows or name not in ("any", "all", "sum", "nansum"):
        raise Untraceable(OVER)
    if value._over_rows:
        return value
    if name in ("sum", "nansum"):
        return counted(value.graph, value.cols)
    if axis is None or value.ndim == 1:
        return (some if name == "any" else every)(value.graph, value.cols)
    return ByColumn(value.graph, value.cols, name == "all")


class Rows:
    """The number of rows, which is not known."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rows)

    def __hash__(self) -> int:
        return 0

    def __index__(self) -> int:
        raise Untraceable("it counts rows")

    __int__ = __len__ = __bool__ = __index__  # type: ignore[assignment]


def unknown(name: str) -> Any:
    if name.startswith("__") or name in ("_mgr", "_ipython_display_"):
        raise AttributeError(name)
    looks = ("groupby", "rolling", "expanding", "shift", "diff", "cumsum", "rank", "sort_values", "merge", "quantile", "std", "mean", "median", "sum", "max", "min", "value_counts", "nunique", "unique", "mode", "duplicated", "drop_duplicates", "dropna", "sample", "head", "tail", "pct_change", "ffill", "bfill", "interpolate", "ewm", "var", "describe")
    raise Untraceable(f"it calls .{name}, which computes over several rows" if name in looks else f"it uses .{name}, which has no operator")
