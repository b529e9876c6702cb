"""Estimators of the nearest rows of the training."""

from __future__ import annotations

from typing import Any

import numpy as np

from .apart import distances
from .build import Graph
from .categories import guarded
from .columns import Col, Context
from .linear import _dense
from .result import Result, argmax, numbers, shares


def power_of(step: Any, cols: list[Col], context: Context) -> float:
    metric = getattr(step, "effective_metric_", step.metric)
    known = {"euclidean": 2.0, "l2": 2.0, "manhattan": 1.0, "l1": 1.0, "cityblock": 1.0, "chebyshev": np.inf}
    if metric == "minkowski":
        return float(getattr(step, "effective_metric_params_", {}).get("p", step.p))
    if metric not in known:
        raise context.refuse(step, cols, f"its metric is {metric!r}", "use metric='euclidean', 'manhattan', 'chebyshev' or 'minkowski'")
    return known[metric]


def rooted(graph: Graph, apart: str, power: float) -> str:
    """Distances, of sums of powers."""
    if power == 2:
        return graph.op("Sqrt", apart)
    return apart if power in (1, np.inf) else graph.op("Pow", apart, graph.constant([[1 / power]]))


def nearest_distances(step: Any, cols: list[Col], context: Context, count: int) -> tuple[str, str]:
    """The distances of the nearest rows of the training, and their places."""
    graph = context.graph
    power = power_of(step, cols, context)
    context.doubt(
        step, cols, f"several rows of the training are equally near as the last of its {count} neighbours, and which of "
        "them counts depends on the order of the library's search", "leave double rows out of the training, or use another estimator",
    )  # fmt: skip
    made = distances(graph, context.matrix(cols, step), _dense(step._fit_X), len(cols), power)
    near, which = graph.ops("TopK", made, graph.places([count]), outputs=2, axis=1, largest=0, sorted=1)
    return rooted(graph, near, power), which


def nearest(step: Any, cols: list[Col], context: Context) -> tuple[str, str]:
    """The places of the nearest rows of the training, and their weights."""
    graph = context.graph
    if callable(step.weights):
        raise context.refuse(step, cols, "its weights are a function of its own", "use weights='uniform' or 'distance'")
    near, which = nearest_distances(step, cols, context, int(step.n_neighbors))
    one, zero = graph.constant([[1.0]]), graph.constant([[0.0]])
    if step.weights != "distance":
        return which, graph.op("Add", graph.op("Mul", near, zero), one)
    same = graph.op("Equal", near, zero)
    hit = graph.op("Greater", graph.sum(graph.double(same)), zero)
    return which, graph.where(hit, graph.double(same), graph.op("Div", one, graph.where(same, one, near)))


def classifier(step: Any, cols: list[Col], context: Context) -> Result:
    """KNeighborsClassifier."""
    graph = context.graph
    which, weights = nearest(step, cols, context)
    if step.outputs_2d_:
        raise context.refuse(step, cols, "it has several targets", "wrap it in MultiOutputClassifier")
    labels = graph.op("Gather", graph.constant(np.asarray(step._y, np.float64)), which, axis=0)
    votes = []
    for place in range(len(step.classes_)):
        own = graph.double(graph.op("Equal", labels, graph.constant([[float(place)]])))
        votes.append(graph.sum(graph.op("Mul", own, weights)))
    likely = shares(graph, graph.concat(votes))
    return Result(index=argmax(graph, graph.concat(votes)), classes=step.classes_, probabilities=likely)


def regressor(step: Any, cols: list[Col], context: Context) -> Result:
    """KNeighborsRegressor."""
    graph = context.graph
    which, weights = nearest(step, cols, context)
    known = np.asarray(step._y, np.float64)
    flat = known.ndim == 1
    known = known[:, None] if flat else known
    parts = []
    for target in range(known.shape[1]):
        values = graph.op("Gather", graph.constant(known[:, target]), which, axis=0)
        parts.append(graph.op("Div", graph.sum(graph.op("Mul", values, weights)), graph.sum(weights)))
    return numbers(graph.concat(parts), known.shape[1], flat)


def _within(step: Any, cols: list[Col], context: Context) -> tuple[str, str]:
    """The weight of each row of the training `[rows, training]`, none beyond the radius; whether a row has a neighbour."""
    graph = context.graph
    if callable(step.weights):
        raise context.refuse(step, cols, "its weights are a function of its own", "use weights='uniform' or 'distance'")
    power = power_of(step, cols, context)
    made = distances(graph, context.matrix(cols, step), _dense(step._fit_X), len(cols), power)
    limit = float(step.radius) if power in (1, np.inf) else float(step.radius) ** power
    inside = graph.double(graph.op("LessOrEqual", made, graph.constant([[limit]])))
    zero, one = graph.constant([[0.0]]), graph.constant([[1.0]])
    some = graph.op("Greater", graph.sum(inside), zero)
    if step.weights != "distance":
        return inside, some
    far = rooted(graph, made, power)
    same = graph.op("Equal", far, zero)
    hit = graph.op("Greater", graph.sum(graph.double(same)), zero)
    inverse = graph.op("Mul", inside, graph.op("Div", one, graph.where(same, one, far)))
    return graph.where(hit, graph.double(same), inverse), some


def radius_classifier(step: Any, cols: list[Col], context: Context) -> Result:
    """RadiusNeighborsClassifier."""
    graph = context.graph
    if step.outputs_2d_:
        raise context.refuse(step, cols, "it has several targets", "wrap it in MultiOutputClassifier")
    weights, some = _within(step, cols, context)
    classes = list(step.classes_)
    labels = (np.asarray(step._y).ravel()[:, None] == np.arange(len(classes))[None, :]).astype(np.float64)
    likely = shares(graph, graph.op("MatMul", weights, graph.constant(labels)))
    label = step.outlier_label_[0] if step.outlier_label_ is not None else None
    if label is None:
        likely = guarded(context, likely, len(classes), some)
    elif label in classes:
        likely = graph.where(some, likely, graph.constant([np.eye(len(classes))[classes.index(label)]]))
    else:
        raise context.refuse(
            step, cols, f"its outlier_label {label!r} is none of its classes, so that such rows have no probabilities",
            "use outlier_label='most_frequent' or one of the classes",
        )  # fmt: skip
    return Result(index=argmax(graph, likely), classes=step.classes_, probabilities=likely)


def radius_regressor(step: Any, cols: list[Col], context: Context) -> Result:
    """RadiusNeighborsRegressor; NaN where a row has no neighbour."""
    graph = context.graph
    weights, some = _within(step, cols, context)
    known = np.asarray(step._y, np.float64)
    flat = known.ndim == 1
    known = known[:, None] if flat else known
    total = graph.where(some, graph.sum(weights), graph.constant([[np.nan]]))
    return numbers(graph.op("Div", graph.op("MatMul", weights, graph.constant(known)), total), known.shape[1], flat)
