"""scipy's power transformations with a power of the training, of stand-ins."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from scipy import stats

from . import elementwise as each
from .build import Graph
from .elementwise import Untraceable
from .numeric import box_cox, yeo_johnson
from .symbols import Array, Symbol


@contextlib.contextmanager
def with_powers(graph: Graph) -> Iterator[None]:
    """`scipy.stats.boxcox` and `yeojohnson`."""
    real = {name: getattr(stats, name) for name in ("boxcox", "yeojohnson")}

    def of(name: str, change: Callable[[Graph, str, float], str]) -> Callable[..., Any]:
        def call(x: Any, lmbda: Any = None, *args: Any, **keywords: Any) -> Any:
            if not isinstance(x, Symbol):
                return real[name](x, lmbda, *args, **keywords)
            if lmbda is None or isinstance(lmbda, Symbol):
                raise Untraceable(f"it finds the power of scipy.stats.{name} in the rows")
            made = [each.made(graph, change(graph, each.tensor(graph, col), float(lmbda)), (col,)) for col in x.cols]
            return Array(graph, made, x.ndim)

        return call

    try:
        for name, change in (("boxcox", box_cox), ("yeojohnson", yeo_johnson)):
            setattr(stats, name, of(name, change))
        yield
    finally:
        for name, value in real.items():
            setattr(stats, name, value)
