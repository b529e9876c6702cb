"""Columns whose missing values a step of the pipeline fills, though its sample has none."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from .model import found

SECONDS = 10.0
"""For all columns: a pipeline may be slow, and columns many."""


def may_lack(pipeline: Any, frame: pd.DataFrame) -> Iterator[str]:
    """The names of the columns: a row in which one is missing is answered, no matter how it is marked, and nothing is
    missing in what the estimator gets. Estimators that take missing values by themselves, as forests, would answer rows in
    which a column was forgotten.
    """
    rows = frame.head(3)
    begun = time.monotonic()
    for place in range(len(frame.columns)):
        values = frame.iloc[:, place]
        marks = _marks(values)
        if not marks or bool(values.isna().to_numpy().any()) or time.monotonic() - begun > SECONDS:
            continue
        answers = [_answer(pipeline, rows, place, mark) for mark in marks]
        if all(given is not None and np.array_equal(given, answers[0]) for given in answers):
            yield str(frame.columns[place])


def _marks(values: pd.Series) -> list[Any]:
    """The marks of a missing value in such a column."""
    dtype = values.dtype
    if pd.api.types.is_bool_dtype(dtype) or pd.api.types.is_datetime64_any_dtype(dtype):
        return []
    if dtype == object:
        return [None, np.nan] if values.map(type).eq(str).all() else []
    return [np.nan if isinstance(dtype, (np.dtype, pd.CategoricalDtype, pd.StringDtype)) else pd.NA]


def _answer(pipeline: Any, rows: pd.DataFrame, place: int, mark: Any) -> Any:
    """The pipeline's answers where the last row lacks a value; None where it fails."""
    values = rows.iloc[:, place]
    if values.dtype == object:
        cells = values.to_numpy(dtype=object, copy=True)
        cells[-1] = mark
        made = pd.Series(cells, index=values.index, dtype=object)
    else:
        made = values.mask(np.arange(len(values)) == len(values) - 1)
    trial = rows.copy()
    trial.isetitem(place, made)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            said = np.asarray(pipeline.predict(trial))
            if not _filled(pipeline, trial):
                return None
        except Exception:
            return None
    if said.dtype.kind == "f" and not np.isfinite(said).all():
        return None
    return said


def _filled(pipeline: Any, rows: pd.DataFrame) -> bool:
    """Whether nothing is missing in the rows behind the steps."""
    fitted = found(pipeline.inner if hasattr(pipeline, "inner") else pipeline)
    if not isinstance(fitted, Pipeline) or len(fitted.steps) < 2:
        return False
    given = pipeline._array(rows) if hasattr(pipeline, "_array") else rows
    made = fitted[:-1].transform(given)
    return not bool(np.any(pd.isna(made.toarray() if hasattr(made, "toarray") else np.asarray(made))))
