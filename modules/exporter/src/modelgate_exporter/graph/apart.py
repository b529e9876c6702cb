"""Distances of each row to the points of a training."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .build import Graph

Floats = npt.NDArray[np.float64]

BY_FEATURE = 24
"""Up to so many features, distances are summed feature by feature: equal ones stay equal."""


def squared(graph: Graph, matrix: str, points: Floats, width: int) -> str:
    """Squared distances `[rows, points]`."""
    if width <= BY_FEATURE:
        total = None
        for at in range(width):
            apart = graph.op("Sub", graph.gather(matrix, [at]), graph.constant([points[:, at]]))
            square = graph.op("Mul", apart, apart)
            total = square if total is None else graph.op("Add", total, square)
        assert total is not None
        return total
    own = graph.sum(graph.op("Mul", matrix, matrix))
    cross = graph.op("MatMul", matrix, graph.constant(-2.0 * points.T))
    made = graph.op("Add", graph.op("Add", cross, own), graph.constant([np.sum(points**2, axis=1)]))
    zero = graph.constant([[0.0]])
    return graph.where(graph.op("Less", made, zero), zero, made)


def distances(graph: Graph, matrix: str, points: Floats, width: int, power: float) -> str:
    """Minkowski distances, but for the root of squared ones: order is all that matters."""
    if power == 2:
        return squared(graph, matrix, points, width)
    total = None
    for at in range(width):
        apart = graph.op("Abs", graph.op("Sub", graph.gather(matrix, [at]), graph.constant([points[:, at]])))
        if power == np.inf:
            total = apart if total is None else graph.where(graph.op("Greater", apart, total), apart, total)
            continue
        if power != 1:
            apart = graph.op("Pow", apart, graph.constant([[power]]))
        total = apart if total is None else graph.op("Add", total, apart)
    assert total is not None
    return total
