"""A model's inputs and outputs, as its metadata tells."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import ServerError

MOST_ROWS = 10_000
"""Rows of a request where the server names no limit."""


@dataclass(frozen=True)
class Column:
    """An input or an output: its name, the protocol's datatype, and its shape with -1 for what may vary."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    optional: bool = False
    """Whether a value may be missing."""

    def __str__(self) -> str:
        inner = "".join(f"[{size if size >= 0 else ''}]" for size in self.shape[1:])
        return f"{self.name}: {self.datatype}{inner}{' or missing' if self.optional else ''}"


@dataclass(frozen=True)
class Model:
    """A model's signature."""

    name: str
    version: str
    inputs: tuple[Column, ...]
    outputs: tuple[Column, ...]
    max_rows: int
    """The most rows of one request; 0 where the inputs are no rows of a table."""
    classes: tuple[Any, ...] = ()
    """The classes in the order of `probabilities`, where they are known."""

    @property
    def matrix(self) -> Column | None:
        """The one input that takes a whole row, if the model is like that."""
        only = self.inputs[0] if len(self.inputs) == 1 else None
        return only if only is not None and len(only.shape) == 2 and only.datatype != "BYTES" else None


def model(metadata: Mapping[str, Any], config: Mapping[str, Any] | None) -> Model:
    """Reads the answers of `/v2/models/NAME` and `/v2/models/NAME/config`. Raises `ServerError` for others."""
    try:
        optional = {entry["name"]: bool(entry.get("optional")) for entry in (config or {}).get("input", ())}
        return Model(
            name=metadata["name"],
            version=str((metadata.get("versions") or [""])[-1]),
            inputs=tuple(_column(entry, optional.get(entry["name"], False)) for entry in metadata["inputs"]),
            outputs=tuple(_column(entry) for entry in metadata["outputs"]),
            max_rows=int((config or {}).get("max_batch_size", MOST_ROWS)),
            classes=_classes(metadata.get("properties") or {}),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ServerError(f"the server's metadata is not of the Open Inference Protocol: {error!r}") from error


def _column(entry: Mapping[str, Any], optional: bool = False) -> Column:
    return Column(entry["name"], entry["datatype"], tuple(int(size) for size in entry["shape"]), optional)


def _classes(properties: Mapping[str, Any]) -> tuple[Any, ...]:
    told = properties.get("classes", ())
    values: Sequence[Any] = json.loads(told) if isinstance(told, str) else told
    return tuple(values)
