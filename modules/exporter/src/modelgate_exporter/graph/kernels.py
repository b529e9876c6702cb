"""Estimators that compare a row with rows of the training: support vectors, kernel ridges, centers, mixtures."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from .apart import distances, squared
from .columns import Col, Context
from .linear import _dense, _likelihoods
from .pairwise import similarities
from .result import Result, argmax, by_score, numbers

Floats = npt.NDArray[np.float64]

def kernel(step: Any, cols: list[Col], context: Context, points: Floats) -> str:
    """A support vector machine's kernel of each row with each vector."""
    graph = context.graph
    matrix = context.matrix(cols, step)
    gamma = float(step._gamma)
    if step.kernel == "rbf":
        return graph.op("Exp", graph.op("Mul", squared(graph, matrix, points, len(cols)), graph.constant([[-gamma]])))
    if step.kernel not in ("linear", "poly", "sigmoid"):
        raise context.refuse(step, cols, "its kernel is a function of its own", "use kernel='rbf', 'poly', 'linear' or 'sigmoid'")
    product = graph.op("MatMul", matrix, graph.constant(points.T))
    if step.kernel == "linear":
        return product
    product = graph.op("Add", graph.op("Mul", product, graph.constant([[gamma]])), graph.constant([[float(step.coef0)]]))
    if step.kernel == "sigmoid":
        return graph.op("Tanh", product)
    made = product
    for _ in range(int(step.degree) - 1):
        made = graph.op("Mul", made, product)
    return made if step.degree else graph.op("Add", graph.op("Mul", product, graph.constant([[0.0]])), graph.constant([[1.0]]))


def vector_regressor(step: Any, cols: list[Col], context: Context) -> Result:
    """SVR, NuSVR."""
    return numbers(_sums(step, cols, context))


def _sums(step: Any, cols: list[Col], context: Context) -> str:
    points = _dense(step.support_vectors_)
    return context.graph.affine(kernel(step, cols, context, points), _dense(step.dual_coef_).T, step.intercept_)


def one_class(step: Any, cols: list[Col], context: Context) -> Result:
    """OneClassSVM."""
    made = _sums(step, cols, context)
    return by_score(context.graph, made, np.array([-1, 1]))


def vector_classifier(step: Any, cols: list[Col], context: Context) -> Result:
    """SVC and NuSVC without probabilities: each pair of classes votes."""
    graph = context.graph
    points, dual = _dense(step.support_vectors_), _dense(step._dual_coef_)
    ends = np.cumsum(step._n_support)
    pairs = list(combinations(range(len(step.classes_)), 2))
    weights = np.zeros((len(points), len(pairs)))
    for at, (one, other) in enumerate(pairs):
        for mine, row in ((one, other - 1), (other, one)):
            own = slice(ends[mine] - step._n_support[mine], ends[mine])
            weights[own, at] = dual[row, own]
    made = graph.affine(kernel(step, cols, context, points), weights, step._intercept_)
    if len(step.classes_) == 2:
        return by_score(graph, graph.op("Neg", made), step.classes_, equal=True)
    first = graph.double(graph.op("Greater", made, graph.constant([[0.0]])))
    count = len(step.classes_)
    won, lost = np.zeros((len(pairs), count)), np.zeros((len(pairs), count))
    for at, (one, other) in enumerate(pairs):
        won[at, one], lost[at, other] = 1.0, 1.0
    second = graph.op("Sub", graph.constant([[1.0]]), first)
    votes = graph.op("Add", graph.op("MatMul", first, graph.constant(won)), graph.op("MatMul", second, graph.constant(lost)))
    result = Result(index=argmax(graph, votes), classes=step.classes_)
    if step.decision_function_shape == "ovr":
        # scikit-learn's `_ovr_decision_function`: votes, and confidences below a half between them.
        sure = graph.op("MatMul", made, graph.constant(won - lost))
        size = graph.op("Mul", graph.op("Add", graph.op("Abs", sure), graph.constant([[1.0]])), graph.constant([[3.0]]))
        tied = graph.double(graph.op("Equal", made, graph.constant([[0.0]])))
        votes = graph.op("Add", votes, graph.op("MatMul", tied, graph.constant(won - lost)))
        result.decision = graph.op("Add", votes, graph.op("Div", sure, size))
        result.decision_width = count
        if getattr(step, "break_ties", False):
            result.index = argmax(graph, result.decision)
    else:
        result.decision, result.decision_width = made, len(pairs)
    return result


def ridge(step: Any, cols: list[Col], context: Context) -> Result:
    """KernelRidge."""
    parameters = {"gamma": step.gamma, "degree": step.degree, "coef0": step.coef0}
    similar = similarities(step, step.kernel, parameters, _dense(step.X_fit_), cols, context)
    weights = np.asarray(step.dual_coef_, np.float64)
    flat = weights.ndim == 1
    made = context.graph.op("MatMul", similar, context.graph.constant(weights[:, None] if flat else weights))
    return numbers(made, 1 if flat else weights.shape[1], flat)


def centers(step: Any, cols: list[Col], context: Context) -> Result:
    """KMeans and its like: the nearest center."""
    graph = context.graph
    points = np.asarray(step.cluster_centers_, np.float64)
    apart = squared(graph, context.matrix(cols, step), points, len(cols))
    return Result(index=graph.op("ArgMin", apart, axis=1, keepdims=1), classes=np.arange(len(points)))


def subclusters(step: Any, cols: list[Col], context: Context) -> Result:
    """Birch: the cluster of the nearest center of a subcluster."""
    graph = context.graph
    apart = squared(graph, context.matrix(cols, step), np.asarray(step.subcluster_centers_, np.float64), len(cols))
    near = graph.op("ArgMin", apart, axis=1, keepdims=1)
    labels = np.asarray(step.subcluster_labels_, np.int64)
    return Result(index=graph.op("Gather", graph.places(list(labels)), near, axis=0), classes=np.arange(int(labels.max()) + 1))


def nearest_centroid(step: Any, cols: list[Col], context: Context) -> Result:
    """NearestCentroid by the usual distances."""
    graph = context.graph
    if step.metric not in ("euclidean", "manhattan"):
        raise context.refuse(step, cols, f"its metric is {step.metric!r}", "use metric='euclidean' or 'manhattan'")
    power = 2.0 if step.metric == "euclidean" else 1.0
    apart = distances(graph, context.matrix(cols, step), np.asarray(step.centroids_, np.float64), len(cols), power)
    prior = getattr(step, "class_prior_", None)
    if prior is not None and not np.allclose(prior, prior[0]):
        raise context.refuse(step, cols, "its priors differ", "use priors='uniform'")
    return Result(index=graph.op("ArgMin", apart, axis=1, keepdims=1), classes=step.classes_)


def mixture(step: Any, cols: list[Col], context: Context) -> Result:
    """GaussianMixture and BayesianGaussianMixture."""
    graph = context.graph
    matrix = context.matrix(cols, step)
    width = len(cols)
    parts = []
    for at, mean in enumerate(step.means_):
        root = step.precisions_cholesky_ if step.covariance_type == "tied" else step.precisions_cholesky_[at]
        root = np.asarray(root, np.float64)
        if step.covariance_type in ("diag", "spherical"):
            root = np.diag(np.broadcast_to(root, (width,)))
        turned = graph.op("MatMul", graph.op("Sub", matrix, graph.constant(mean[None, :])), graph.constant(root))
        size = graph.op("Mul", graph.sum(graph.op("Mul", turned, turned)), graph.constant([[-0.5]]))
        # At its mean a component's score is the rest of the sum, which differs between the two estimators.
        parts.append(graph.op("Add", size, graph.constant([[step._estimate_weighted_log_prob(mean[None, :])[0, at]]])))
    step_like = type("Classes", (), {"classes_": np.arange(len(step.means_))})
    return _likelihoods(context, step_like, graph.concat(parts), has_decision=False)
