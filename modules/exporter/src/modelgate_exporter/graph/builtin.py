"""Python's own functions of numbers and texts, which the user's module sees while it is run on stand-ins."""

from __future__ import annotations

import builtins
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from . import elementwise as each
from .build import Graph
from .elementwise import Untraceable
from .series import Scalar
from .symbols import Symbol, lifted


class _Kind(type):
    """A type of Python's that makes a stand-in of a stand-in."""

    real: Any
    made: Any

    def __call__(cls, *args: Any, **keywords: Any) -> Any:
        if args and isinstance(args[0], Scalar):
            return cls.made(*args, **keywords)
        return cls.real(*args, **keywords)

    def __instancecheck__(cls, value: Any) -> bool:
        if isinstance(value, Scalar):
            return _is(value, cls.real)
        return isinstance(value, cls.real)

    def __subclasscheck__(cls, kind: Any) -> bool:
        return issubclass(kind, cls.real)

    def __getattr__(cls, name: str) -> Any:
        return getattr(cls.real, name)


def _is(value: Scalar, kind: type) -> bool:
    """Whether a value has a type of Python's: a missing text is NaN, which is a float."""
    col = value.cols[0]
    if col.kind == "category" and kind in (str, float) and col.mark == "nan":
        return bool(value.isna()) == (kind is float)
    return col.kind == {str: "category", bool: "bool"}.get(kind, "number")


def _of(graph: Graph) -> dict[str, Any]:
    def cast(kind: str) -> Callable[..., Any]:
        def call(value: Any, *more: Any) -> Any:
            if more:
                raise Untraceable(f"it calls {kind} with options")
            return Scalar(graph, [each.cast(graph, value.cols[0], kind)])

        return call

    def length(value: Any) -> Any:
        return value._text().len() if isinstance(value, Scalar) else len(value)

    def extreme(name: str) -> Callable[..., Any]:
        def call(*values: Any, **options: Any) -> Any:
            several = values if len(values) > 1 else list(values[0])
            if not any(isinstance(value, Symbol) for value in several):
                return getattr(builtins, name)(*values, **options)
            # Of Python's two the first one stays where the second is not beyond it.
            found = several[0]
            for value in several[1:]:
                kind = "greater" if name == "max" else "less"
                test = each.ufunc(graph, kind, (lifted(graph, value), lifted(graph, found)))
                found = Scalar(graph, [each.choose(graph, test, lifted(graph, value), lifted(graph, found))])
            return found

        return call

    def nearest(value: Any, digits: Any = None) -> Any:
        if isinstance(value, Scalar):
            return Scalar(graph, [each.rounded(graph, value.cols[0], digits or 0)])
        return round(value) if digits is None else round(value, digits)

    found: dict[str, Any] = {"len": length, "max": extreme("max"), "min": extreme("min"), "round": nearest}
    for kind in (int, float, str, bool):
        found[kind.__name__] = _Kind(kind.__name__, (), {"real": kind, "made": staticmethod(cast(kind.__name__))})
    return found


@contextlib.contextmanager
def builtin(names: dict[str, Any], graph: Graph) -> Iterator[bool]:
    """Puts them among the names of a module for a while; says whether there is one."""
    added = {name: value for name, value in _of(graph).items() if name not in names} if names else {}
    names.update(added)
    try:
        yield bool(added)
    finally:
        for name in added:
            names.pop(name, None)
