"""Tests of all rows at once, as `if X.isna().any(): raise …`: each row is answered as if it came alone.

Where such a test holds, the code may refuse the rows, or change those that the test finds. Whatever else it decided
would depend on the rows that happen to come together, and is not followed.
"""

from __future__ import annotations

import dis
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from . import elementwise as each
from .build import Graph
from .columns import Col, joined
from .elementwise import Untraceable
from .series import Scalar
from .symbols import OVER, Symbol

LIBRARIES = ("pandas", "numpy", "sklearn", "scipy")
"""Errors from within these may come of the stand-ins that they were given."""


class Checked(Scalar):
    """Whether some row, or every row, passes a test."""

    _over_rows = True

    def __init__(self, graph: Graph, cols: list[Col], found: tuple[str, ...] = (), every: bool = False) -> None:
        super().__init__(graph, cols)
        object.__setattr__(self, "found", found)
        object.__setattr__(self, "every", every)
        stack = traceback.StackSummary.extract(traceback.walk_stack(None), lookup_lines=False)
        object.__setattr__(self, "stack", list(stack)[::-1])

    found: tuple[str, ...]
    """The tests of which one holds in a row that decides."""
    every: bool
    stack: list[traceback.FrameSummary]
    """Where the code tests."""

    def like(self, cols: list[Col]) -> Any:
        return Checked(self.graph, cols)

    def any(self, *_: Any, **__: Any) -> Any:
        """The same: it is one truth."""
        return self

    all = item = any


def some(graph: Graph, cols: list[Col]) -> Any:
    """Whether a test holds in any row; a plain `False` where it is known to hold in none."""
    _tests(cols)
    tests = [each.test_of(graph, col) for col in cols if col.tensor not in graph.never]
    if not tests:
        return np.False_
    whole = tests[0]
    for test in tests[1:]:
        whole = graph.op("Or", whole, test)
    return Checked(graph, [each.made(graph, graph.double(whole), tuple(cols), "bool")], tuple(tests))


def every(graph: Graph, cols: list[Col]) -> Any:
    """Whether a test holds in all rows."""
    _tests(cols)
    tests = [each.test_of(graph, col) for col in cols]
    whole = tests[0]
    for test in tests[1:]:
        whole = graph.op("And", whole, test)
    failed = tuple(graph.op("Not", test) for test in tests)
    return Checked(graph, [each.made(graph, graph.double(whole), tuple(cols), "bool")], failed, every=True)


def _tests(cols: list[Col]) -> None:
    if any(col.kind not in ("bool", "number") or col.numeral for col in cols):
        raise Untraceable(OVER)


class ByColumn:
    """`.any()` and `.all()` of a frame: one truth for each column."""

    def __init__(self, graph: Graph, cols: list[Col], whole: bool) -> None:
        self._graph, self._cols, self._whole = graph, cols, whole

    def _one(self, cols: list[Col]) -> Any:
        return (every if self._whole else some)(self._graph, cols)

    def any(self, *_: Any, **__: Any) -> Any:
        """Of any column."""
        found = self._one(self._cols)
        return found.like(found.cols) if self._whole and len(self._cols) > 1 else found

    def all(self, *_: Any, **__: Any) -> Any:
        """Of every column."""
        if self._whole or len(self._cols) == 1:
            return self._one(self._cols)
        return Checked(self._graph, every(self._graph, self._cols).cols)

    def __getitem__(self, label: Any) -> Any:
        return self._one([col for col in self._cols if col.label == label])

    @property
    def labels(self) -> Told:
        """The columns that it may hold for."""
        return Told(col.label for col in self._cols if col.tensor not in self._graph.never)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise Untraceable(OVER)


class Told(list):  # type: ignore[type-arg]
    """Names of columns that some rows have something in: for a message, and nothing else."""

    def tolist(self) -> Any:
        """The same names."""
        return self

    to_list = tolist


class Counted:
    """In how many rows a test holds: whether in any is all that a row can tell."""

    def __init__(self, graph: Graph, cols: list[Col]) -> None:
        self._graph, self._cols = graph, cols

    def sum(self, *_: Any, **__: Any) -> Any:
        """Of all columns together."""
        return self

    def any(self, *_: Any, **__: Any) -> Any:
        """Whether in any."""
        return some(self._graph, self._cols)

    def __bool__(self) -> bool:
        return bool(self.any())

    def __float__(self) -> float:
        raise Untraceable(OVER)

    __int__ = __index__ = __float__  # type: ignore[assignment]

    def _compared(limit: int, holds: bool) -> Any:  # type: ignore[misc]
        def rule(self: Counted, other: Any) -> Any:
            if isinstance(other, Symbol) or other != limit:
                raise Untraceable(OVER)
            found = self.any()
            return found if holds else ~found

        return rule

    __gt__, __ne__, __ge__ = _compared(0, True), _compared(0, True), _compared(1, True)
    __eq__, __le__, __lt__ = _compared(0, False), _compared(0, False), _compared(1, False)
    __hash__ = None  # type: ignore[assignment]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise Untraceable(OVER)


def counted(graph: Graph, cols: list[Col]) -> Counted:
    """The sum over the rows of tests."""
    if any(col.kind != "bool" for col in cols):
        raise Untraceable(OVER)
    return Counted(graph, cols)


def raised(error: BaseException) -> bool:
    """Whether code of the pipeline's itself raises the error, by a `raise` of its own."""
    last: TracebackType | None = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if last is None:
        return False
    code = last.tb_frame.f_code
    path = Path(code.co_filename)
    if Path(__file__).parent.parent in path.parents or any(part in path.parts for part in LIBRARIES):
        return False
    return code.co_code[last.tb_lasti] == dis.opmap["RAISE_VARARGS"]


def condition(graph: Graph, taken: list[tuple[Col, bool]]) -> str:
    """Whether a row goes the way of these decisions, `[rows, 1]` booleans."""
    whole = ""
    for test, wanted in taken:
        one = each.test_of(graph, test)
        one = one if wanted else graph.op("Not", one)
        whole = graph.op("And", whole, one) if whole else one
    return whole


def patched(graph: Graph, test: Checked, yes: Col, no: Col) -> Col:
    """A column that a test of all rows changes in the rows alone that it finds."""
    changed, kept = (no, yes) if test.every else (yes, no)
    if same(changed, kept) or _changes(graph, changed.tensor, each.tensor(graph, kept), test.found):
        return changed
    error = Untraceable(f"{OVER}: by a test of all of them (.any(), .all()) it may refuse rows, or change those that the test finds")
    error.stack = test.stack  # type: ignore[attr-defined]
    raise error


def same(one: Col, other: Col) -> bool:
    """Whether two columns have the same values."""
    if one is other:
        return True
    return (one.tensor, one.place, one.kind, one.numeral, one.filled, one.raw) == (
        other.tensor, other.place, other.kind, other.numeral, other.filled, other.raw,
    ) and one.vocabulary is other.vocabulary  # fmt: skip


def _changes(graph: Graph, changed: str, kept: str, tests: tuple[str, ...]) -> bool:
    nodes = {name: node for node in graph.nodes for name in node.output}
    whole = graph.places([0])
    while changed != kept:
        node = nodes.get(changed)
        if node is not None and node.op_type == "Gather" and node.input[1] == whole:
            node = nodes.get(node.input[0])  # of a choice all of it is taken
        if node is None or node.op_type != "Where" or node.input[0] not in tests:
            return False
        changed = node.input[2]
    return True


def refusing(graph: Graph, result: Any) -> None:
    """Has the answers fail for rows that a step refuses."""
    if not graph.refusals:
        return
    whole, *rest = graph.refusals
    for test in rest:
        whole = graph.op("Or", whole, test)
    place = graph.where(whole, graph.places([2**31 - 1]), graph.places([0]))
    zero = graph.op("Gather", graph.constant([0.0]), place, axis=0)
    none = graph.op("Gather", graph.places([0]), place, axis=0)
    for one in [result, *result.targets]:
        for name in ("values", "probabilities", "decision"):
            if getattr(one, name) is not None:
                setattr(one, name, graph.op("Add", getattr(one, name), zero))
        if one.index is not None:
            one.index = graph.op("Add", one.index, none)


def finite(graph: Graph, step: Any, cols: list[Col]) -> None:
    """Has rows refused that an estimator refuses, as those for which a function or a table of the training has no number."""
    if not graph.gaps or not cols or graph.sparse or any(col.kind not in ("number", "bool") for col in cols):
        return
    try:
        takes = bool(step.__sklearn_tags__().input_tags.allow_nan)
    except Exception:
        return
    if not takes:
        matrix = joined(graph, cols)
        rest = graph.sum(graph.op("Sub", matrix, matrix))
        graph.refuse(graph.op("IsNaN", rest))
