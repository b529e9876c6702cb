"""Estimators whose scores are a product of the matrix: linear, discriminant, naive Bayes, networks."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from . import sparse
from .build import Graph
from .columns import Col, Context
from .numeric import clipped
from .result import Result, by_score, numbers, pair, shares


def _dense(values: Any) -> Any:
    return np.asarray(values.toarray() if hasattr(values, "toarray") else values, np.float64)


def scores(step: Any, cols: list[Col], context: Context) -> tuple[str, int]:
    """`X @ coef_.T + intercept_`."""
    weights = _dense(step.coef_)
    weights = weights[None, :] if weights.ndim == 1 else weights
    bias = np.broadcast_to(np.asarray(step.intercept_, np.float64).ravel(), (len(weights),))
    return product(step, cols, weights.T, bias, context), len(weights)


def product(step: Any, cols: list[Col], weights: Any, bias: Any, context: Context) -> str:
    """`X @ weights + bias`; of columns that are known by the entries of a row, the weights of these are gathered."""
    graph = context.graph
    if not any(col.tensor in graph.sparse for col in cols):
        return graph.affine(context.matrix(cols, step), weights, bias)
    total = None
    for tensor in dict.fromkeys(col.tensor if col.tensor in graph.sparse else "" for col in cols):
        mine = [at for at, col in enumerate(cols) if (col.tensor if col.tensor in graph.sparse else "") == tensor]
        if tensor:
            wanted = np.array([cols[at].place for at in mine], np.int64)
            part = sparse.product(graph, graph.sparse[tensor], wanted, weights[mine])
        else:
            part = graph.affine(context.matrix([cols[at] for at in mine], step), weights[mine])
        total = part if total is None else graph.op("Add", total, part)
    assert total is not None
    return total if bias is None else graph.op("Add", total, graph.constant(np.atleast_2d(np.asarray(bias, np.float64))))


def regressor(step: Any, cols: list[Col], context: Context) -> Result:
    """Ridge and its like."""
    made, width = scores(step, cols, context)
    return numbers(made, width, flat=_dense(step.coef_).ndim == 1)


def generalized(step: Any, cols: list[Col], context: Context) -> Result:
    """PoissonRegressor, GammaRegressor, TweedieRegressor."""
    made, _ = scores(step, cols, context)
    link = type(step._base_loss.link).__name__
    if link == "LogLink":
        return numbers(context.graph.op("Exp", made))
    if link == "IdentityLink":
        return numbers(made)
    raise context.refuse(step, cols, f"its link is {link}", "use link='log' or 'identity'")


def partial_least_squares(step: Any, cols: list[Col], context: Context) -> Result:
    """PLSRegression, PLSCanonical, CCA."""
    graph = context.graph
    matrix = graph.op("Sub", context.matrix(cols, step), graph.constant(step._x_mean[None, :]))
    weights = np.asarray(step.coef_, np.float64)
    # Before scikit-learn 1.5 the coefficients are of scaled columns; the model itself tells which they are.
    probe = np.asarray(step._x_mean + 1.0, np.float64)[None, :]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        said = np.ravel(step.predict(probe))
    if not np.allclose(said, np.ones((1, len(cols))) @ weights.T + np.ravel(step.intercept_)):
        matrix = graph.op("Div", matrix, graph.constant(step._x_std[None, :]))
    made = graph.affine(matrix, weights.T, np.ravel(step.intercept_))
    return numbers(made, len(weights), flat=bool(getattr(step, "_predict_1d", False)))


def classifier(step: Any, cols: list[Col], context: Context) -> Result:
    """Scores without probabilities: LinearSVC, RidgeClassifier, Perceptron."""
    made, _ = scores(step, cols, context)
    return by_score(context.graph, made, step.classes_)


def logistic(step: Any, cols: list[Col], context: Context) -> Result:
    """LogisticRegression and LogisticRegressionCV."""
    graph = context.graph
    made, width = scores(step, cols, context)
    several = getattr(step, "multi_class", "auto")
    one_each = several in ("ovr", "warn") or (several != "multinomial" and (width == 1 or step.solver == "liblinear"))
    if one_each:
        likely = _each(graph, made, width)
    elif width == 1:
        likely = graph.op("Softmax", graph.concat([graph.op("Neg", made), made]), axis=1)
    else:
        likely = graph.op("Softmax", made, axis=1)
    return by_score(graph, made, step.classes_, likely)


def _each(graph: Any, made: str, width: int) -> str:
    likely = graph.op("Sigmoid", made)
    return pair(graph, likely) if width == 1 else shares(graph, likely)


def sgd(step: Any, cols: list[Col], context: Context) -> Result:
    """SGDClassifier."""
    graph = context.graph
    made, width = scores(step, cols, context)
    likely = None
    if step.loss in ("log_loss", "log"):
        likely = _each(graph, made, width)
    elif step.loss == "modified_huber":
        raised = graph.op("Add", clipped(graph, made, -1.0, 1.0), graph.constant([[1.0]]))
        half = graph.op("Mul", raised, graph.constant([[0.5]]))
        likely = pair(graph, half) if width == 1 else shares(graph, half, 1.0 / width)
    return by_score(graph, made, step.classes_, likely)


def discriminant(step: Any, cols: list[Col], context: Context) -> Result:
    """LinearDiscriminantAnalysis."""
    graph = context.graph
    made, width = scores(step, cols, context)
    likely = pair(graph, graph.op("Sigmoid", made)) if width == 1 else graph.op("Softmax", made, axis=1)
    return by_score(graph, made, step.classes_, likely)


def quadratic(step: Any, cols: list[Col], context: Context) -> Result:
    """QuadraticDiscriminantAnalysis."""
    graph = context.graph
    matrix = context.matrix(cols, step)
    parts = []
    for mean, rotation, scaling, prior in zip(step.means_, step.rotations_, step.scalings_, step.priors_, strict=True):
        turned = graph.op("MatMul", graph.op("Sub", matrix, graph.constant(mean[None, :])), graph.constant(rotation * scaling**-0.5))
        size = graph.op("Mul", graph.sum(graph.op("Mul", turned, turned)), graph.constant([[-0.5]]))
        parts.append(graph.op("Add", size, graph.constant([[-0.5 * np.sum(np.log(scaling)) + np.log(prior)]])))
    return _likelihoods(context, step, graph.concat(parts))


def _likelihoods(context: Context, step: Any, made: str, has_decision: bool = True) -> Result:
    """Logarithms of likelihoods, one a class."""
    graph = context.graph
    index = graph.op("ArgMax", made, axis=1, keepdims=1)
    likely = graph.op("Softmax", made, axis=1)
    result = Result(index=index, classes=step.classes_, probabilities=likely)
    if has_decision:
        result.decision, result.decision_width = made, len(step.classes_)
        if len(step.classes_) == 2:
            result.decision = graph.op("Sub", graph.gather(made, [1]), graph.gather(made, [0]))
            result.decision_width = 1
    return result


def gaussian_bayes(step: Any, cols: list[Col], context: Context) -> Result:
    """GaussianNB."""
    graph = context.graph
    matrix = context.matrix(cols, step)
    parts = []
    for mean, variance, prior in zip(step.theta_, step.var_, step.class_prior_, strict=True):
        apart = graph.op("Sub", matrix, graph.constant(mean[None, :]))
        size = graph.sum(graph.op("Div", graph.op("Mul", apart, apart), graph.constant(variance[None, :])))
        base = np.log(prior) - 0.5 * np.sum(np.log(2.0 * np.pi * variance))
        parts.append(graph.op("Add", graph.op("Mul", size, graph.constant([[-0.5]])), graph.constant([[base]])))
    return _likelihoods(context, step, graph.concat(parts), has_decision=False)


def counted_bayes(step: Any, cols: list[Col], context: Context) -> Result:
    """MultinomialNB and ComplementNB."""
    weights = np.asarray(step.feature_log_prob_, np.float64)
    base: Any = step.class_log_prior_
    if type(step).__name__ == "ComplementNB" and len(step.classes_) > 1:
        base = None
    made = product(step, cols, weights.T, base, context)
    return _likelihoods(context, step, made, has_decision=False)


def binary_bayes(step: Any, cols: list[Col], context: Context) -> Result:
    """BernoulliNB."""
    graph = context.graph
    matrix = context.matrix(cols, step)
    if step.binarize is not None:
        matrix = graph.double(graph.op("Greater", matrix, graph.constant([[float(step.binarize)]])))
    absent = np.log(1 - np.exp(step.feature_log_prob_))
    made = graph.affine(matrix, (step.feature_log_prob_ - absent).T, step.class_log_prior_ + absent.sum(axis=1))
    return _likelihoods(context, step, made, has_decision=False)


def categorical_bayes(step: Any, cols: list[Col], context: Context) -> Result:
    """CategoricalNB."""
    from .categories import guarded

    graph = context.graph
    matrix = context.matrix(cols, step)
    counts = [np.asarray(table).shape[1] for table in step.feature_log_prob_]
    wide = graph.gather(matrix, [at for at, count in enumerate(counts) for _ in range(count)])
    hot = graph.double(graph.op("Equal", wide, graph.constant([np.concatenate([np.arange(count, dtype=float) for count in counts])])))
    # A number that the training did not have is an error.
    known = graph.op("Greater", graph.sum(hot), graph.constant([[len(counts) - 0.5]]))
    weights = np.concatenate([np.asarray(table, np.float64).T for table in step.feature_log_prob_])
    made = graph.affine(hot, weights, step.class_log_prior_)
    return _likelihoods(context, step, guarded(context, made, len(step.classes_), known), has_decision=False)


ACTIVATIONS = {"logistic": "Sigmoid", "tanh": "Tanh"}


def network(step: Any, cols: list[Col], context: Context) -> Result:
    """MLPClassifier and MLPRegressor."""
    graph = context.graph
    made = context.matrix(cols, step)
    last = len(step.coefs_) - 1
    for layer, (weights, bias) in enumerate(zip(step.coefs_, step.intercepts_, strict=True)):
        made = graph.affine(made, np.asarray(weights, np.float64), bias)
        if layer == last:
            break
        if step.activation == "relu":
            made = clipped(graph, made, 0.0, None)
        elif step.activation != "identity":
            made = graph.op(ACTIVATIONS[step.activation], made)
    width = step.coefs_[-1].shape[1]
    classes = getattr(step, "classes_", None)
    if classes is None:
        return numbers(made, width)
    if step._label_binarizer.y_type_.startswith("multilabel"):
        return several_labels(graph, graph.op("Sigmoid", made), width, 0.5)
    if step.out_activation_ == "logistic":
        likely = graph.op("Sigmoid", made)
        result = by_score(graph, likely, classes, pair(graph, likely), 0.5)
        result.decision = None
        return result
    likely = graph.op("Softmax", made, axis=1)
    return Result(index=graph.op("ArgMax", likely, axis=1, keepdims=1), classes=classes, probabilities=likely)


def several_labels(graph: Graph, scores_: str, width: int, limit: float, are_probabilities: bool = True) -> Result:
    """Labels that a row has or has not, each by a score of its own."""
    tests = graph.cast(graph.op("Greater", scores_, graph.constant([[limit]])), 7)
    targets = [Result(index=graph.gather(tests, [at]), classes=np.arange(2)) for at in range(width)]
    result = Result(targets=targets)
    if are_probabilities:
        result.probabilities = scores_
    else:
        result.decision, result.decision_width = scores_, width
    return result


def dummy(step: Any, cols: list[Col], context: Context) -> Result:
    """DummyRegressor, and DummyClassifier where it always says the same."""
    graph = context.graph
    zero = graph.op("Mul", graph.where(graph.op("IsNaN", cols_any(context, cols)), graph.constant([[0.0]]), graph.constant([[1.0]])), graph.constant([[0.0]]))
    if not hasattr(step, "classes_"):
        values = np.atleast_2d(np.asarray(step.constant_, np.float64))
        return numbers(graph.op("Add", zero, graph.constant(values)), values.shape[1])
    if step.strategy not in ("prior", "most_frequent", "constant"):
        raise context.refuse(step, cols, "it answers at random", "use strategy='prior'")
    prior = np.asarray(step.class_prior_, np.float64)
    if step.strategy != "prior":
        at = int(np.argmax(prior)) if step.strategy == "most_frequent" else list(step.classes_).index(step.constant)
        prior = np.eye(len(prior))[at]
    likely = graph.op("Add", zero, graph.constant([prior]))
    return Result(index=graph.op("ArgMax", likely, axis=1, keepdims=1), classes=step.classes_, probabilities=likely)


def cols_any(context: Context, cols: list[Col]) -> str:
    """Some column, for the number of its rows."""
    from .columns import alone

    return alone(context.graph, cols[0])


def always(step: Any, cols: list[Col], context: Context) -> Result:
    """The stand-in of OneVsRestClassifier and its like for a class that every row has, or none."""
    graph = context.graph
    zero = graph.op("IsNaN", cols_any(context, cols))
    said = float(np.ravel(step.y_)[0])
    score = graph.where(zero, graph.constant([[said]]), graph.constant([[said]]))
    return Result(index=graph.cast(score, 7), classes=np.arange(2), probabilities=pair(graph, score), decision=score)
