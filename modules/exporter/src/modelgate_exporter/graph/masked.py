"""Values of some rows, as `x[x > 0]`: they may be computed with, and put back into the same rows."""

from __future__ import annotations

from typing import Any

from .build import Graph
from .columns import Col
from .symbols import ROWS, Array, Symbol


class Masked(Array):
    """An array of the rows that a test finds."""

    def __init__(self, graph: Graph, cols: list[Col], ndim: int, test: str) -> None:
        super().__init__(graph, cols, ndim)
        object.__setattr__(self, "_rows", test)

    def like(self, cols: list[Col]) -> Any:
        return Masked(self.graph, cols, self.ndim, self._rows)

    def __getitem__(self, key: Any) -> Any:
        from .elementwise import Untraceable

        raise Untraceable(ROWS)

    __iter__ = __getitem__

    @property
    def values(self) -> Any:
        """The same rows."""
        return self


def masked(value: Symbol, test: Symbol) -> Masked:
    """The rows of one column for which a test holds."""
    from . import elementwise as each
    from .elementwise import Untraceable

    if len(test.cols) != 1 or test.cols[0].kind != "bool" or test._over_rows or test._rows or len(value.cols) != 1:
        raise Untraceable(ROWS)
    return Masked(value.graph, list(value.cols), value.ndim, each.test_of(value.graph, test.cols[0]))
