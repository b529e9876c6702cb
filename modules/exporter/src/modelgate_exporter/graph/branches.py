"""Functions of single values, with Python's `if`: each way through one is run, and the results are put together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import CannotExport
from . import elementwise as each
from .build import Graph
from .checks import Checked, condition, patched, raised, same
from .columns import Col, NeedsTexts, roots
from .elementwise import Untraceable
from .frames import Frame
from .series import Scalar, Series
from .symbols import Rows, Symbol, of_its_own

WAYS = 64
"""Ways through a function: a dozen nested decisions."""


class _Path:
    """The decisions taken so far in one way through a function."""

    def __init__(self, wanted: list[bool]) -> None:
        self.wanted = wanted
        self.tests: list[Symbol] = []

    def taken(self) -> list[tuple[Col, bool]]:
        """The tests so far, and how they were decided."""
        return [(test.cols[0], self.wanted[place]) for place, test in enumerate(self.tests)]

    def take(self, test: Symbol) -> bool:
        # What was decided before in this way is not decided again.
        for place, known in enumerate(self.tests):
            if (known.cols[0].tensor, known.cols[0].place) == (test.cols[0].tensor, test.cols[0].place):
                return self.wanted[place]
        self.tests.append(test)
        place = len(self.tests) - 1
        if place == len(self.wanted):
            self.wanted.append(True)
        return self.wanted[place]


_paths: list[_Path] = []


class NeedsWays(Exception):
    """A loop over rows decides by their values: the whole function has to be run in each way."""


def decided(symbol: Symbol) -> bool:
    """The result of a test, in the way through the function that is being run."""
    if not _paths and symbol.ndim == 0:
        raise NeedsWays
    if not _paths or len(symbol.cols) != 1:
        raise Untraceable("it decides by the values of a whole column (`if` or `and`; np.where and `&` do that for each row)")
    return _paths[-1].take(symbol)


class _Refused:
    """In place of the result of a way that ends in a `raise`."""


REFUSED = _Refused()


def explored(graph: Graph, call: Callable[[], Any], unless: Col | None = None) -> Any:
    """The results of all ways, the first decision in front. Rows are refused whose way ends in a `raise`, `unless` holds."""
    found: list[tuple[list[tuple[Symbol, bool]], Any]] = []
    refused: list[list[tuple[Col, bool]]] = []
    errors: list[Exception] = []
    pending: list[list[bool]] = [[]]
    while pending:
        if len(found) >= WAYS:
            raise Untraceable(f"there are more than {WAYS} ways through it")
        path = _Path(pending.pop())
        given = len(path.wanted)
        _paths.append(path)
        try:
            result = call()
        except (Untraceable, NeedsTexts, CannotExport, NeedsWays):
            raise
        except Exception as error:
            if not path.tests or not raised(error):
                raise
            result = REFUSED
            errors.append(error)
            refused.append(path.taken())
        finally:
            _paths.pop()
        found.append((list(zip(path.tests, path.wanted, strict=True)), result))
        for place in range(given, len(path.wanted)):
            pending.append([*path.wanted[:place], False])
    made = _together(graph, found, 0)
    if made is REFUSED:
        raise errors[0]
    before = [entry for path in _paths for entry in path.taken()] + ([] if unless is None else [(unless, False)])
    for taken in refused:
        graph.refuse(condition(graph, [*before, *taken]))
    return made


def _together(graph: Graph, found: list[tuple[list[tuple[Symbol, bool]], Any]], depth: int) -> Any:
    if len(found) == 1:
        return found[0][1]
    test = found[0][0][depth][0]
    yes = _together(graph, [entry for entry in found if entry[0][depth][1]], depth + 1)
    no = _together(graph, [entry for entry in found if not entry[0][depth][1]], depth + 1)
    if yes is REFUSED or no is REFUSED:
        return no if yes is REFUSED else yes
    return _mixed(graph, test, yes, no)


def _mixed(graph: Graph, test: Symbol, yes: Any, no: Any) -> Any:
    if isinstance(yes, (list, tuple)) and isinstance(no, (list, tuple)) and len(yes) == len(no):
        return [_mixed(graph, test, one, other) for one, other in zip(yes, no, strict=True)]
    if isinstance(yes, Symbol) and isinstance(no, Symbol) and (yes.ndim or no.ndim):
        return _mixed_columns(graph, test, yes, no)
    of_its_own(test)
    return Scalar(graph, [each.choose(graph, test.cols[0], _value(graph, yes), _value(graph, no))])


def _mixed_columns(graph: Graph, test: Symbol, yes: Symbol, no: Symbol) -> Any:
    """Whole results of two ways, which have the same columns."""
    if [col.label for col in yes.cols] != [col.label for col in no.cols] or yes.ndim != no.ndim:
        raise Untraceable("it gives some rows other columns than others")
    pairs = zip(yes.cols, no.cols, strict=True)
    if isinstance(test, Checked):
        return yes.like([patched(graph, test, one, other).named(one.label) for one, other in pairs])
    return yes.like([one if same(one, other) else each.choose(graph, test.cols[0], one, other).named(one.label) for one, other in pairs])


def _value(graph: Graph, value: Any) -> Col:
    if isinstance(value, Symbol):
        return value.cols[0]
    return each.constant(graph, value)


UNFOLLOWED = (Untraceable, TypeError, ValueError, AttributeError, KeyError, IndexError)
"""Errors of code that stand-ins cannot go through."""


def outside(graph: Graph, error: Exception, call: Callable[[Any], Any]) -> Any:
    """A column by the stage in Python. Raises what `error` was, and why that stage does not do either."""
    told = str(error) if isinstance(error, Untraceable) else f"it fails on symbolic columns ({type(error).__name__}: {' '.join(str(error).split())[:160]})"
    if graph.foreign is None:
        raise error
    try:
        return call(graph.foreign)
    except Untraceable as why:
        raise Untraceable(f"{told}; {why}").with_traceback(error.__traceback__) from None


def scalar(graph: Graph, function: Callable[[Any], Any], col: Col, skips_missing: bool = False) -> Col:
    """The result of a function of one value for a column."""
    try:
        result = _value(graph, explored(graph, lambda: function(Scalar(graph, [col])), each.is_missing(graph, col) if skips_missing else None))
    except UNFOLLOWED as error:
        if skips_missing:
            raise
        return outside(graph, error, lambda foreign: foreign.value(function, col))
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
    """A row of a frame, as `apply(axis=1)` and `iterrows` hand it on."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    def __getitem__(self, key: Any) -> Any:
        return Scalar(self._frame.graph, [self._frame._find(key)])

    def get(self, key: Any, default: Any = None) -> Any:
        return self[key] if key in self._frame else default

    def __contains__(self, key: Any) -> bool:
        return key in self._frame

    def __iter__(self) -> Any:
        return iter([Scalar(self._frame.graph, [col]) for col in self._frame.cols])

    def __len__(self) -> int:
        return len(self._frame.cols)

    @property
    def values(self) -> Any:
        """The values of the row, in order."""
        return list(self)

    def to_dict(self) -> Any:
        """The values of the row by name."""
        return {col.label: Scalar(self._frame.graph, [col]) for col in self._frame.cols}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name not in self._frame:
            raise Untraceable(f"it uses .{name} of a row")
        return self[name]


def row(frame: Frame, function: Callable[[Any], Any]) -> Any:
    """The result of a function of a row for a frame."""
    graph = frame.graph
    try:
        result = explored(graph, lambda: _labelled(function(Row(frame))))
    except UNFOLLOWED as error:
        return Series(graph, [outside(graph, error, lambda foreign: foreign.row(function, frame.cols)).named(None)])
    if isinstance(result, Frame):
        return Frame(graph, [_of(graph, col, frame.cols[0]).named(col.label) for col in result.cols])
    return Series(graph, [_of(graph, _value(graph, result), frame.cols[0]).named(None)])


def _labelled(result: Any) -> Any:
    """The result of a function of a row: one value, or a series of several, each a column of the result."""
    if isinstance(result, Series) and len(result.cols) > 1:
        return Frame(result.graph, list(result.cols))
    return result


__all__ = ["NeedsWays", "Row", "Rows", "decided", "explored", "row", "scalar"]
