"""The answers of an estimator, as tensors of a graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .build import Graph


@dataclass
class Result:
    """Numbers, or a class with its scores; several of them where there are several targets."""

    values: str | None = None
    """Numbers `[rows, width]`."""
    width: int = 1
    flat: bool = True
    """Whether `predict` gives one number a row rather than a list of one."""
    index: str | None = None
    """The place in `classes` of the answer, `[rows, 1]`."""
    classes: Any = None
    probabilities: str | None = None
    decision: str | None = None
    """The scores of `decision_function`, `[rows, 1]` or `[rows, classes]`."""
    decision_width: int = 1
    targets: list[Result] = field(default_factory=list)


def numbers(values: str, width: int = 1, flat: bool = True) -> Result:
    """A regressor's answer."""
    return Result(values=values, width=width, flat=flat and width == 1)


def argmax(graph: Graph, scores: str) -> str:
    """The place of the first largest score."""
    return graph.op("ArgMax", scores, axis=1, keepdims=1)


def pair(graph: Graph, second: str) -> str:
    """The probabilities of two classes, of which the second one's is given."""
    return graph.concat([graph.op("Sub", graph.constant([[1.0]]), second), second])


def by_score(graph: Graph, scores: str, classes: Any, probabilities: str | None = None, limit: float = 0.0, equal: bool = False) -> Result:
    """The class of the largest score; of two classes one score tells which side of a limit it is on."""
    if len(classes) == 2:
        test = graph.op("GreaterOrEqual" if equal else "Greater", scores, graph.constant([[limit]]))
        index = graph.cast(test, 7)
    else:
        index = argmax(graph, scores)
    width = 1 if len(classes) == 2 else len(classes)
    return Result(index=index, classes=classes, probabilities=probabilities, decision=scores, decision_width=width)


def by_probability(graph: Graph, probabilities: str, classes: Any) -> Result:
    """The likeliest class, the first of equals."""
    return Result(index=argmax(graph, probabilities), classes=classes, probabilities=probabilities)


def shares(graph: Graph, scores: str, even: float | None = None) -> str:
    """Scores divided by their sum; `even` in each where that is zero."""
    total = graph.sum(scores)
    zero = graph.op("Equal", total, graph.constant([[0.0]]))
    part = graph.op("Div", scores, graph.where(zero, graph.constant([[1.0]]), total))
    return part if even is None else graph.where(zero, graph.constant([[even]]), part)


def scored(graph: Graph, result: Result, methods: Sequence[str] = ("decision_function", "predict_proba")) -> tuple[str, int]:
    """An estimator's scores by the first method it has, of two classes the second one's: and how many."""
    for method in methods:
        if method == "decision_function" and result.decision is not None:
            return result.decision, result.decision_width
        if method == "predict_proba" and result.probabilities is not None:
            count = len(result.classes)
            return (graph.gather(result.probabilities, [1]), 1) if count == 2 else (result.probabilities, count)
        if method == "predict" and result.values is not None:
            return result.values, result.width
        if method == "predict" and result.index is not None:
            labels = np.asarray(result.classes, np.float64)
            return graph.op("Gather", graph.constant(labels), result.index, axis=0), 1
    raise LookupError(f"no {' or '.join(methods)}")
