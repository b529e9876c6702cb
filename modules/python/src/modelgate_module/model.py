"""The bundle's model, which runs outside the sandbox.

`model.compute({"X": rows})` takes the model's inputs by name, in the shapes that it declares, and gives its outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from .datatypes import Column
from .packed import read, write


class Host(Protocol):
    """Where the model is: the gateway, or `testing.Model`."""

    def describe(self) -> tuple[Sequence[Column], Sequence[Column]]:
        """The model's inputs and outputs."""
        ...

    def compute(self, rows: int, inputs: bytes) -> bytes:
        """Packed inputs to packed outputs."""
        ...


#: The sandbox puts the gateway here, and `testing.run` what the test gives it.
host: Host | None = None


def _host() -> Host:
    if host is None:
        raise RuntimeError("there is no model here: a test gives one, as in run(…, model=testing.Model(…))")
    return host


def inputs() -> Sequence[Column]:
    """The model's inputs; nothing where the bundle has no model."""
    return _host().describe()[0]


def outputs() -> Sequence[Column]:
    """The model's outputs."""
    return _host().describe()[1]


def compute(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Runs the model on as many rows as the first column has.

    Raises `ModelError` if the model fails, `Invalid` if it finds the caller's data at fault, `ValueError` if the columns
    are not what the model takes.
    """
    takes, gives = _host().describe()
    if not takes:
        raise ValueError("this bundle has no model, or one that takes nothing")
    first = columns.get(takes[0].name)
    if first is None or not hasattr(first, "__len__"):
        raise ValueError(f"the model's input '{takes[0].name}': expected a sequence with a value for each row")
    rows = len(first)
    try:
        packed = write(takes, rows, columns)
    except ValueError as error:
        raise ValueError(f"the model's input: {error}") from None
    return read(gives, rows, memoryview(_host().compute(rows, packed)))
