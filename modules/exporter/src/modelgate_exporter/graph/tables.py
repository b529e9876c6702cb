"""Tables of the training, of which each row takes the line that its own value names."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from . import elementwise as each
from .build import Graph
from .categories import NEVER, code, is_category_missing
from .columns import Col, is_nan
from .elementwise import Untraceable
from .symbols import Symbol


def lines(graph: Graph, col: Col, keys: Sequence[Any], values: npt.NDArray[np.float64], other: Any = np.nan) -> tuple[str, str]:
    """The lines `[rows, width]` of a table by their keys, `other` for a value that is none, and whether it was one.

    Of two equal keys the last one counts.
    """
    number = {}
    lost = None
    for place, key in enumerate(keys):
        if is_category_missing(col, key) or (col.kind == "number" and (key is None or is_nan(key))):
            lost = place
        elif (known := code(col, key)) != NEVER and known == known:
            number[known] = place
    unknown = np.broadcast_to(np.asarray(other, np.float64), (1, values.shape[1]))
    missing = unknown if lost is None else values[lost : lost + 1]
    value = each.tensor(graph, col)
    if col.kind == "category" and not col.numeral:
        # A text has its place among those that the pipeline tells apart; of later ones this table has none.
        size = int(max(number, default=-1)) + 1
        table = np.repeat(unknown, size, axis=0)
        for known, place in number.items():
            table[int(known)] = values[place]
        outside = graph.op("Or", graph.op("Less", value, graph.constant([[0.0]])), graph.op("GreaterOrEqual", value, graph.constant([[float(size)]])))
        at = graph.where(outside, graph.constant([[0.0]]), graph.op("Add", value, graph.constant([[1.0]])))
    else:
        size = len(number)
        table = values[list(number.values())].reshape(size, values.shape[1])
        test = graph.op("Equal", value, graph.constant([list(number) or [np.nan]]))
        at = graph.affine(graph.double(test), np.arange(1.0, max(size, 1) + 1)[:, None])
    at = graph.where(graph.op("IsNaN", value), graph.constant([[size + 1.0]]), at)
    whole = np.vstack([unknown, table, missing])
    if col.kind == "category" and not col.numeral:
        listed = np.isin(np.arange(size), [int(known) for known in number])
    else:
        listed = np.ones(size, bool)
    there = np.concatenate([[False], listed, [lost is not None]])
    if np.isnan(whole[~there]).any():
        graph.gaps = True
    place_ = graph.cast(graph.op("Squeeze", at, graph.places([1])), 7)
    found = graph.op("Gather", graph.constant(whole), place_, axis=0)
    known_ = graph.op("Greater", graph.op("Gather", graph.constant(there[:, None].astype(np.float64)), place_, axis=0), graph.constant([[0.5]]))
    return found, known_


def numbers(table: Any) -> npt.NDArray[np.float64] | None:
    """The values as numbers, NaN for None; nothing where some are none."""
    cells = np.asarray(table, dtype=object)
    if not all(value is None or isinstance(value, (bool, int, float, np.bool_, np.integer, np.floating)) for value in cells.ravel()):
        return None
    return np.array([np.nan if value is None else float(value) for value in cells.ravel()]).reshape(cells.shape)


def looked_up(graph: Graph, col: Col, table: Any, refuses: bool) -> Any:
    """`table.reindex(column)`, or `table.loc[column]`, which refuses what the table lacks."""
    from .frames import Frame
    from .series import Series

    if isinstance(table.index, pd.MultiIndex) or not table.index.is_unique:
        raise Untraceable("it looks values up in a table in which one stands twice, or under several")
    wide = table.to_frame() if isinstance(table, pd.Series) else table
    labels = [table.name] if isinstance(table, pd.Series) else list(table.columns)
    keys = list(table.index)
    values = numbers(wide.to_numpy(dtype=object))
    cols = []
    if values is not None:
        found, known = lines(graph, col, keys, values)
        cols = [Col(found, place, "number", label, col.roots) for place, label in enumerate(labels)]
    else:
        _, known = lines(graph, col, keys, np.zeros((len(keys), 1)))
        for place, label in enumerate(labels):
            pairs = dict(zip(keys, wide.iloc[:, place], strict=True))
            cols.append(each.mapped(graph, col, pairs, None).named(label))
    if refuses:
        graph.refuse(graph.op("Not", known))
    return Series(graph, cols) if isinstance(table, pd.Series) else Frame(graph, cols)


def _by_column(given: Any) -> Col | None:
    """The column whose values name the lines, where they do."""
    if not isinstance(given, Symbol):
        return None
    if given.ndim > 1 or len(given.cols) != 1 or given._over_rows or given.cols[0].kind not in ("number", "category"):
        raise Untraceable("it looks values up in a table by other things than one column")
    return given.cols[0]


@contextlib.contextmanager
def with_tables(graph: Graph) -> Iterator[None]:
    """pandas' own frames, series and indices take stand-ins for what they are asked about."""
    from pandas.core import indexing

    from .checks import ByColumn
    from .series import Scalar

    def reindexed(real: Callable[..., Any]) -> Any:
        def call(table: Any, *args: Any, **keywords: Any) -> Any:
            given = args[0] if args else keywords.get("index", keywords.get("labels"))
            col = _by_column(given)
            if col is None:
                return real(table, *args, **keywords)
            if len(args) > 1 or set(keywords) - {"index", "labels", "axis", "copy"} or keywords.get("axis", 0) not in (0, "index"):
                raise Untraceable("it looks values up in a table with options")
            return looked_up(graph, col, table, False)

        return call

    def located(real: Callable[..., Any]) -> Any:
        def call(indexer: Any, key: Any) -> Any:
            rows, *rest = key if isinstance(key, tuple) else (key,)
            col = _by_column(rows)
            if col is None:
                return real(indexer, key)
            return looked_up(graph, col, real(indexer, (slice(None), *rest)) if rest else indexer.obj, True)

        return call

    def picked(real: Callable[..., Any]) -> Any:
        def call(table: Any, key: Any) -> Any:
            col = _by_column(key)
            return real(table, key) if col is None else looked_up(graph, col, table, True)

        return call

    def labels(real: Callable[..., Any]) -> Any:
        return lambda index, key: key.labels if isinstance(key, ByColumn) else real(index, key)

    def holds(real: Callable[..., Any]) -> Any:
        return lambda index, key: bool(key.isin(list(index))) if isinstance(key, Scalar) else real(index, key)

    changed = [
        (pd.DataFrame, "reindex", reindexed), (pd.Series, "reindex", reindexed), (indexing._LocIndexer, "__getitem__", located),
        (pd.Series, "__getitem__", picked), (pd.Index, "__getitem__", labels), (pd.Index, "__contains__", holds),
    ]  # fmt: skip
    before = [(owner, name, vars(owner).get(name)) for owner, name, _ in changed]
    try:
        for owner, name, make in changed:
            setattr(owner, name, make(getattr(owner, name)))
        yield
    finally:
        for owner, name, own in before:
            if own is None:
                delattr(owner, name)
            else:
                setattr(owner, name, own)
