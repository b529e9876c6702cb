"""Back from a transformed target."""

from __future__ import annotations

from typing import Any

import numpy as np

from .build import Graph
from .columns import Col, Context
from .numeric import interpolated


def inverted(step: Any, values: str, width: int, cols: list[Col], context: Context) -> str:
    """`inverse_transform` of a target's transformer."""
    graph = context.graph
    kind = type(step).__name__

    def row(numbers: Any) -> str:
        return graph.constant(np.atleast_2d(np.asarray(numbers, np.float64)))

    if kind == "Pipeline":
        for _, inner in reversed(step.steps):
            if inner not in (None, "passthrough"):
                values = inverted(inner, values, width, cols, context)
        return values
    if kind == "FunctionTransformer":
        return _function(step, values, width, cols, context)
    if kind in ("StandardScaler", "RobustScaler", "MaxAbsScaler"):
        if getattr(step, "scale_", None) is not None:
            values = graph.op("Mul", values, row(step.scale_))
        center = getattr(step, "mean_" if kind == "StandardScaler" else "center_", None)
        return values if center is None else graph.op("Add", values, row(center))
    if kind == "MinMaxScaler":
        return graph.op("Div", graph.op("Sub", values, row(step.min_)), row(step.scale_))
    if kind == "PowerTransformer":
        if step.standardize:
            values = inverted(step._scaler, values, width, cols, context)
        parts = [
            _power(graph, graph.gather(values, [at]), float(power), step.method) for at, power in enumerate(step.lambdas_)
        ]
        return graph.concat(parts)
    if kind == "QuantileTransformer" and step.output_distribution == "uniform":
        parts = []
        for at in range(width):
            part = graph.gather(values, [at])
            parts.append(interpolated(graph, part, np.asarray(step.references_), np.asarray(step.quantiles_[:, at])))
        return graph.concat(parts)
    raise context.refuse(
        step, cols, "modelgate cannot turn its answers back", "use a scaler, a PowerTransformer or func= and inverse_func= of numpy"
    )


def _function(step: Any, values: str, width: int, cols: list[Col], context: Context) -> str:
    from .columns import joined, spread
    from .steps import Columns
    from .tracing import traced

    if step.inverse_func is None:
        return values
    keywords = step.inv_kw_args or {}
    given = spread(cols, values, width)
    made = traced(lambda array: step.inverse_func(array, **keywords), Columns(given, False), step, step.inverse_func, context).cols
    return joined(context.graph, made)


def _power(graph: Graph, x: str, power: float, method: str) -> str:
    def number(value: float) -> str:
        return graph.constant([[value]])

    one = number(1.0)
    if method == "box-cox":
        return _grown(graph, x, power)
    positive = graph.op("GreaterOrEqual", x, number(0.0))
    above = graph.op("Sub", _grown(graph, graph.where(positive, x, number(0.0)), power), one)
    below = graph.where(positive, number(0.0), graph.op("Neg", x))
    return graph.where(positive, above, graph.op("Sub", one, _grown(graph, below, 2 - power)))


def _grown(graph: Graph, x: str, power: float) -> str:
    """The inverse of `(y ** power - 1) / power`."""
    if abs(power) < np.spacing(1.0):
        return graph.op("Exp", x)
    inner = graph.op("Add", graph.op("Mul", x, graph.constant([[power]])), graph.constant([[1.0]]))
    return graph.op("Exp", graph.op("Div", graph.op("Log", inner), graph.constant([[power]])))
