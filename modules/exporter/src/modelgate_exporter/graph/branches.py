"""Functions of single values, with Python's `if`: each way through one is run, and the results are put together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import elementwise as each
from .build import Graph
from .columns import Col, roots
from .elementwise import Untraceable
from .frames import Frame
from .series import Scalar, Series
from .symbols import Rows, Symbol

WAYS = 64
"""Ways through a function: a dozen nested decisions."""


class _Path:
    """The decisions taken so far in one way through a function."""

    def __init__(self, wanted: list[bool]) -> None:
        self.wanted = wanted
        self.tests: list[Col] = []

    def take(self, test: Col) -> bool:
        self.tests.append(test)
        place = len(self.tests) - 1
        if place == len(self.wanted):
            self.wanted.append(True)
        return self.wanted[place]


_paths: list[_Path] = []


def decided(symbol: Symbol) -> bool:
    """The result of a test, in the way through the function that is being run."""
    if not _paths or len(symbol.cols) != 1:
        raise Untraceable("it decides by the values of a whole column (`if` or `and`; np.where and `&` do that for each row)")
    return _paths[-1].take(symbol.cols[0])


def explored(graph: Graph, call: Callable[[], Any]) -> Any:
    """The results of all ways, the first decision in front."""
    found: list[tuple[list[tuple[Col, bool]], Any]] = []
    pending: list[list[bool]] = [[]]
    while pending:
        if len(found) == WAYS:
            raise Untraceable(f"there are more than {WAYS} ways through it")
        path = _Path(pending.pop())
        given = len(path.wanted)
        _paths.append(path)
        try:
            result = call()
        finally:
            _paths.pop()
        found.append((list(zip(path.tests, path.wanted, strict=True)), result))
        for place in range(given, len(path.wanted)):
            pending.append([*path.wanted[:place], False])
    return _together(graph, found, 0)


def _together(graph: Graph, found: list[tuple[list[tuple[Col, bool]], Any]], depth: int) -> Any:
    if len(found) == 1:
        return found[0][1]
    test = found[0][0][depth][0]
    yes = _together(graph, [entry for entry in found if entry[0][depth][1]], depth + 1)
    no = _together(graph, [entry for entry in found if not entry[0][depth][1]], depth + 1)
    return _mixed(graph, test, yes, no)


def _mixed(graph: Graph, test: Col, yes: Any, no: Any) -> Any:
    if isinstance(yes, (list, tuple)) and isinstance(no, (list, tuple)) and len(yes) == len(no):
        return [_mixed(graph, test, one, other) for one, other in zip(yes, no, strict=True)]
    return Scalar(graph, [each.choose(graph, test, _value(graph, yes), _value(graph, no))])


def _value(graph: Graph, value: Any) -> Col:
    if isinstance(value, Symbol):
        return value.cols[0]
    return each.constant(graph, value)


def scalar(graph: Graph, function: Callable[[Any], Any], col: Col, skips_missing: bool = False) -> Col:
    """The result of a function of one value for a column."""
    result = _value(graph, explored(graph, lambda: function(Scalar(graph, [col]))))
    if skips_missing:
        result = each.choose(graph, each.is_missing(graph, col), each.constant(graph, float("nan")), result)
    return _of(graph, result, col)


def _of(graph: Graph, result: Col, col: Col) -> Col:
    """The result as a column of that many rows, though it may be a constant."""
    if result.roots:
        return result
    never = each.made(graph, graph.double(graph.op("Less", each.tensor(graph, col), graph.constant([[float("-inf")]]))), (col,), "bool")
    chosen = each.choose(graph, never, result, result)
    return Col(chosen.tensor, 0, chosen.kind, col.label, roots([col]), chosen.vocabulary)


class Row:
    """A row of a frame, as `apply(axis=1)` hands it on."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    def __getitem__(self, key: Any) -> Any:
        return Scalar(self._frame.graph, [self._frame._find(key)])

    def get(self, key: Any, default: Any = None) -> Any:
        return self[key] if key in self._frame else default

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name not in self._frame:
            raise Untraceable(f"it uses .{name} of a row")
        return self[name]


def row(frame: Frame, function: Callable[[Any], Any]) -> Any:
    """The result of a function of a row for a frame."""
    result = _value(frame.graph, explored(frame.graph, lambda: function(Row(frame))))
    return Series(frame.graph, [_of(frame.graph, result, frame.cols[0]).named(None)])


__all__ = ["Row", "Rows", "decided", "explored", "row", "scalar"]
