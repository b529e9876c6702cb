"""Runs a module in a plain test, without a gateway: values go through the same packed columns as there."""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from . import model as _model
from .datatypes import Column, Columns, side
from .packed import read, write
from .stage import Module


class Model:
    """Stands in for the bundle's model: a signature, and a function from a dict of columns to one."""

    def __init__(self, inputs: Columns, outputs: Columns, compute: Callable[[dict[str, Any]], Mapping[str, Any]]) -> None:
        self._inputs = side(inputs, "inputs")
        self._outputs = side(outputs, "outputs")
        self._compute = compute

    def describe(self) -> tuple[Sequence[Column], Sequence[Column]]:
        """The inputs and outputs."""
        return self._inputs, self._outputs

    def compute(self, rows: int, inputs: bytes) -> bytes:
        """Packed inputs to packed outputs."""
        return write(self._outputs, rows, self._compute(read(self._inputs, rows, memoryview(inputs))))


def run(
    module: Module, rows: Sequence[Mapping[str, Any]], config: object = None, model: Model | None = None
) -> list[dict[str, Any]]:
    """The module's answers to these rows as one batch, as a request would bring them.

    `config` is what the stage's configuration file holds. Raises `Invalid` where the gateway would answer 422.
    """
    stage = module.start(b"" if config is None else json.dumps(config).encode())
    columns = {name: [_value(row, name, index) for index, row in enumerate(rows)] for name in _names(stage.inputs)}
    packed = write(stage.inputs, len(rows), columns)
    before, _model.host = _model.host, model
    try:
        words = stage.process(len(rows), memoryview(packed).cast("Q").tolist())
    finally:
        _model.host = before
    found = read(stage.outputs, len(rows), memoryview(array("Q", words)).cast("B"))
    return [{name: _plain(values[index]) for name, values in found.items()} for index in range(len(rows))]


def _names(columns: Sequence[Column]) -> list[str]:
    return [column.name for column in columns]


def _value(row: Mapping[str, Any], name: str, index: int) -> Any:
    if name not in row:
        raise ValueError(f"row {index}: the column '{name}' is missing")
    return row[name]


def _plain(value: Any) -> Any:
    """Rows of several values as lists, which tests compare with."""
    return list(value) if isinstance(value, Sequence | memoryview) and not isinstance(value, str | bytes) else value
