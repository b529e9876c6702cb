"""Rows that the sample does not have, made to find where an export differs from its pipeline."""

import copy
import warnings
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from . import trees
from .model import FORESTS, encodes

Json = Any
UNKNOWN = "modelgate: never seen"
"""A text that stands for every category outside of the sample."""


def frame(
    sample: pd.DataFrame,
    tabular: Json,
    count: int,
    seed: int = 1,
    unknown: bool = True,
    missing: bool = True,
    texts: Collection[str] = (),
) -> pd.DataFrame:
    """`count` rows of the sample's columns and types, each column drawn by itself.

    Numbers come from the sample, from its range and a tenth beyond, and from its ends; texts from
    the sample, and one that no category has where the pipeline takes such (unless `unknown` is
    false); missing values wherever a request may carry null (unless `missing` is false). Of `texts`
    the words are put in another order, beside others.
    """
    rng = np.random.default_rng(seed)
    inputs = {entry["name"]: entry for entry in tabular["inputs"]}
    columns = {}
    for column in sample.columns:
        open_, strict = _encoded(tabular, str(column))
        drawn = _column(sample[column], count, rng, unknown and open_, strict)
        if column in texts and not strict:
            drawn = pd.Series([_mixed(text, rng) for text in drawn], dtype=drawn.dtype)
        lacking = sample[column][sample[column].isna()]
        if missing and inputs.get(str(column), {}).get("nullable"):
            # The sample's own mark: to an encoder, None and NaN are different categories.
            mark = lacking.iloc[0] if len(lacking) else np.nan
            drawn = _with_missing(drawn, rng.random(count) < 0.1, mark)
        columns[column] = drawn
    return pd.DataFrame(columns, columns=sample.columns)


def _mixed(text: Any, rng: np.random.Generator) -> Any:
    """The words of a text in another order, some of them written otherwise."""
    if not isinstance(text, str):
        return text
    words = text.split() + [["unseen", "Ñandú", "x", "1.5,", "it's"][int(rng.integers(0, 5))]]
    mixed = [words[place] for place in rng.permutation(len(words))]
    return " ".join(word.upper() if rng.random() < 0.1 else word for word in mixed)


def _with_missing(values: pd.Series, where: npt.NDArray[np.bool_], mark: Any) -> pd.Series:
    if values.dtype != object:
        return values.mask(where)
    cells = values.to_numpy(dtype=object, copy=True)
    cells[where] = mark
    return pd.Series(cells, dtype=object)


def _column(
    values: pd.Series, count: int, rng: np.random.Generator, unknown: bool, strict: bool
) -> pd.Series:
    known = values[values.notna()]
    if len(known) == 0:
        return values.take(rng.integers(0, len(values), count)).reset_index(drop=True)
    drawn = known.take(rng.integers(0, len(known), count)).reset_index(drop=True)
    dtype = drawn.dtype
    if strict or pd.api.types.is_bool_dtype(dtype) or isinstance(dtype, pd.CategoricalDtype):
        return drawn
    if pd.api.types.is_datetime64_any_dtype(dtype):
        span = (known.max() - known.min()).days + 30
        moved = known.min() + pd.to_timedelta(rng.integers(-400, span + 400, count), unit="D")
        return drawn.where(rng.random(count) < 0.5, pd.Series(moved).astype(dtype))
    if pd.api.types.is_numeric_dtype(dtype):
        low, high = float(known.min()), float(known.max())
        spread = (high - low) / 10 or 1.0
        made = rng.uniform(low - spread, high + spread, count)
        made[rng.random(count) < 0.05] = low
        made[rng.random(count) < 0.05] = high
        if pd.api.types.is_integer_dtype(dtype):
            made = np.rint(made)
            if pd.api.types.is_unsigned_integer_dtype(dtype):
                made = np.maximum(made, 0)
        fresh = pd.Series(made).astype(dtype)
        return drawn.where(rng.random(count) < 0.5, fresh)
    if unknown and all(isinstance(value, str) for value in known.head(100)):
        return drawn.where(rng.random(count) >= 0.05, UNKNOWN).astype(dtype)
    return drawn


def _encoded(tabular: Json, column: str) -> tuple[bool, bool]:
    """Whether every use of the column has an answer for an unknown category; whether some use refuses one."""
    uses = [block for block in tabular["blocks"] if column in block["columns"]]
    encoders = [step for block in uses for step in block["steps"] if "unknown" in step]
    strict = any(step["unknown"] == "error" for step in encoders)
    return len(encoders) == len(uses) > 0 and not strict, strict


def matrix(
    estimator: Any, known: npt.NDArray[Any], count: int, seed: int = 2
) -> npt.NDArray[Any]:
    """At most `count` rows of the model's matrix, at and beside each value that the model compares with.

    Every row is one of `known` with some columns replaced: by a threshold or a category of the
    trees, by the numbers next to it, or, where the model has no trees, by a quantile of its column.
    """
    rng = np.random.default_rng(seed)
    whole = _categories(estimator)
    points = [
        (feature, point)
        for feature, values in sorted(_compared(estimator, known).items())
        if feature < known.shape[1]  # a later link of a chain sees the answers before it, too
        for value in values
        for point in (value, np.nextafter(value, -np.inf), np.nextafter(value, np.inf))
        if np.isfinite(point) and not (feature in whole and point != value)
    ]
    if not points or len(known) == 0:
        return known[:0]
    if len(points) > count:
        points = [points[place] for place in np.linspace(0, len(points) - 1, count).astype(int)]
    made = known[rng.integers(0, len(known), len(points))].copy()
    for row, (feature, point) in enumerate(points):
        made[row, feature] = point
    # A second one in every other row: what lies behind the first branch is reached, too.
    for row in range(0, len(points), 2):
        feature, point = points[int(rng.integers(0, len(points)))]
        made[row, feature] = point
    return made


def _categories(estimator: Any) -> set[int]:
    """The columns that hold categories' numbers, between which there is nothing."""
    try:
        booster = trees.read(estimator)
    except trees.Unsupported:
        booster = None
    return set() if booster is None else booster.ensemble.categorical()


def _compared(estimator: Any, known: npt.NDArray[Any]) -> dict[int, npt.NDArray[Any]]:
    """The values that a model compares each column of its matrix with."""
    final = estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator
    found: dict[int, list[float]] = {}
    if final is estimator:
        try:
            booster = trees.read(final)
        except trees.Unsupported:
            booster = None
        if booster is not None:
            return booster.ensemble.thresholds()
        for tree in _trees(final):
            inner = tree.children_left != -1
            for feature, value in zip(tree.feature[inner], tree.threshold[inner], strict=True):
                found.setdefault(int(feature), []).append(float(value))
    if not found:
        for column in range(known.shape[1]):
            values = known[:, column][np.isfinite(known[:, column])]
            if len(values):
                found[column] = list(np.unique(np.quantile(values, np.linspace(0, 1, 11))))
    return {feature: np.unique(np.array(values, known.dtype)) for feature, values in found.items()}


def _trees(final: Any) -> Iterator[Any]:
    """The trees of scikit-learn's forests and boosters of single trees."""
    if hasattr(final, "tree_"):
        yield final.tree_
    elif isinstance(final, FORESTS) or hasattr(final, "estimators_"):
        for estimator in np.asarray(final.estimators_, dtype=object).ravel():
            if hasattr(estimator, "tree_"):
                yield estimator.tree_


def named(estimator: Any, rows: npt.NDArray[Any]) -> Any:
    """A matrix as the estimator takes it: with the names it was fitted with, in double precision."""
    names: Sequence[Any] | None = getattr(estimator, "feature_names_in_", None)
    wide = rows.astype(np.float64)
    if names is not None and len(names) == rows.shape[1]:
        return pd.DataFrame(wide, columns=list(names))
    return wide


def said(answer: Any, estimator: Any, rows: npt.NDArray[Any]) -> Any:
    """The estimator's own answers to rows of its matrix; `None` where it takes no matrix."""
    if encodes(estimator):
        # The matrix is what its own encoder gives; a copy without the encoder takes it.
        estimator = copy.copy(estimator)
        estimator._preprocessor = None
        vars(estimator).pop("feature_names_in_", None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return answer(estimator, named(estimator, rows))
        except (ValueError, TypeError):
            return None
