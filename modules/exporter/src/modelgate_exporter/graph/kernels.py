"""Estimators that compare a row with rows of the training: vectors, neighbours, processes, centers."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from .apart import distances, squared
from .columns import Col, Context
from .linear import _dense, _likelihoods
from .result import Result, argmax, by_score, numbers, shares

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
    if getattr(step, "break_ties", False):
        raise context.refuse(step, cols, "break_ties=True", "leave break_ties out")
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
    return result


def _power(step: Any, cols: list[Col], context: Context) -> float:
    metric = getattr(step, "effective_metric_", step.metric)
    known = {"euclidean": 2.0, "l2": 2.0, "manhattan": 1.0, "l1": 1.0, "cityblock": 1.0, "chebyshev": np.inf}
    if metric == "minkowski":
        return float(getattr(step, "effective_metric_params_", {}).get("p", step.p))
    if metric not in known:
        raise context.refuse(step, cols, f"its metric is {metric!r}", "use metric='euclidean', 'manhattan', 'chebyshev' or 'minkowski'")
    return known[metric]


def _nearest(step: Any, cols: list[Col], context: Context) -> tuple[str, str]:
    """The places of the nearest rows of the training, and their weights."""
    graph = context.graph
    if callable(step.weights):
        raise context.refuse(step, cols, "its weights are a function of its own", "use weights='uniform' or 'distance'")
    power = _power(step, cols, context)
    context.doubt(
        step, cols, f"several rows of the training are equally near as the last of its {step.n_neighbors} neighbours, and which of "
        "them counts depends on the order of the library's search", "leave double rows out of the training, or use another estimator",
    )  # fmt: skip
    made = distances(graph, context.matrix(cols, step), _dense(step._fit_X), len(cols), power)
    near, which = graph.ops("TopK", made, graph.places([step.n_neighbors]), outputs=2, axis=1, largest=0, sorted=1)
    one, zero = graph.constant([[1.0]]), graph.constant([[0.0]])
    if step.weights != "distance":
        return which, graph.op("Add", graph.op("Mul", near, zero), one)
    if power == 2:
        near = graph.op("Sqrt", near)
    elif power not in (1, np.inf):
        near = graph.op("Pow", near, graph.constant([[1 / power]]))
    same = graph.op("Equal", near, zero)
    hit = graph.op("Greater", graph.sum(graph.double(same)), zero)
    return which, graph.where(hit, graph.double(same), graph.op("Div", one, graph.where(same, one, near)))


def neighbours_classifier(step: Any, cols: list[Col], context: Context) -> Result:
    """KNeighborsClassifier."""
    graph = context.graph
    which, weights = _nearest(step, cols, context)
    if step.outputs_2d_:
        raise context.refuse(step, cols, "it has several targets", "wrap it in MultiOutputClassifier")
    labels = graph.op("Gather", graph.constant(np.asarray(step._y, np.float64)), which, axis=0)
    votes = []
    for place in range(len(step.classes_)):
        own = graph.double(graph.op("Equal", labels, graph.constant([[float(place)]])))
        votes.append(graph.sum(graph.op("Mul", own, weights)))
    likely = shares(graph, graph.concat(votes))
    return Result(index=argmax(graph, graph.concat(votes)), classes=step.classes_, probabilities=likely)


def neighbours_regressor(step: Any, cols: list[Col], context: Context) -> Result:
    """KNeighborsRegressor."""
    graph = context.graph
    which, weights = _nearest(step, cols, context)
    known = np.asarray(step._y, np.float64)
    flat = known.ndim == 1
    known = known[:, None] if flat else known
    parts = []
    for target in range(known.shape[1]):
        values = graph.op("Gather", graph.constant(known[:, target]), which, axis=0)
        parts.append(graph.op("Div", graph.sum(graph.op("Mul", values, weights)), graph.sum(weights)))
    return numbers(graph.concat(parts), known.shape[1], flat)


def centers(step: Any, cols: list[Col], context: Context) -> Result:
    """KMeans and its like: the nearest center."""
    graph = context.graph
    points = np.asarray(step.cluster_centers_, np.float64)
    apart = squared(graph, context.matrix(cols, step), points, len(cols))
    return Result(index=graph.op("ArgMin", apart, axis=1, keepdims=1), classes=np.arange(len(points)))


def nearest_centroid(step: Any, cols: list[Col], context: Context) -> Result:
    """NearestCentroid by the usual distances."""
    graph = context.graph
    if step.metric not in ("euclidean", "manhattan") or getattr(step, "shrink_threshold", None):
        raise context.refuse(step, cols, "its metric or shrink_threshold", "use metric='euclidean' without shrink_threshold")
    power = 2.0 if step.metric == "euclidean" else 1.0
    apart = distances(graph, context.matrix(cols, step), np.asarray(step.centroids_, np.float64), len(cols), power)
    prior = getattr(step, "class_prior_", None)
    if prior is not None and not np.allclose(prior, prior[0]):
        raise context.refuse(step, cols, "its priors differ", "use priors='uniform'")
    return Result(index=graph.op("ArgMin", apart, axis=1, keepdims=1), classes=step.classes_)


def mixture(step: Any, cols: list[Col], context: Context) -> Result:
    """GaussianMixture."""
    graph = context.graph
    matrix = context.matrix(cols, step)
    from sklearn.mixture._gaussian_mixture import _compute_log_det_cholesky

    width = len(cols)
    dets = np.broadcast_to(_compute_log_det_cholesky(step.precisions_cholesky_, step.covariance_type, width), (len(step.means_),))
    parts = []
    for at, mean in enumerate(step.means_):
        root = step.precisions_cholesky_ if step.covariance_type == "tied" else step.precisions_cholesky_[at]
        root = np.asarray(root, np.float64)
        if step.covariance_type in ("diag", "spherical"):
            root = np.diag(np.broadcast_to(root, (width,)))
        turned = graph.op("MatMul", graph.op("Sub", matrix, graph.constant(mean[None, :])), graph.constant(root))
        size = graph.op("Mul", graph.sum(graph.op("Mul", turned, turned)), graph.constant([[-0.5]]))
        parts.append(graph.op("Add", size, graph.constant([[dets[at] + np.log(step.weights_[at]) - 0.5 * width * np.log(2 * np.pi)]])))
    step_like = type("Classes", (), {"classes_": np.arange(len(step.means_))})
    return _likelihoods(context, step_like, graph.concat(parts), has_decision=False)


def process(step: Any, cols: list[Col], context: Context) -> Result:
    """GaussianProcessRegressor: its mean."""
    graph = context.graph
    if not hasattr(step, "X_train_"):
        raise context.refuse(step, cols, "it was not fitted", "fit it first")
    matrix = context.matrix(cols, step)
    similar = _covariance(step.kernel_, matrix, np.asarray(step.X_train_, np.float64), step, cols, context)
    weights = np.asarray(step.alpha_, np.float64)
    flat = weights.ndim == 1
    made = graph.op("MatMul", similar, graph.constant(weights[:, None] if flat else weights))
    scale, mean = np.atleast_2d(step._y_train_std), np.atleast_2d(step._y_train_mean)
    made = graph.op("Add", graph.op("Mul", made, graph.constant(scale)), graph.constant(mean))
    return numbers(made, 1 if flat else weights.shape[1], flat)


def _covariance(kernel_: Any, matrix: str, points: Floats, step: Any, cols: list[Col], context: Context) -> str:
    graph = context.graph
    kind = type(kernel_).__name__

    def number(value: float) -> str:
        return graph.constant([[float(value)]])

    if kind in ("Sum", "Product"):
        sides = [_covariance(side, matrix, points, step, cols, context) for side in (kernel_.k1, kernel_.k2)]
        return graph.op("Add" if kind == "Sum" else "Mul", *sides)
    if kind == "Exponentiation":
        return graph.op("Pow", _covariance(kernel_.kernel, matrix, points, step, cols, context), number(kernel_.exponent))
    zeros = graph.op("Mul", graph.op("MatMul", matrix, graph.constant(points.T)), number(0.0))
    if kind == "ConstantKernel":
        return graph.op("Add", zeros, number(kernel_.constant_value))
    if kind == "WhiteKernel":
        return zeros
    if kind == "DotProduct":
        return graph.op("Add", graph.op("MatMul", matrix, graph.constant(points.T)), number(kernel_.sigma_0**2))
    if kind in ("RBF", "Matern", "RationalQuadratic"):
        scale = np.broadcast_to(np.asarray(kernel_.length_scale, np.float64), (points.shape[1],))
        if kind == "RationalQuadratic":
            scale = np.ones(points.shape[1])
        apart = squared(graph, graph.op("Div", matrix, graph.constant([scale])), points / scale, len(cols))
        if kind == "RBF" or (kind == "Matern" and kernel_.nu == np.inf):
            return graph.op("Exp", graph.op("Mul", apart, number(-0.5)))
        if kind == "RationalQuadratic":
            base = graph.op("Add", graph.op("Mul", apart, number(1 / (2 * kernel_.alpha * kernel_.length_scale**2))), number(1))
            return graph.op("Pow", base, number(-kernel_.alpha))
        far = graph.op("Sqrt", apart)
        if kernel_.nu == 0.5:
            return graph.op("Exp", graph.op("Neg", far))
        if kernel_.nu in (1.5, 2.5):
            far = graph.op("Mul", far, number(np.sqrt(2 * kernel_.nu)))
            base = graph.op("Add", far, number(1))
            if kernel_.nu == 2.5:
                base = graph.op("Add", base, graph.op("Mul", graph.op("Mul", far, far), number(1 / 3)))
            return graph.op("Mul", base, graph.op("Exp", graph.op("Neg", far)))
    raise context.refuse(step, cols, f"its kernel has a {kind}", "use RBF, Matern (nu 0.5, 1.5 or 2.5), RationalQuadratic, DotProduct, WhiteKernel and ConstantKernel")
