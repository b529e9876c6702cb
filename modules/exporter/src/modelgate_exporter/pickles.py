"""Reads fitted objects from pickles, also where parts that do not predict cannot be read.

A search that MLflow's autologging followed carries functions of MLflow in its scorer, some of them
pickled by value with the bytecode of one Python. Nothing of that predicts, so it need not be read.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .errors import CannotExport


class Placeholder:
    """Stands for what could not be read: takes whatever a pickle does to it, and does nothing."""

    stands_for = "an object"

    def __new__(cls, *_args: Any, **_fields: Any) -> Any:
        return super().__new__(cls)

    def __init__(self, *_args: Any, **_fields: Any) -> None:
        pass

    def __call__(self, *_args: Any, **_fields: Any) -> Placeholder:
        return type(self)()

    def __setstate__(self, _state: Any) -> None:
        pass

    def __setitem__(self, _key: Any, _value: Any) -> None:
        pass

    def append(self, _value: Any) -> None:
        """As a list has it."""

    def extend(self, _values: Any) -> None:
        """As a list has it."""

    def add(self, _value: Any) -> None:
        """As a set has it."""


class _Lenient(pickle.Unpickler):
    """Puts a placeholder where a module or its member is not there."""

    def __init__(self, file: Any, without_functions: bool) -> None:
        super().__init__(file)
        self.without_functions = without_functions

    def find_class(self, module: str, name: str) -> Any:
        # What cloudpickle makes is of one minor version of Python.
        if not (self.without_functions and module.split(".")[0] == "cloudpickle"):
            try:
                return super().find_class(module, name)
            except (ImportError, AttributeError):
                pass
        stands_for = {"stands_for": f"{module}.{name}"}
        return type("Placeholder", (Placeholder,), stands_for)


def read(path: Path, same_python: bool = True) -> Any:
    """The object in a pickle, or in what joblib wrote.

    `same_python` says that this Python's minor version is the one that wrote it; functions pickled
    by value cannot be read otherwise, and become placeholders.
    """
    import joblib

    ways: list[Callable[[Any], Any]] = [lambda file: _Lenient(file, True).load()]
    if same_python:
        # joblib reads plain pickles, too.
        ways = [joblib.load, lambda file: _Lenient(file, False).load(), *ways]
    else:
        ways.append(joblib.load)
    first: Exception | None = None
    for way in ways:
        try:
            with path.open("rb") as file:
                return way(file)
        except MemoryError:
            raise
        except Exception as error:  # whatever reading a foreign object may raise
            first = first or error
    words = " ".join(f"{type(first).__name__}: {first}".split())[:300]
    raise CannotExport(
        f"cannot read {path.name} ({words}); it has to be read with the packages that wrote it"
    ) from first


def complete(estimator: Any) -> None:
    """Raises `CannotExport` if a placeholder is in what predicts."""
    seen: set[int] = set()
    stack: list[tuple[str, Any]] = [("", estimator)]
    while stack:
        path, value = stack.pop()
        if isinstance(value, Placeholder):
            raise CannotExport(
                f"cannot read {path.lstrip('.') or 'the model'}: it is {value.stands_for}, which is "
                "not installed, or was pickled by another Python; name the package in the version's "
                "requirements, or log the model with the function in an importable module"
            )
        if isinstance(value, type):
            if issubclass(value, Placeholder):
                stack.append((path, value()))
            continue
        if id(value) in seen or isinstance(value, str | bytes | int | float | None):
            continue
        seen.add(id(value))
        if isinstance(value, dict):
            stack += [(f"{path}.{key}", inner) for key, inner in value.items()]
        elif isinstance(value, list | tuple | set | frozenset):
            stack += [(path, inner) for inner in value]
        elif isinstance(getattr(value, "__dict__", None), dict):
            stack += [(f"{path}.{key}", inner) for key, inner in vars(value).items()]
