"""Stand-ins for frames."""

from __future__ import annotations

import operator
from collections.abc import Iterator, KeysView
from typing import Any

import numpy as np
import pandas as pd

from .checks import Told
from .columns import Col
from .elementwise import Untraceable
from .series import INDEX, Series
from .symbols import OVER, ROWS, Array, Rows, Symbol, chosen, lifted, over_rows, unknown

_map = map
"""Python's own, which a method of a frame hides."""


class Number:
    """The number of a row, which no row knows by itself."""

    def __getattr__(self, name: str) -> Any:
        raise Untraceable("it takes the number of a row")


NUMBER = Number()


class Located:
    """`.loc` and `.iloc`: whole columns, or the rows of a test."""

    def __init__(self, frame: Frame, by_place: bool) -> None:
        self._frame, self._by_place = frame, by_place

    def _labels(self, key: Any) -> Any:
        labels = [col.label for col in self._frame.cols]
        if not self._by_place:
            if isinstance(key, slice) and key != slice(None):
                first = 0 if key.start is None else labels.index(key.start)
                return labels[first : len(labels) if key.stop is None else labels.index(key.stop) + 1]
            if isinstance(key, (np.ndarray, pd.Series)) and np.asarray(key).dtype == bool:
                return list(np.array(labels, dtype=object)[np.asarray(key)])
            return key
        if isinstance(key, (int, np.integer)):
            return labels[key]
        return list(np.array(labels, dtype=object)[key])

    def __getitem__(self, key: Any) -> Any:
        rows, cols = key if isinstance(key, tuple) else (key, slice(None))
        if not (isinstance(rows, slice) and rows == slice(None)):
            raise Untraceable(ROWS)
        labels = self._labels(cols)
        if isinstance(labels, slice) and labels == slice(None):
            return self._frame
        return self._frame[labels]

    def __setitem__(self, key: Any, value: Any) -> None:
        rows, cols = key if isinstance(key, tuple) else (key, slice(None))
        labels = self._labels(cols)
        if isinstance(rows, slice) and rows == slice(None):
            self._frame[labels] = value
            return
        if not isinstance(rows, Symbol):
            raise Untraceable(ROWS)
        for label in labels if isinstance(labels, list) else [labels]:
            old = self._frame[label]
            self._frame[label] = chosen(self._frame.graph, rows, value, old, old)


class Frame(Symbol):
    """A frame."""

    __class__ = pd.DataFrame  # type: ignore[assignment]
    _form = "frame"
    ndim = 2
    index = INDEX
    empty = False

    @property
    def columns(self) -> Any:
        return pd.Index([col.label for col in self.cols])

    @columns.setter
    def columns(self, labels: Any) -> None:
        self.cols[:] = [col.named(label) for col, label in zip(self.cols, labels, strict=True)]

    @property
    def shape(self) -> Any:
        return (Rows(), len(self.cols))

    @property
    def values(self) -> Any:
        return Array(self.graph, list(self.cols), 2)

    def to_numpy(self, *_: Any, **__: Any) -> Any:
        return self.values

    @property
    def loc(self) -> Any:
        return Located(self, False)

    @property
    def iloc(self) -> Any:
        return Located(self, True)

    at = loc

    def _find(self, label: Any) -> Col:
        for col in self.cols:
            if operator.eq(str(col.label), str(label)) and col.label == label:
                return col
        raise KeyError(label)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, Symbol):
            raise Untraceable(ROWS)
        if isinstance(key, Told):
            raise Untraceable(OVER)
        if isinstance(key, (list, pd.Index, np.ndarray, set, KeysView)):
            key = list(key) if isinstance(key, (set, KeysView)) else key
            labels = np.asarray(self.columns, dtype=object)[key] if np.asarray(key).dtype == bool else key
            return Frame(self.graph, [self._find(label) for label in labels])
        if isinstance(key, slice):
            raise Untraceable(ROWS)
        return Series(self.graph, [self._find(key)])

    def __setitem__(self, key: Any, value: Any) -> None:
        if isinstance(key, Symbol):
            made = chosen(self.graph, key, value, self, self)
            self.cols[:] = made.cols
            return
        if isinstance(key, Told):
            raise Untraceable(OVER)
        if isinstance(key, (list, pd.Index, set, KeysView)):
            for at, label in enumerate(key):
                self[label] = value.like([value.cols[at]]) if isinstance(value, Symbol) and len(value.cols) > 1 else value
            return
        if callable(value):
            value = value(self)
        col = lifted(self.graph, value).named(key)
        for place, old in enumerate(self.cols):
            if old.label == key:
                self.cols[place] = col
                return
        self.cols.append(col)

    def __delitem__(self, key: Any) -> None:
        self.cols.remove(self._find(key))

    def __contains__(self, key: Any) -> bool:
        return key in list(self.columns)

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self.columns))

    def keys(self) -> Any:
        return self.columns

    def items(self) -> Any:
        return [(col.label, Series(self.graph, [col])) for col in self.cols]

    def get(self, key: Any, default: Any = None) -> Any:
        return self[key] if key in self else default

    def pop(self, key: Any) -> Any:
        found = self[key]
        del self[key]
        return found

    def insert(self, place: int, label: Any, value: Any, *_: Any) -> None:
        self.cols.insert(place, lifted(self.graph, value).named(label))

    def assign(self, **columns: Any) -> Any:
        made = self.copy()
        for label, value in columns.items():
            made[label] = value(made) if callable(value) else value
        return made

    def drop(self, labels: Any = None, axis: Any = 0, columns: Any = None, inplace: bool = False, errors: Any = "raise", **_: Any) -> Any:
        if columns is None and axis not in (1, "columns"):
            raise Untraceable(ROWS)
        names = labels if columns is None else columns
        names = [names] if isinstance(names, str) or not hasattr(names, "__iter__") else list(names)
        if errors == "raise":
            for name in names:
                self._find(name)
        return self._kept(Frame(self.graph, [col for col in self.cols if col.label not in names]), inplace)

    def rename(self, mapper: Any = None, columns: Any = None, inplace: bool = False, **_: Any) -> Any:
        names = columns if columns is not None else mapper
        change = names if callable(names) else lambda label: names.get(label, label)
        return self._kept(Frame(self.graph, [col.named(change(col.label)) for col in self.cols]), inplace)

    def set_axis(self, labels: Any, axis: Any = 0, **_: Any) -> Any:
        if axis not in (1, "columns"):
            raise Untraceable(ROWS)
        return Frame(self.graph, [col.named(label) for col, label in zip(self.cols, labels, strict=True)])

    def add_prefix(self, prefix: str, **_: Any) -> Any:
        return self.rename(columns=lambda label: f"{prefix}{label}")

    def add_suffix(self, suffix: str, **_: Any) -> Any:
        return self.rename(columns=lambda label: f"{label}{suffix}")

    def reindex(self, labels: Any = None, columns: Any = None, **_: Any) -> Any:
        if columns is None:
            raise Untraceable(ROWS)
        return self[list(columns)]

    def filter(self, items: Any = None, like: Any = None, regex: Any = None, **_: Any) -> Any:
        import re

        names = [str(label) for label in self.columns]
        kept = [n for n in names if (items is None or n in items) and (like is None or like in n) and (regex is None or re.search(regex, n))]
        return self[kept]

    def join(self, other: Any, **_: Any) -> Any:
        return Frame(self.graph, [*self.cols, *other.cols])

    def iterrows(self) -> Any:
        from .branches import Row

        return iter([(NUMBER, Row(self))])

    def itertuples(self, index: bool = True, name: Any = "Pandas") -> Any:
        from collections import namedtuple

        from .series import Scalar

        values = [Scalar(self.graph, [col]) for col in self.cols]
        labels = [str(col.label) for col in self.cols]
        if index:
            values, labels = [NUMBER, *values], ["Index", *labels]
        return iter([namedtuple(name, labels, rename=True)(*values) if name else tuple(values)])

    def to_dict(self, orient: Any = "dict", **_: Any) -> Any:
        if orient != "records":
            raise Untraceable("it makes a dictionary of the columns (orient='records' makes one of each row)")
        return Records(self.graph, list(self.cols))

    def merge(self, right: Any, how: str = "inner", on: Any = None, left_on: Any = None, right_on: Any = None, **_: Any) -> Any:
        """A table of the training, looked up by one column."""
        keys = [on[0] if isinstance(on, (list, tuple)) and len(on) == 1 else on] * 2 if on is not None else [left_on, right_on]
        if isinstance(right, Symbol) or not isinstance(right, pd.DataFrame) or how != "left" or not all(isinstance(key, str) for key in keys):
            raise Untraceable("it merges other rows in (a table of the training can be merged with how='left' and on= one column)")
        if right[keys[1]].duplicated().any():
            raise Untraceable(f"it merges a table in which a value of '{keys[1]}' stands twice")
        made = self.copy()
        for label in right.columns:
            if label == keys[1] and keys[0] == keys[1]:
                continue
            if label in self:
                raise Untraceable(f"it merges a second column '{label}' in")
            made[label] = self[keys[0]].map(dict(zip(right[keys[1]], right[label], strict=True)))
        return made

    def select_dtypes(self, include: Any = None, exclude: Any = None) -> Any:
        """The columns whose type in the sample frame is one of these."""
        empty = pd.DataFrame({place: pd.Series([], dtype=_type(col)) for place, col in enumerate(self.cols)})
        return Frame(self.graph, [self.cols[place] for place in empty.select_dtypes(include, exclude).columns])

    def apply(self, function: Any, axis: Any = 0, *args: Any, **keywords: Any) -> Any:
        keywords = {key: value for key, value in keywords.items() if key not in ("raw", "result_type")}
        call = (lambda value: function(value, *args, **keywords)) if args or keywords else function
        if axis in (1, "columns"):
            from .branches import row

            return row(self, call)
        made = [call(Series(self.graph, [col])) for col in self.cols]
        if all(isinstance(one, (bool, np.bool_, str)) for one in made):
            return pd.Series(made, index=self.columns)  # of their types alone
        if not all(isinstance(series, Symbol) and len(series.cols) == 1 for series in made):
            raise Untraceable(ROWS)
        return Frame(self.graph, [series.cols[0].named(col.label) for series, col in zip(made, self.cols, strict=True)])

    transform = apply

    def map(self, function: Any, *_: Any, **__: Any) -> Any:
        from .branches import scalar

        return self.each_col(lambda col: scalar(self.graph, function, col))

    applymap = map

    def reducing(name: str) -> Any:  # type: ignore[misc]
        def rule(self: Any, axis: Any = 0, skipna: bool = True, **_: Any) -> Any:
            if axis not in (1, "columns"):
                return over_rows(self, name, axis)
            return Series(self.graph, [self.reduced(name if not skipna or name in ("any", "all") else f"nan{name}").named(None)])

        return rule

    sum, mean, max, min, prod, std, var, any, all, median = _map(reducing, ("sum", "mean", "max", "min", "prod", "std", "var", "any", "all", "median"))

    def arithmetic(name: str) -> Any:  # type: ignore[misc]
        def rule(self: Any, other: Any, axis: Any = "columns", level: Any = None, fill_value: Any = None) -> Any:
            if level is not None or fill_value is not None:
                raise Untraceable(f"it calls .{name} with options")
            # Along the rows a series is put beside each column, else its values belong to the columns by name.
            given = other.values if isinstance(other, Series) and axis in (0, "index") else other
            return getattr(super(Frame, self), name)(given)

        return rule

    add, sub, mul, div, truediv, floordiv, mod, pow = _map(arithmetic, ("add", "sub", "mul", "div", "truediv", "floordiv", "mod", "pow"))

    def agg(self, func: Any, axis: Any = 0, **options: Any) -> Any:
        """Functions of a row, each a column of the result where there are several."""
        if axis not in (1, "columns"):
            raise Untraceable(OVER)
        several = func if isinstance(func, (list, tuple)) else [func]
        made = [self._aggregated(one, options) for one in several]
        if not isinstance(func, (list, tuple)):
            return made[0]
        return Frame(self.graph, [one.cols[0].named(_name(func)) for one, func in zip(made, several, strict=True)])

    aggregate = agg

    def _aggregated(self, function: Any, options: Any) -> Any:
        name = _name(function)
        if name in REDUCED and (isinstance(function, str) or getattr(np, name, None) is function):
            # Of numpy's own functions pandas takes its own of the same name.
            return getattr(self, REDUCED[name])(axis=1, **options)
        return self.apply(function, axis=1, **options)

    @property
    def dtypes(self) -> Any:
        return pd.Series({col.label: Series(self.graph, [col]).dtype for col in self.cols}, dtype=object)

    def set_index(self, keys: Any, **_: Any) -> Any:
        if keys is not INDEX:
            raise Untraceable("it makes a column the index")
        return self.copy()

    def eval(self, expr: str, inplace: bool = False, **_: Any) -> Any:
        """Assignments and expressions of columns' names, in Python's own syntax."""
        made: Any = self if inplace else self.copy()
        for line in filter(None, map(str.strip, expr.splitlines())):
            if any(sign in line for sign in "@`"):
                raise Untraceable("it calls eval with other names than those of columns")
            name, found, rest = _assigned(line)
            value = eval(rest, {"__builtins__": {}}, {str(col.label): Series(self.graph, [col]) for col in made.cols})
            if not found:
                return value
            made[name] = value
        return None if inplace else made

    def __getattr__(self, name: str) -> Any:
        if name in list(self.columns):
            return self[name]
        unknown(name)


REDUCED = {name: name for name in ("sum", "mean", "max", "min", "prod", "std", "var", "any", "all", "median")}
REDUCED |= {"amax": "max", "amin": "min"}


def _name(function: Any) -> str:
    return function if isinstance(function, str) else str(getattr(function, "__name__", ""))


def _assigned(line: str) -> tuple[str, bool, str]:
    """The name before an assignment, whether there is one, and the expression."""
    import ast

    (first,) = ast.parse(line).body
    if isinstance(first, ast.Assign) and len(first.targets) == 1 and isinstance(first.targets[0], ast.Name):
        return first.targets[0].id, True, ast.unparse(first.value)
    if isinstance(first, ast.Expr):
        return "", False, line
    raise Untraceable("it calls eval with what is no expression")


class Dummies:
    """`pd.get_dummies` of a frame: the columns that the training had are taken from it by `reindex`."""

    def __init__(self, frame: Frame, names: list[Any], prefixes: dict[Any, str], separator: str) -> None:
        self._frame, self._names, self._prefixes, self._separator = frame, names, prefixes, separator

    def reindex(self, labels: Any = None, columns: Any = None, fill_value: Any = np.nan, **_: Any) -> Any:
        if columns is None:
            raise Untraceable(ROWS)
        made = Frame(self._frame.graph, [])
        plain = [col.label for col in self._frame.cols if col.label not in self._names]
        for label in columns:
            if label in plain:
                made[label] = self._frame[label]
                continue
            found = [name for name in self._names if str(label).startswith(f"{self._prefixes[name]}{self._separator}")]
            made[label] = fill_value
            for name in found:
                word = str(label)[len(self._prefixes[name]) + len(self._separator) :]
                made[label] = chosen(self._frame.graph, self._frame[name] == word, 1.0, float(fill_value), self._frame[name])
        return made

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise Untraceable(DUMMIES)


DUMMIES = (
    "it makes a column of each value that the rows have (pd.get_dummies, but for .reindex(columns=…) behind it); "
    "OneHotEncoder(handle_unknown='ignore') does that for the values of the training"
)


class Records(Symbol):
    """A dictionary for each row, which DictVectorizer takes."""

    _form = "records"
    ndim = 2

    def __iter__(self) -> Iterator[Any]:
        from .series import Scalar

        return iter([{col.label: Scalar(self.graph, [col]) for col in self.cols}])


def _type(col: Col) -> Any:
    if not col.dtype:
        raise Untraceable("it selects columns by a type that the step before gave them")
    return col.dtype
