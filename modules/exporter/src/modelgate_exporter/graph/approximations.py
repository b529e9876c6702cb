"""Transformers that stand for a kernel by some columns, and other projections."""

from __future__ import annotations

from typing import Any

import numpy as np

from .build import Graph
from .categories import guarded
from .columns import Col, Context, spread
from .forests import grown, single
from .linear import _dense
from .pairwise import similarities


def fourier(step: Any, cols: list[Col], context: Context) -> list[Col]:
    """RBFSampler."""
    graph = context.graph
    weights = np.asarray(step.random_weights_, np.float64)
    made = graph.op("Cos", graph.affine(context.matrix(cols, step), weights, step.random_offset_))
    return spread(cols, graph.op("Mul", made, graph.constant([[np.sqrt(2.0 / weights.shape[1])]])), weights.shape[1])


def nystroem(step: Any, cols: list[Col], context: Context) -> list[Col]:
    """Nystroem."""
    points = _dense(step.components_)
    parameters = {"gamma": step.gamma, "degree": step.degree, "coef0": step.coef0, **(step.kernel_params or {})}
    similar = similarities(step, step.kernel, parameters, points, cols, context)
    return spread(cols, context.graph.op("MatMul", similar, context.graph.constant(np.asarray(step.normalization_, np.float64).T)), len(points))


def kernel_components(step: Any, cols: list[Col], context: Context) -> list[Col]:
    """KernelPCA."""
    graph = context.graph
    points = _dense(step.X_fit_)
    parameters = {"gamma": getattr(step, "gamma_", step.gamma), "degree": step.degree, "coef0": step.coef0, **(step.kernel_params or {})}
    similar = similarities(step, step.kernel, parameters, points, cols, context)
    values = np.asarray(step.eigenvalues_, np.float64)
    vectors = np.zeros_like(np.asarray(step.eigenvectors_, np.float64))
    some = np.flatnonzero(values)
    vectors[:, some] = np.asarray(step.eigenvectors_, np.float64)[:, some] / np.sqrt(values[some])
    rows, total = np.asarray(step._centerer.K_fit_rows_, np.float64), float(step._centerer.K_fit_all_)
    mean = graph.op("Div", graph.sum(similar), graph.constant([[float(len(rows))]]))
    centered = graph.op("Sub", graph.op("Sub", similar, graph.constant([rows])), mean)
    centered = graph.op("Add", centered, graph.constant([[total]]))
    return spread(cols, graph.op("MatMul", centered, graph.constant(vectors)), vectors.shape[1])


def _not_below(context: Context, matrix: str, width: int, limit: float, equal: bool) -> str:
    """The matrix, or an error for rows with a number that the step refuses."""
    graph = context.graph
    low = graph.double(graph.op("LessOrEqual" if equal else "Less", matrix, graph.constant([[limit]])))
    return guarded(context, matrix, width, graph.op("Less", graph.sum(low), graph.constant([[0.5]])))


def skewed(step: Any, cols: list[Col], context: Context) -> list[Col]:
    """SkewedChi2Sampler."""
    graph = context.graph
    skew = float(step.skewedness)
    matrix = _not_below(context, context.matrix(cols, step), len(cols), -skew, True)
    weights = np.asarray(step.random_weights_, np.float64)
    logs = graph.op("Log", graph.op("Add", matrix, graph.constant([[skew]])))
    made = graph.op("Cos", graph.affine(logs, weights, step.random_offset_))
    return spread(cols, graph.op("Mul", made, graph.constant([[np.sqrt(2.0) / np.sqrt(weights.shape[1])]])), weights.shape[1])


def chi_squared(step: Any, cols: list[Col], context: Context) -> list[Col]:
    """AdditiveChi2Sampler."""
    graph = context.graph
    matrix = _not_below(context, context.matrix(cols, step), len(cols), 0.0, False)
    interval = getattr(step, "sample_interval_", None) or step.sample_interval or {1: 0.8, 2: 0.5, 3: 0.4}[step.sample_steps]
    zero = graph.op("Equal", matrix, graph.constant([[0.0]]))

    def number(value: float) -> str:
        return graph.constant([[value]])

    def kept(value: str) -> str:
        return graph.where(zero, number(0.0), value)

    safe = graph.where(zero, number(1.0), matrix)
    parts = [kept(graph.op("Sqrt", graph.op("Mul", safe, number(interval))))]
    logs = graph.op("Mul", graph.op("Log", safe), number(interval))
    double = graph.op("Mul", safe, number(2.0 * interval))
    for at in range(1, step.sample_steps):
        factor = graph.op("Sqrt", graph.op("Div", double, number(float(np.cosh(np.pi * at * interval)))))
        turns = graph.op("Mul", logs, number(float(at)))
        parts += [kept(graph.op("Mul", factor, graph.op(wave, turns))) for wave in ("Cos", "Sin")]
    return spread(cols, graph.concat(parts), len(parts) * len(cols))


def sketched(step: Any, cols: list[Col], context: Context) -> list[Col]:
    """PolynomialCountSketch: a product of Fourier transforms, each of which is a product with a matrix."""
    graph = context.graph
    matrix = context.matrix(cols, step)
    count = int(step.n_components)
    angles = 2.0 * np.pi * np.outer(np.arange(count), np.arange(count)) / count
    real, imaginary = "", ""
    for places, signs in zip(step.indexHash_, step.bitHash_, strict=True):
        sketch = np.zeros((len(places), count))
        sketch[np.arange(len(places)), places] = signs
        sketch[: len(cols)] *= np.sqrt(step.gamma)
        bias = np.zeros(count)
        if step.coef0 > 0:
            bias, sketch = sketch[-1] * np.sqrt(step.coef0), sketch[:-1]
        one = graph.affine(matrix, sketch @ np.cos(angles), bias @ np.cos(angles))
        other = graph.affine(matrix, -sketch @ np.sin(angles), -bias @ np.sin(angles))
        real, imaginary = _product(graph, (real, imaginary), (one, other)) if real else (one, other)
    back = graph.op("MatMul", real, graph.constant(np.cos(angles) / count))
    made = graph.op("Sub", back, graph.op("MatMul", imaginary, graph.constant(np.sin(angles) / count)))
    return spread(cols, made, count)


def _product(graph: Graph, one: tuple[str, str], other: tuple[str, str]) -> tuple[str, str]:
    """The product of complex numbers."""
    real = graph.op("Sub", graph.op("Mul", one[0], other[0]), graph.op("Mul", one[1], other[1]))
    return real, graph.op("Add", graph.op("Mul", one[0], other[1]), graph.op("Mul", one[1], other[0]))


def leaves(step: Any, cols: list[Col], context: Context) -> list[Col]:
    """RandomTreesEmbedding: the leaf of each tree, one-hot."""
    graph = context.graph
    found = [member.tree_ for member in step.estimators_]
    entries = [(tree, at, np.arange(tree.node_count, dtype=float)) for at, tree in enumerate(found)]
    reached = grown(context, single(context, cols, step), entries, len(found))
    encoder = step.one_hot_encoder_
    categories = [np.asarray(values, np.float64) for values in encoder.categories_]
    wide = graph.gather(reached, [at for at, values in enumerate(categories) for _ in values])
    hot = graph.double(graph.op("Equal", wide, graph.constant([np.concatenate(categories)])))
    return spread(cols, hot, sum(map(len, categories)))


def factors(step: Any) -> tuple[Any, Any, Any]:
    """FactorAnalysis."""
    weighted = step.components_ / step.noise_variance_
    inner = np.linalg.inv(np.eye(len(step.components_)) + weighted @ step.components_.T)
    return step.mean_, None, weighted.T @ inner


def sparse_components(step: Any) -> tuple[Any, Any, Any]:
    """SparsePCA: a ridge regression on the components."""
    parts = np.asarray(step.components_, np.float64)
    inner = np.linalg.inv(parts @ parts.T + step.ridge_alpha * np.eye(len(parts)))
    return step.mean_, None, parts.T @ inner


def agglomerated(step: Any, cols: list[Col], context: Context) -> list[Col]:
    """FeatureAgglomeration by means."""
    if step.pooling_func is not np.mean:
        raise context.refuse(step, cols, "its pooling_func is its own", "use pooling_func=np.mean")
    labels = np.asarray(step.labels_)
    groups = np.unique(labels)
    weights = np.stack([(labels == group) / np.sum(labels == group) for group in groups], axis=1)
    return spread(cols, context.graph.affine(context.matrix(cols, step), weights), len(groups))


def hidden(step: Any, cols: list[Col], context: Context) -> list[Col]:
    """BernoulliRBM."""
    made = context.graph.affine(context.matrix(cols, step), np.asarray(step.components_, np.float64).T, step.intercept_hidden_)
    return spread(cols, context.graph.op("Sigmoid", made), len(step.components_))


def of_all_rows(step: Any, cols: list[Col], context: Context) -> list[Col]:
    """NMF and the like, which no row can be answered by alone."""
    raise context.refuse(
        step, cols, "its transform goes on until all rows of a request together have settled, so that a row's answer depends on the rows beside it",
        "use TruncatedSVD, PCA or FactorAnalysis in its place",
    )  # fmt: skip
