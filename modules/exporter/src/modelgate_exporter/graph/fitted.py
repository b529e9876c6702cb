"""Fitted steps and estimators within a transformer class of the user's own: they take stand-ins as the pipeline's own do."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from . import categories
from .columns import Col, Context
from .elementwise import Untraceable
from .frames import Frame
from .result import scored
from .symbols import Array, Symbol, is_frame, is_series

LIBRARIES = ("sklearn", "xgboost", "lightgbm", "catboost", "imblearn")


def with_stand_ins(step: Any, context: Context) -> Any:
    """A copy of the user's object, whose fitted steps take stand-ins."""
    made = copy.copy(step)
    for name, value in vars(step).items():
        vars(made)[name] = _stand_in(value, context.at(name))
    return made


def _stand_in(value: Any, context: Context) -> Any:
    if isinstance(value, dict):
        return {key: _stand_in(inner, context.at(str(key))) for key, inner in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_stand_in(inner, context.at(str(at))) for at, inner in enumerate(value))
    if isinstance(value, BaseEstimator) and type(value).__module__.partition(".")[0] in LIBRARIES:
        return Fitted(value, context)
    return value


class Fitted:
    """A fitted step or estimator."""

    def __init__(self, step: Any, context: Context) -> None:
        self._step, self._context = step, context

    @property
    def __class__(self) -> Any:
        """The step's own, which code may look at."""
        return type(self._step)

    def __getattr__(self, name: str) -> Any:
        if name in ("fit", "fit_transform", "fit_predict", "partial_fit"):
            raise Untraceable(f"it calls .{name}, which learns from the rows of a request")
        return getattr(self._step, name)

    def transform(self, data: Any) -> Any:
        """The columns behind the step."""
        from .steps import walk

        if not isinstance(data, Symbol):
            return self._step.transform(data)
        if type(self._step).__name__ == "LabelEncoder":
            return Array(data.graph, [_numbered(self._step, col, self._context) for col in data.cols], 1)
        made = walk(self._step, _given(data), self._context)
        return Frame(data.graph, list(made.cols)) if made.framed else Array(data.graph, list(made.cols))

    def predict(self, data: Any) -> Any:
        """An estimator's answers."""
        result = self._answer(data)
        if result is None:
            return self._step.predict(data)
        if result.index is not None and np.asarray(result.classes).dtype.kind in "OUS":
            raise Untraceable("it predicts a text with an estimator")
        value, width = scored(data.graph, result, ["predict"])
        return _array(data, value, width, result.flat or result.index is not None)

    def predict_proba(self, data: Any) -> Any:
        """A classifier's probabilities."""
        result = self._answer(data)
        if result is None:
            return self._step.predict_proba(data)
        if result.probabilities is None:
            raise Untraceable("it asks an estimator for probabilities that the graph has not")
        return _array(data, result.probabilities, len(result.classes), False)

    def _answer(self, data: Any) -> Any:
        from .answers import answer

        return answer(self._step, _given(data), self._context) if isinstance(data, Symbol) else None


def _given(data: Symbol) -> Any:
    from .steps import Columns

    return Columns(list(data.cols), is_frame(data) or is_series(data), is_series(data))


def _array(data: Symbol, value: str, width: int, flat: bool) -> Array:
    from .columns import spread

    return Array(data.graph, spread(data.cols, value, width), 1 if flat and width == 1 else 2)


def _numbered(step: Any, col: Col, context: Context) -> Col:
    """LabelEncoder: the place of a text among those of the training, which refuses others."""
    known = list(step.classes_)
    table = np.arange(len(known), dtype=np.float64)[:, None]
    found, there = categories.looked_up(context, col, known, table, np.array([0.0]))
    return col.number(categories.guarded(context, found, 1, there))
