"""Detectors of outliers: 1 for a row that is like the others, -1 for one that is not."""

from __future__ import annotations

from typing import Any

import numpy as np

from .columns import Col, Context
from .neighbours import nearest_distances
from .result import Result


def _inside(context: Context, decision: str) -> Result:
    graph = context.graph
    index = graph.cast(graph.op("GreaterOrEqual", decision, graph.constant([[0.0]])), 7)
    return Result(index=index, classes=np.array([-1, 1]), decision=decision)


def elliptic(step: Any, cols: list[Col], context: Context) -> Result:
    """EllipticEnvelope: Mahalanobis distances."""
    graph = context.graph
    apart = graph.op("Sub", context.matrix(cols, step), graph.constant([np.asarray(step.location_, np.float64)]))
    turned = graph.op("MatMul", apart, graph.constant(np.asarray(step.get_precision(), np.float64)))
    size = graph.sum(graph.op("Mul", turned, apart))
    return _inside(context, graph.op("Sub", graph.constant([[-float(step.offset_)]]), size))


def local(step: Any, cols: list[Col], context: Context) -> Result:
    """LocalOutlierFactor with novelty=True."""
    graph = context.graph
    far, which = nearest_distances(step, cols, context, int(step.n_neighbors_))
    theirs = np.asarray(step._distances_fit_X_[:, step.n_neighbors_ - 1], np.float64)
    reach = graph.op("Gather", graph.constant(theirs), which, axis=0)
    reach = graph.where(graph.op("Greater", far, reach), far, reach)
    count = graph.constant([[float(step.n_neighbors_)]])
    mean = graph.op("Add", graph.op("Div", graph.sum(reach), count), graph.constant([[1e-10]]))
    dense = graph.op("Gather", graph.constant(np.asarray(step._lrd, np.float64)), which, axis=0)
    ratio = graph.op("Div", graph.sum(graph.op("Mul", dense, mean)), count)
    return _inside(context, graph.op("Sub", graph.constant([[-float(step.offset_)]]), ratio))


def linear(step: Any, cols: list[Col], context: Context) -> Result:
    """SGDOneClassSVM."""
    weights = np.asarray(step.coef_, np.float64).reshape(-1, 1)
    return _inside(context, context.graph.affine(context.matrix(cols, step), weights, -np.asarray(step.offset_, np.float64)))
