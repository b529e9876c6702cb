"""Symbolic columns: what is known of a column of a frame before there is a row."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from ..errors import CannotExport, on_columns, step_name
from .build import Graph
from .sparse import DENSEST, dense

Kind = Literal["number", "bool", "category", "date", "delta", "text"]
Mark = Literal["nan", "none"]

UNKNOWN = -1.0
"""The code of a category that the pipeline does not name."""


class NeedsTexts(Exception):
    """The graph has to take the texts themselves."""


@dataclass
class Vocabulary:
    """The texts of a column that the pipeline tells apart; each has a code."""

    values: list[str] = field(default_factory=list)
    open: bool = False
    """Whether the column is no input and has other texts all the same."""

    def code(self, value: Any) -> float:
        """The code of a text, which gets one by being asked for."""
        text = str(value)
        if text not in self.values:
            self.values.append(text)
        return float(self.values.index(text))


@dataclass
class Root:
    """An input of the bundle."""

    name: str
    kind: Kind
    vocabulary: Vocabulary = field(default_factory=Vocabulary)
    strict: list[list[Any]] = field(default_factory=list)
    """Lists of values outside of which an encoder refuses the row; None is the missing one."""
    sample: list[Any] = field(default_factory=list)
    """The different values of the sample, where there are few."""
    lacks: bool = True
    """Whether a request may have no value of it."""
    categories: list[Any] = field(default_factory=list)
    """The categories of the sample's own type, where it is pandas' category."""


@dataclass(frozen=True)
class Col:
    """A column: where its values are, and what they stand for."""

    tensor: str
    place: int
    kind: Kind
    label: Any
    """The column's name in a frame; of arrays a number."""
    roots: tuple[Root, ...]
    vocabulary: Vocabulary | None = None
    """Of a category: what its codes stand for."""
    mark: Mark = "nan"
    """The form of a missing value of it in Python: None is a value to most steps, NaN is none."""
    numeral: Literal["", "int", "float", "bool"] = ""
    """Numbers that were made text: `"3"` is 3."""
    dtype: str = ""
    """The sample's numpy or pandas type, where it still has it."""
    raw: bool = False
    """Whether the values are an input's own, but for missing ones that were filled."""
    filled: Any = None
    """The value that stands for missing values, where a step put it there."""

    @property
    def names(self) -> list[str]:
        """The inputs that it is made of."""
        return [root.name for root in self.roots]

    def number(self, tensor: str, place: int = 0, label: Any = None, dtype: str = "") -> Col:
        """A number that is made of this column."""
        label = self.label if label is None else label
        return Col(tensor, place, "number", label, self.roots, dtype=dtype)

    def named(self, label: Any) -> Col:
        """The same values under another name."""
        return replace(self, label=label)


def roots(cols: Iterable[Col]) -> tuple[Root, ...]:
    """The inputs that some columns are made of."""
    found: dict[str, Root] = {}
    for col in cols:
        found.update({root.name: root for root in col.roots})
    return tuple(found.values())


def spread(cols: Sequence[Col], tensor: str, width: int, labels: Sequence[Any] | None = None) -> list[Col]:
    """The columns of a matrix that is made of some columns."""
    origin = roots(cols)
    names = list(range(width)) if labels is None else list(labels)
    return [Col(tensor, place, "number", names[place], origin) for place in range(width)]


def alone(graph: Graph, col: Col) -> str:
    """The column as a tensor of one value a row."""
    return graph.gather(col.tensor, [col.place]) if col.place >= 0 else col.tensor


@dataclass
class Context:
    """Where in the pipeline the compiler is."""

    graph: Graph
    path: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    doubts: list[str] = field(default_factory=list)
    """Sentences about steps whose answers to some rows depend on the library's own order."""

    def at(self, name: str) -> Context:
        """One step deeper."""
        return Context(self.graph, (*self.path, name), self.options, self.doubts) if name else self

    def doubt(self, step: Any, cols: Iterable[Col], why: str, advice: str) -> None:
        """Notes why rows may differ, for the refusal should they."""
        self.doubts.append(str(self.refuse(step, cols, why, advice)))

    def refuse(self, step: Any, cols: Iterable[Col], why: str, advice: str) -> CannotExport:
        """An error that names the step, its columns and the remedy."""
        kind = step if isinstance(step, str) else type(step).__name__
        names = [name for col in cols for name in col.names]
        return CannotExport(f"cannot export {step_name(self.path)} ({kind}){on_columns(names)}: {why}; {advice}")

    def matrix(self, cols: Sequence[Col], step: Any = None) -> str:
        """The columns side by side, as numbers."""
        if self.graph.sparse and len(cols) > DENSEST:
            raise self.refuse(
                step or "the model", [], f"it takes {len(cols)} columns of each row, which only a linear model and naive Bayes "
                "can take from their hashes", f"train the pipeline with HashingVectorizer(n_features={2**14}), or {DENSEST} at most",
            )  # fmt: skip
        for col in cols:
            if col.kind in ("category", "text", "date"):
                what = {"category": "text", "text": "text", "date": "a date"}[col.kind]
                advice = (
                    "take parts of it (.dt.year, .dt.dayofweek, …) in a FunctionTransformer before"
                    if col.kind == "date"
                    else "encode the column with OneHotEncoder, OrdinalEncoder or TargetEncoder before it, or drop it"
                )
                raise self.refuse(step or "the model", [col], f"it takes numbers, and the column holds {what}", advice)
        return joined(self.graph, cols)


def joined(graph: Graph, cols: Sequence[Col]) -> str:
    """The tensors of columns side by side: neighbours of one tensor are gathered together."""
    parts: list[str] = []
    run: list[Col] = []

    def flush() -> None:
        if run and run[0].tensor in graph.sparse:
            parts.append(dense(graph, graph.sparse[run[0].tensor], [col.place for col in run]))
            run.clear()
        elif run:
            parts.append(graph.gather(run[0].tensor, [col.place for col in run]))
            run.clear()

    for col in cols:
        if run and run[0].tensor != col.tensor:
            flush()
        run.append(col)
    flush()
    return graph.concat(parts)


def is_nan(value: object) -> bool:
    """A NaN of any library, or pandas' NA: what steps take for missing. None is not."""
    if value is None or isinstance(value, str):
        return False
    if type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, (float, np.floating)) and math.isnan(value)
