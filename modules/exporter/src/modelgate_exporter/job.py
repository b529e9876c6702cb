"""An export, and its result."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from .compare import Comparison
from .frame import is_missing
from .model import Answers, Model, Names

PATIENCE = 5.0
"""Seconds after which an export says what it is doing."""


class Progress:
    """Lines for people, on standard error, once an export takes long."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.begun = time.monotonic()
        self.last = ""

    def say(self, line: str) -> None:
        """The next step."""
        seconds = time.monotonic() - self.begun
        if not self.quiet and seconds > PATIENCE:
            print(f"{seconds:4.0f} s: {line}", file=sys.stderr, flush=True)
        self.last = line


class OfArrays:
    """A pipeline that was fitted on arrays, asked with frames."""

    def __init__(self, pipeline: Any) -> None:
        self.inner = pipeline

    def predict(self, frame: Any) -> Any:
        """The pipeline's own answer to the frame's values."""
        return self.inner.predict(self._array(frame))

    def _array(self, frame: Any) -> Any:
        return frame.to_numpy() if isinstance(frame, pd.DataFrame) else np.asarray(frame)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.inner, name)
        if name in ("predict_proba", "decision_function"):
            return lambda frame: found(self._array(frame))
        return found

    def __sklearn_tags__(self) -> Any:
        return self.inner.__sklearn_tags__()


class OfSeries(OfArrays):
    """A pipeline that was fitted on one column, such as a text vectorizer, asked with frames."""

    def _array(self, frame: Any) -> Any:
        return frame.iloc[:, 0] if isinstance(frame, pd.DataFrame) else np.asarray(frame)[:, 0]


class OfRecords(OfArrays):
    """A pipeline that was fitted on dictionaries, asked with frames: a missing value is no entry."""

    def _array(self, frame: Any) -> Any:
        rows = frame.astype(object).to_dict("records")
        return [{name: value for name, value in row.items() if not is_missing(value)} for row in rows]


@dataclass(frozen=True)
class Job:
    """A pipeline, rows that it takes, and its answers to them."""

    pipeline: Any
    frame: pd.DataFrame
    name: str
    said: Answers
    tolerance: float
    names: Names
    progress: Progress
    may_lack: frozenset[str] = frozenset()
    """Columns without a missing value in the sample, of which the pipeline takes one all the same."""

    @property
    def fitted(self) -> Any:
        """The pipeline itself."""
        return self.pipeline.inner if isinstance(self.pipeline, OfArrays) else self.pipeline

    @property
    def framed(self) -> bool:
        """Whether the pipeline takes frames."""
        return not isinstance(self.pipeline, OfArrays) or isinstance(self.pipeline, (OfSeries, OfRecords))

    @property
    def records(self) -> bool:
        """Whether the pipeline takes dictionaries."""
        return isinstance(self.pipeline, OfRecords)

    @property
    def single(self) -> bool:
        """Whether the pipeline takes one column by itself."""
        return isinstance(self.pipeline, OfSeries)


@dataclass(frozen=True)
class Try:
    """An export that agrees with the pipeline."""

    tabular: dict[str, Any] | None
    """The tabular module's config, where the bundle has that module."""
    inputs: list[dict[str, Any]]
    cells: list[dict[str, Any]]
    model: Model
    compared: Comparison
    route: str
    """A sentence that says what runs where."""
    source: str = ""
    """The file of the stage in Python, where functions of the pipeline stand outside of the graph."""
    component: bytes = b""
    """The module that was made of it."""
