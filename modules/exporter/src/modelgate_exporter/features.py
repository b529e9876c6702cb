"""The form of each column on its way through the transformers, and that as blocks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .functions import Kind

Json = Any


@dataclass(frozen=True)
class Step:
    """One operation on one column."""

    op: str
    own: dict[str, Json] = field(default_factory=dict)
    """Fields with one value for each column; a block lists them."""
    shared: dict[str, Json] = field(default_factory=dict)
    """Fields that all columns of a block have in common."""

    def joins(self, other: "Step") -> bool:
        """Whether the two can be one step of a block: a list cannot mix numbers and null."""
        nulls = [key for key in ("mean", "center", "scale") if self.own.get(key) is None]
        return (
            (self.op, self.shared) == (other.op, other.shared)
            and self.own.keys() == other.own.keys()
            and nulls == [key for key in ("mean", "center", "scale") if other.own.get(key) is None]
        )


@dataclass(frozen=True)
class Feature:
    """An input column and the steps it has been through; several matrix columns if encoded."""

    column: str
    kind: Kind
    steps: tuple[Step, ...] = ()
    none: bool = False
    """Whether its missing values are None, and not NaN."""

    @property
    def encoded(self) -> bool:
        """Whether it is one-hot columns already, which nothing but the model may follow."""
        return bool(self.steps) and self.steps[-1].op == "one_hot"

    def then(self, op: str, own: Json = None, shared: Json = None, text: bool = False) -> "Feature":
        """The same column after one step more, which makes it a number unless `text`."""
        step = Step(op, plain(own or {}), plain(shared or {}))
        return replace(self, kind="text" if text else "number", steps=(*self.steps, step))

    def joins(self, other: "Feature") -> bool:
        """Whether both can be columns of one block."""
        return len(self.steps) == len(other.steps) and all(
            mine.joins(theirs) for mine, theirs in zip(self.steps, other.steps, strict=True)
        )


def blocks(features: Sequence[Feature]) -> list[dict[str, Json]]:
    """The config's `blocks`: neighbours with the same steps share one."""
    found: list[dict[str, Json]] = []
    rest = list(features)
    while rest:
        run = [rest.pop(0)]
        columns = {run[0].column}
        while rest and rest[0].joins(run[0]) and rest[0].column not in columns:
            columns.add(rest[0].column)
            run.append(rest.pop(0))
        steps = [_joined(list(same)) for same in zip(*(f.steps for f in run), strict=True)]
        if indicator := _indicator(run, rest):
            steps[-1]["indicator"] = indicator
            del rest[: len(indicator)]
        found.append({"columns": [feature.column for feature in run], "steps": steps})
    return found


def _joined(steps: list[Step]) -> dict[str, Json]:
    first = steps[0]
    joined: dict[str, Json] = {"op": first.op}
    for key in first.own:
        values = [step.own[key] for step in steps]
        if all(value is None or value == [] for value in values) and key != "values":
            # A scaling without its mean says null; an encoder without drop or infrequent, nothing.
            if first.op in ("standard", "robust"):
                joined[key] = None
            continue
        joined[key] = values
    return joined | first.shared


def _indicator(run: list[Feature], rest: list[Feature]) -> list[int]:
    """The places of the run's columns whose plain missing-indicators come right behind it."""
    if not run[0].steps or run[0].steps[-1].op != "impute":
        return []
    places = []
    missing = [
        replace(feature, kind="number", steps=(*feature.steps[:-1], Step("missing")))
        for feature in run
    ]
    for feature in rest:
        if feature not in missing:
            break
        places.append(missing.index(feature))
    return places


def plain(value: Json) -> Json:
    """Numpy's numbers as Python's, NaN as null, through lists and objects."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and math.isnan(value):
        return None
    return value
