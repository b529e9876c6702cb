"""Stand-ins for columns of a frame, and for single values of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from . import elementwise as each
from .columns import Col
from .dates import Parts
from .elementwise import Untraceable
from .strings import Texts
from .symbols import ROWS, Array, Rows, Symbol, over_rows, unknown

METHODS = ("lower", "upper", "strip", "lstrip", "rstrip", "startswith", "endswith", "split", "replace", "title", "capitalize")
"""Of Python's texts: those that pandas' `.str` has with the same meaning."""


DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"]


class Index:
    """The index of a frame: only to be handed on."""


INDEX = Index()


class Series(Symbol):
    """A column of a frame."""

    __class__ = pd.Series  # type: ignore[assignment]
    _form = "series"
    ndim = 1

    index = INDEX
    empty = False

    def _single(self) -> Col:
        return self.cols[0]

    @property
    def name(self) -> Any:
        return self.cols[0].label

    @name.setter
    def name(self, label: Any) -> None:
        self.cols[0] = self.cols[0].named(label)

    @property
    def dtype(self) -> Any:
        kinds = {"bool": np.dtype(bool), "date": np.dtype("datetime64[ns]"), "category": np.dtype(object)}
        col = self.cols[0]
        if col.dtype in ("str", "string"):
            return pd.StringDtype(na_value=np.nan) if col.dtype == "str" else pd.StringDtype()
        if col.dtype == "category":
            if not (col.roots and col.roots[0].categories):
                raise Untraceable("it asks for the type of a column of categories")
            return pd.CategoricalDtype(col.roots[0].categories)
        return kinds.get(col.kind, np.dtype(col.dtype if col.dtype in ("int64", "float32", "int32") else np.float64))

    @property
    def values(self) -> Any:
        return Array(self.graph, list(self.cols), 1)

    def to_numpy(self, *_: Any, **__: Any) -> Any:
        return self.values

    @property
    def shape(self) -> Any:
        return (Rows(),)

    @property
    def dt(self) -> Any:
        return Accessor(self)

    @property
    def str(self) -> Any:
        return Texts(self.graph, self.cols[0], lambda col: Series(self.graph, [col]))

    @property
    def cat(self) -> Any:
        return Categories(self)

    def map(self, to: Any, na_action: Any = None, **_: Any) -> Any:
        if isinstance(to, pd.Series):
            if not to.index.is_unique:
                raise Untraceable("it looks values up in a table in which one stands twice")
            to = to.to_dict()
        if isinstance(to, dict):
            return self.each_col(lambda col: each.mapped(self.graph, col, to, None))
        from .branches import scalar

        return self.each_col(lambda col: scalar(self.graph, to, col, na_action == "ignore"))

    def apply(self, function: Any, *args: Any, **keywords: Any) -> Any:
        call = (lambda value: function(value, *args, **keywords)) if args or keywords else function
        return self.map(call)

    transform = apply

    def between(self, left: Any, right: Any, inclusive: Any = "both") -> Any:
        low = self >= left if inclusive in ("both", "left") else self > left
        high = self <= right if inclusive in ("both", "right") else self < right
        return low & high

    def to_frame(self, name: Any = None) -> Any:
        from .frames import Frame

        return Frame(self.graph, [col if name is None else col.named(name) for col in self.cols])

    def rename(self, name: Any = None, **_: Any) -> Any:
        return Series(self.graph, [self.cols[0].named(name)])

    def combine_first(self, other: Any) -> Any:
        return self.fillna(other)

    def __iter__(self) -> Any:
        """The values one by one, as of a frame of one row: a loop does the same to each."""
        return iter([Scalar(self.graph, list(self.cols))])

    def tolist(self) -> Any:
        return list(self)

    to_list = tolist

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, Symbol):
            return self.values[key]
        raise Untraceable(ROWS)

    def __setitem__(self, key: Any, value: Any) -> None:
        label = self.name
        Array(self.graph, self.cols, 1)[key] = value
        self.cols[0] = self.cols[0].named(label)

    def reducing(name: str) -> Any:  # type: ignore[misc]
        return lambda self, *_, **__: over_rows(self, name, None)

    any, all, sum = reducing("any"), reducing("all"), reducing("sum")

    def __getattr__(self, name: str) -> Any:
        unknown(name)


class Categories:
    """`.cat`."""

    def __init__(self, series: Series) -> None:
        known = series.cols[0].roots[0].categories if series.cols[0].dtype == "category" and series.cols[0].roots else []
        if not known:
            raise Untraceable("it takes .cat of a column that is no category in the sample frame")
        self._series = series
        self.categories = pd.Index(known)

    @property
    def codes(self) -> Any:
        found = self._series.map({value: float(place) for place, value in enumerate(self.categories)})
        return found.fillna(-1.0)

    def add_categories(self, *_: Any) -> Any:
        """The same column, which may then be given another text."""
        return self._series

    def __getattr__(self, name: str) -> Any:
        raise Untraceable(f"it uses .cat.{name}, which has no operator")


class Accessor:
    """`.dt`."""

    def __init__(self, series: Series) -> None:
        self._series = series
        if series.cols[0].kind not in ("date", "delta"):
            raise Untraceable("it takes .dt of a column that is no date in the sample frame")

    def _part(self, name: str) -> Any:
        col = self._series.cols[0]
        part = Parts(self._series.graph, col).part(name)
        return Series(self._series.graph, [part.named(col.label)])

    def isocalendar(self) -> Any:
        """Only its week is known."""
        return type("Calendar", (), {"week": self._part("week"), "day": self._part("dayofweek") + 1})()

    def day_name(self) -> Any:
        return self._named("dayofweek", DAYS)

    def month_name(self) -> Any:
        return self._named("month", ["", *MONTHS])

    def _named(self, part: str, names: list[str]) -> Any:
        return self._part(part).map({float(place): name for place, name in enumerate(names) if name})

    def total_seconds(self) -> Any:
        return self._part("total_seconds")

    def normalize(self) -> Any:
        return self._part("normalize")

    def floor(self, unit: str) -> Any:
        if unit not in ("D", "d"):
            raise Untraceable(f"it rounds a date to {unit}")
        return self._part("normalize")

    def __getattr__(self, name: str) -> Any:
        return self._part(name)


class Scalar(Symbol):
    """A single value of a column, as functions see it that `map` and `apply` call."""

    ndim = 0

    def like(self, cols: list[Col]) -> Any:
        return Scalar(self.graph, cols)

    @property
    def values(self) -> Any:
        return self

    def __getattr__(self, name: str) -> Any:
        col = self.cols[0]
        if col.kind == "date" and not name.startswith("__"):
            parts = Parts(self.graph, col)
            if name in ("weekday", "isoweekday"):
                return lambda: Scalar(self.graph, [parts.part("weekday")]) + (1 if name == "isoweekday" else 0)
            return Scalar(self.graph, [parts.part(name)])
        if col.kind == "category" and name in METHODS:
            return getattr(self._text(), name)
        if col.kind == "category" and not name.startswith("__"):
            raise Untraceable(f"it calls .{name} of a text, for which there is no operator")
        unknown(name)

    def __iter__(self) -> Any:
        raise Untraceable("it goes through the characters of a text")

    def _text(self) -> Texts:
        return Texts(self.graph, self.cols[0], lambda col: Scalar(self.graph, [col]))

    def __getitem__(self, key: Any) -> Any:
        return self._text()[key]

    def __contains__(self, part: Any) -> bool:
        return bool(self._text().contains(part, regex=False))
