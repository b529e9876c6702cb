"""LatentDirichletAllocation: the topics of each row by itself, round after round until they settle."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto, helper

from .build import Graph
from .columns import Col, Context, spread
from .result import shares

EULER = 0.577215664901532860606512090082402431


def topics(step: Any, cols: list[Col], context: Context) -> list[Col]:
    """A scan of as many rounds as the step allows; a row that has settled stays as it is."""
    graph = context.graph
    words = np.asarray(step.exp_dirichlet_component_, np.float64)
    count = len(words)
    matrix = context.matrix(cols, step)
    zero = graph.op("Mul", graph.sum(matrix), graph.constant([[0.0]]))
    first = graph.op("Add", zero, graph.constant(np.ones((1, count))))
    rounds = graph.constant(np.zeros((int(step.max_doc_update_iter), 1)))
    found = [graph.fresh("scan") for _ in range(4)]
    body = _round(step, words, graph.fresh("round") + "_")
    graph.nodes.append(
        helper.make_node(
            "Scan", [first, _expected(graph, first), zero, matrix, rounds], found, name=found[0], body=body, num_scan_inputs=1
        )
    )
    return spread(cols, shares(graph, found[0]), count)


def _round(step: Any, words: Any, prefix: str) -> Any:
    inner = Graph(prefix)
    names = ("topics", "expected", "settled", "counts")
    before, expected, settled, counts = names
    share = inner.op("Add", inner.op("MatMul", expected, inner.constant(words)), inner.constant([[np.finfo(np.float64).eps]]))
    drawn = inner.op("MatMul", inner.op("Div", counts, share), inner.constant(words.T))
    made = inner.op("Add", inner.op("Mul", expected, drawn), inner.constant([[float(step.doc_topic_prior_)]]))
    change = inner.sum(inner.op("Abs", inner.op("Sub", before, made)))
    change = inner.op("Div", change, inner.constant([[float(len(words))]]))
    # Engines drop an input that no node reads; that of the rounds is all zero.
    done = inner.op("Greater", inner.op("Add", settled, "round"), inner.constant([[0.5]]))
    ends = inner.op("Or", done, inner.op("Less", change, inner.constant([[float(step.mean_change_tol)]])))
    after = (
        inner.where(done, before, made),
        inner.where(done, expected, _expected(inner, made)),
        inner.double(ends),
        inner.op("Identity", counts),
    )
    for name, tensor in zip(names, after, strict=True):
        inner.nodes.append(helper.make_node("Identity", [tensor], [f"{name}_after"], name=f"{prefix}{name}_after"))
    given = [helper.make_tensor_value_info(name, TensorProto.DOUBLE, None) for name in (*names, "round")]
    given_back = [helper.make_tensor_value_info(f"{name}_after", TensorProto.DOUBLE, None) for name in names]
    return helper.make_graph(inner.nodes, "round", given, given_back, inner.constants)


def _expected(graph: Graph, weights: str) -> str:
    """The exponents of the expected logarithms of shares."""
    return graph.op("Exp", graph.op("Sub", digamma(graph, weights), digamma(graph, graph.sum(weights))))


def digamma(graph: Graph, x: str) -> str:
    """The digamma function of positive numbers as scikit-learn has it: a recurrence up to 6, and a series from there."""

    def number(value: float) -> str:
        return graph.constant([[value]])

    tiny = graph.op("LessOrEqual", x, number(1e-6))
    limit = graph.op("Sub", number(-EULER), graph.op("Div", number(1.0), x))
    grown = graph.where(tiny, number(1.0), x)
    total = graph.op("Mul", grown, number(0.0))
    for _ in range(6):
        low = graph.op("Less", grown, number(6.0))
        total = graph.where(low, graph.op("Sub", total, graph.op("Div", number(1.0), grown)), total)
        grown = graph.where(low, graph.op("Add", grown, number(1.0)), grown)
    inverse = graph.op("Div", number(1.0), grown)
    square = graph.op("Mul", inverse, inverse)
    series = graph.op("Sub", number(1.0 / 120.0), graph.op("Mul", square, number(1.0 / 252.0)))
    series = graph.op("Mul", square, graph.op("Sub", number(1.0 / 12.0), graph.op("Mul", square, series)))
    log = graph.op("Sub", graph.op("Log", grown), graph.op("Mul", inverse, number(0.5)))
    return graph.where(tiny, limit, graph.op("Sub", graph.op("Add", total, log), series))
