"""Boosters that encode categories themselves, and their trees."""

from __future__ import annotations

from typing import Any

import numpy as np

from .categories import looked_up
from .columns import Col, Context
from .forests import booster, without_encoder
from .result import Result
from .steps import Columns, walk


def boosted(step: Any, given: Columns, context: Context) -> Result:
    """HistGradientBoosting, LightGBM, XGBoost, CatBoost."""
    kind = type(step).__module__.partition(".")[0]
    cols = list(given.cols)
    if getattr(step, "_preprocessor", None) is not None and hasattr(step, "_bin_mapper"):
        cols = walk(step._preprocessor, given, context).cols
        return booster(without_encoder(step), cols, context)
    if any(base.__name__ == "LGBMModel" for base in type(step).__mro__):
        cols = _coded(cols, step.booster_.pandas_categorical or [], context)
        return booster(step, cols, context)
    if any(base.__name__ == "XGBModel" for base in type(step).__mro__):
        cols = _coded(cols, _xgboost_categories(step, cols), context)
        return booster(step, cols, context)
    if kind == "catboost" or any(base.__name__ == "CatBoost" for base in type(step).__mro__):
        from .catboost import boosted as cat

        return cat(step, cols, context)
    return booster(step, cols, context)


def _categorical(col: Col) -> bool:
    return col.dtype == "category"


def _coded(cols: list[Col], categories: list[list[Any]], context: Context) -> list[Col]:
    """Columns of pandas' categories as their places; what is not among them is missing."""
    places = [at for at, col in enumerate(cols) if _categorical(col)]
    if len(places) != len(categories):
        return cols
    for at, known in zip(places, categories, strict=True):
        table = np.arange(len(known), dtype=np.float64)[:, None]
        value, _ = looked_up(context, cols[at], list(known), table, np.array([np.nan]))
        cols[at] = cols[at].number(value)
    return cols


def _xgboost_categories(step: Any, cols: list[Col]) -> list[list[Any]]:
    """Of the columns of categories, in order: as the model has them, else as the sample frame does."""
    names = step.get_booster().feature_names or []
    known: dict[str, list[Any]] = {}
    try:
        held = step.get_booster().get_categories(export_to_arrow=True).to_arrow()
        known = {name: values.to_pylist() for name, values in held if values is not None}
    except Exception:
        known = {}
    made = []
    for at, col in enumerate(cols):
        if _categorical(col):
            label = names[at] if at < len(names) else str(col.label)
            made.append(known.get(label) or list(col.roots[0].categories))
    return made
