"""Classifiers of several classes that are made of classifiers of two."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np

from .columns import Context
from .result import Result, argmax, scored

Answer = Callable[..., Result]


class Pairs:
    """The rules; they ask `answer` for the estimators within."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    def one_vs_one(self, step: Any, cols: Any, context: Context) -> Result:
        """OneVsOneClassifier: votes, and between equal ones the sums of scores."""
        graph = context.graph
        if getattr(step, "pairwise_indices_", None) is not None:
            raise context.refuse(step, cols.cols, "its estimators take a matrix of kernels", "fit it on the columns themselves")
        members = [self.answer(inner, cols, context.at(str(at))) for at, inner in enumerate(step.estimators_)]
        count = len(step.classes_)
        # A member that saw one class alone is a constant.
        second = graph.concat([_second(graph, made) for made in members])
        sure = graph.concat([scored(graph, made)[0] for made in members])
        pairs = list(combinations(range(count), 2))
        won, lost = np.zeros((len(pairs), count)), np.zeros((len(pairs), count))
        for at, (one, other) in enumerate(pairs):
            lost[at, one], won[at, other] = 1.0, 1.0
        first = graph.op("Sub", graph.constant([[1.0]]), second)
        votes = graph.op("Add", graph.op("MatMul", second, graph.constant(won)), graph.op("MatMul", first, graph.constant(lost)))
        total = graph.op("MatMul", sure, graph.constant(won - lost))
        size = graph.op("Mul", graph.op("Add", graph.op("Abs", total), graph.constant([[1.0]])), graph.constant([[3.0]]))
        made = graph.op("Add", votes, graph.op("Div", total, size))
        if count == 2:
            made = graph.gather(made, [1])
            limit = 0.0 if members[0].decision is not None else 0.5
            above = graph.cast(graph.op("Greater", made, graph.constant([[limit]])), 7)
            return Result(index=above, classes=step.classes_, decision=made)
        return Result(index=argmax(graph, made), classes=step.classes_, decision=made, decision_width=count)

    def output_code(self, step: Any, cols: Any, context: Context) -> Result:
        """OutputCodeClassifier: the class whose code is nearest to the members' scores."""
        graph = context.graph
        members = [self.answer(inner, cols, context.at(str(at))) for at, inner in enumerate(step.estimators_)]
        sure = graph.concat([scored(graph, made)[0] for made in members])
        book = np.asarray(step.code_book_, np.float64)
        # Without the square of the scores, which is the same for each code.
        apart = graph.affine(sure, -2.0 * book.T, np.sum(book**2, axis=1))
        context.doubt(
            step, cols.cols, "the scores are equally near to the codes of two classes, and which one is taken depends on the last bits",
            "use estimators with scores that differ (LinearSVC, LogisticRegression), or OneVsRestClassifier",
        )  # fmt: skip
        return Result(index=graph.op("ArgMin", apart, axis=1, keepdims=1), classes=step.classes_)


def _second(graph: Any, made: Result) -> str:
    """Whether a member says its second class, as 0 and 1."""
    labels = np.asarray(made.classes, np.float64)
    return str(graph.op("Gather", graph.constant(labels), made.index, axis=0))
