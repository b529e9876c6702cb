"""scikit-learn's `pairwise_kernels`: how alike rows and points are."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .apart import distances, squared
from .columns import Col, Context

Floats = npt.NDArray[np.float64]


def similarities(step: Any, kind: Any, parameters: dict[str, Any], points: Floats, cols: list[Col], context: Context) -> str:
    """The kernel of each row with each point, `[rows, points]`. A parameter that is None has the kernel's default."""
    graph = context.graph
    matrix = context.matrix(cols, step)
    gamma = parameters.get("gamma")
    wide = 1.0 / points.shape[1] if gamma is None else float(gamma)

    def number(value: float) -> str:
        return graph.constant([[value]])

    if kind == "rbf":
        return graph.op("Exp", graph.op("Mul", squared(graph, matrix, points, len(cols)), number(-wide)))
    if kind == "laplacian":
        return graph.op("Exp", graph.op("Mul", distances(graph, matrix, points, len(cols), 1.0), number(-wide)))
    if kind == "cosine":
        length = graph.op("Sqrt", graph.sum(graph.op("Mul", matrix, matrix)))
        none = graph.op("Equal", length, number(0.0))
        matrix = graph.op("Div", matrix, graph.where(none, number(1.0), length))
        sizes = np.linalg.norm(points, axis=1, keepdims=True)
        return graph.op("MatMul", matrix, graph.constant((points / np.where(sizes == 0, 1.0, sizes)).T))
    if kind in ("linear", "poly", "polynomial", "sigmoid"):
        product = graph.op("MatMul", matrix, graph.constant(points.T))
        if kind == "linear":
            return product
        first = parameters.get("coef0")
        product = graph.op("Add", graph.op("Mul", product, number(wide)), number(1.0 if first is None else float(first)))
        if kind == "sigmoid":
            return graph.op("Tanh", product)
        degree = parameters.get("degree")
        return _raised(graph, product, 3 if degree is None else degree)
    raise context.refuse(
        step, cols, f"its kernel is {getattr(kind, '__name__', repr(kind))}",
        "use kernel='rbf', 'laplacian', 'poly', 'linear', 'cosine' or 'sigmoid'",
    )  # fmt: skip


def _raised(graph: Any, base: str, degree: float) -> str:
    if float(degree) != int(degree) or not 1 <= degree <= 16:
        return str(graph.op("Pow", base, graph.constant([[float(degree)]])))
    made = base
    for _ in range(int(degree) - 1):
        made = graph.op("Mul", made, base)
    return made
