"""Rows for a fitted pipeline where only a few are known, or none: made up from what it learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline

from .errors import CannotExport
from .frame import is_missing
from .model import found as best
from .saved import Column, Saved, typed

ROWS = 500
"""Rows made up: enough for every category and both sides of most splits, compared in a second."""

TYPES = {"O": "string", "U": "string", "b": "boolean", "i": "long", "u": "long", "f": "double"}


@dataclass
class Learned:
    """The facts that a pipeline tells of a column it was fitted on."""

    categories: list[Any] = field(default_factory=list)
    low: float | None = None
    high: float | None = None
    missing: bool = False
    """Whether a step takes missing values of it."""


def sample(saved: Saved | None, pipeline: Any, seed: int = 0) -> tuple[pd.DataFrame, int, str]:
    """Rows as the pipeline takes them, how many of them are the example's (the first ones), and a
    sentence that says where they come from."""
    example = saved.example() if saved else None
    columns = _columns(saved, example, pipeline)
    if example is not None:
        names = [column.name for column in columns]
        if not set(names) <= set(example.columns):
            example = example.set_axis(names, axis=1) if example.shape[1] == len(names) else None
        else:
            example = example[names]
    learned = facts(pipeline, [column.name for column in columns])
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            column.name: _values(column, learned.get(column.name, Learned()), example, rng)
            for column in columns
        }
    )
    if not _taken(pipeline, frame):
        # A step takes no missing value though its neighbours do.
        frame = frame.dropna().reset_index(drop=True)
    made = f"{len(frame)} rows made up from the {'signature' if saved else 'pipeline'} and what the pipeline learned"
    if example is None:
        return frame, 1, f"no input example: golden examples are {made}"
    both = pd.concat([example, frame], ignore_index=True)
    for name in frame.columns:
        if both[name].dtype != example[name].dtype and not frame[name].isna().any():
            both[name] = both[name].astype(example[name].dtype)
    return both, len(example), f"the input example's {len(example)} rows, and {made}"


def _taken(pipeline: Any, frame: pd.DataFrame) -> bool:
    try:
        pipeline.predict(frame.head(200))
    except ValueError:
        return False
    return True


def _columns(saved: Saved | None, example: pd.DataFrame | None, pipeline: Any) -> list[Column]:
    if saved and (columns := saved.columns()):
        return columns
    if example is not None:
        kinds = [TYPES.get(np.dtype(_plain(example[name])).kind, "string") for name in example]
        return [Column(str(name), kind) for name, kind in zip(example.columns, kinds, strict=True)]
    fitted = best(pipeline)
    names = getattr(fitted, "feature_names_in_", None)
    if names is None:
        width = getattr(fitted, "n_features_in_", None)
        if width is None:
            raise CannotExport(
                "it has neither a signature nor an input example, and the pipeline does not say "
                "which columns it takes; log it with input_example="
            )
        names = [f"x{place}" for place in range(width)]
    learned = facts(pipeline, [str(name) for name in names])
    kinds = [
        "string"
        if any(isinstance(c, str) for c in learned.get(str(n), Learned()).categories)
        else "double"
        for n in names
    ]
    return [Column(str(name), kind) for name, kind in zip(names, kinds, strict=True)]


def _plain(values: pd.Series) -> Any:
    return values.dtype if isinstance(values.dtype, np.dtype) else object


def _values(
    column: Column, learned: Learned, example: pd.DataFrame | None, rng: np.random.Generator
) -> pd.Series:
    """A column of made-up values."""
    seen = [] if example is None else [v for v in example[column.name] if not is_missing(v)]
    pool = [value for value in learned.categories if not is_missing(value)]
    values: Any
    if column.type == "boolean":
        values = rng.random(ROWS) < 0.5
    elif pool or column.type == "string":
        pool = pool or list(dict.fromkeys(map(str, seen))) or ["a", "b", "c"]
        # Every category, then at random.
        places = np.concatenate([np.arange(len(pool)), rng.integers(0, len(pool), ROWS)])[:ROWS]
        values = np.array(pool, dtype=object)[places]
    elif column.type in ("long", "integer", "double", "float"):
        low, high = _range(learned, seen)
        values = rng.uniform(low, high, ROWS)
        if column.type in ("long", "integer"):
            values = np.round(values)
    else:
        raise CannotExport(
            f"cannot export column '{column.name}': its type is {column.type}, and a request has "
            "numbers, booleans and strings only; make it one of these before the pipeline"
        )
    made = typed(pd.Series(values, dtype=None if column.type != "string" else object), column.type)
    takes = learned.missing or any(is_missing(value) for value in learned.categories)
    if takes and column.type in ("double", "float", "string"):
        made = made.mask(pd.Series(rng.random(ROWS) < 0.1))
    return made


def _range(learned: Learned, seen: Sequence[Any]) -> tuple[float, float]:
    bounds = [float(value) for value in seen]
    bounds += [value for value in (learned.low, learned.high) if value is not None]
    if not bounds:
        return -3.0, 3.0
    low, high = min(bounds), max(bounds)
    return (low, high) if high > low else (low - 1.0, high + 1.0)


def facts(pipeline: Any, names: list[str]) -> dict[str, Learned]:
    """The facts that the fitted steps tell of each column, as far as a column is still itself."""
    learned = {name: Learned() for name in names}
    rest = _follow(best(pipeline), list(names), learned)
    final = best(pipeline)
    while isinstance(final, Pipeline):
        final = best(final.steps[-1][1])
    if rest is not None:
        _splits(final, rest, learned)
    return learned


def _follow(step: Any, names: list[str], learned: dict[str, Learned]) -> list[str] | None:
    """Notes what a step tells; gives the names of its output columns, `None` once they are others."""
    step = best(step)
    if isinstance(step, Pipeline):
        rest: list[str] | None = names
        for _, inner in step.steps:
            if rest is None:
                break
            rest = _follow(inner, rest, learned)
        return rest
    if isinstance(step, ColumnTransformer):
        for name, fitted, columns in step.transformers_:
            places = step._transformer_to_input_indices.get(name, columns)
            if not isinstance(fitted, str):
                _follow(fitted, [names[place] for place in places], learned)
        return None
    if isinstance(step, str) or step is None:
        return names
    for place, name in enumerate(names):
        _note(step, place, learned[name])
    keeps = hasattr(step, "statistics_") and not getattr(step, "add_indicator", False)
    return names if keeps or hasattr(step, "predict") else None


def _note(step: Any, place: int, into: Learned) -> None:
    def of(name: str) -> Any:
        values = getattr(step, name, None)
        return None if values is None or np.ndim(values) == 0 else values[place]

    if (categories := getattr(step, "categories_", None)) is not None:
        into.categories = into.categories or list(categories[place])
    if hasattr(step, "statistics_") and is_missing(getattr(step, "missing_values", 0)):
        into.missing = True
    low, high = of("data_min_"), of("data_max_")
    scale, center = of("scale_"), of("mean_")
    center = of("center_") if center is None else center
    if low is None and scale is not None:
        # Three times the scale to both sides has most of what was seen, and a little more.
        middle = 0.0 if center is None else float(center)
        low, high = middle - 3 * abs(float(scale)), middle + 3 * abs(float(scale))
    if low is not None and into.low is None and np.isfinite([low, high]).all():
        into.low, into.high = float(low), float(high)


def _splits(estimator: Any, names: list[str], learned: dict[str, Learned]) -> None:
    """Trees over the columns themselves: the range of their thresholds, widened."""
    trees = getattr(estimator, "estimators_", [estimator])
    for tree in np.ravel(np.array(trees, dtype=object)):
        inner = getattr(tree, "tree_", None)
        if inner is None:
            continue
        for place, threshold in zip(inner.feature, inner.threshold, strict=True):
            if place < 0:
                continue
            into = learned[names[place]]
            low, high = float(threshold) - 1, float(threshold) + 1
            into.low = low if into.low is None else min(into.low, low)
            into.high = high if into.high is None else max(into.high, high)
