"""Trees of scikit-learn and boosters, by `TreeEnsemble` in double precision."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from .. import trees
from ..trees import LESS_EQUAL, Ensemble
from .build import Graph
from .columns import Col, Context
from .result import Result, by_probability, numbers, pair

Floats = npt.NDArray[np.float64]


def single(context: Context, cols: Sequence[Col], step: Any) -> str:
    """The matrix rounded to single precision, as scikit-learn's trees take it."""
    graph = context.graph
    return graph.double(graph.cast(context.matrix(cols, step), TensorProto.FLOAT))


def grown(context: Context, matrix: str, found: Sequence[tuple[Any, int, Floats]], targets: int) -> str:
    """The sums `[rows, targets]` of trees: each with its target and the value of each of its nodes."""
    ensemble = Ensemble(np.float64, targets, np.zeros(targets))
    for tree, target, values in found:
        left, right = tree.children_left, tree.children_right
        ways = getattr(tree, "missing_go_to_left", None)

        def node(place: int, tree: Any = tree, left: Any = left, right: Any = right, ways: Any = ways, values: Floats = values) -> Any:
            if left[place] == -1:
                return float(values[place])
            missing = bool(ways[place]) if ways is not None else False
            branch = ensemble.branch(int(tree.feature[place]), LESS_EQUAL, float(tree.threshold[place]), missing)
            return branch, int(left[place]), int(right[place])

        ensemble.grow(0, target, node)
    return summed(context, ensemble, matrix)


def summed(context: Context, ensemble: Ensemble, matrix: str) -> str:
    """The scores of an ensemble, without its base."""
    graph = context.graph
    name = graph.fresh("trees")
    node = ensemble.node(matrix, name)
    node.name = name
    graph.nodes.append(node)
    graph.ml_opset = 5
    return name


def forest(step: Any, cols: list[Col], context: Context) -> Result:
    """Trees and forests, of one target or several."""
    members = list(step.estimators_) if hasattr(step, "estimators_") else [step]
    found = [member.tree_ for member in members]
    return _mean(step, single(context, cols, step), found, context)


def _mean(step: Any, matrix: str, found: list[Any], context: Context) -> Result:
    graph = context.graph
    classes = getattr(step, "classes_", None)
    if classes is None:
        outputs = int(step.n_outputs_)
        parts = [grown(context, matrix, [(tree, 0, tree.value[:, at, 0]) for tree in found], 1) for at in range(outputs)]
        return numbers(_divided(graph, graph.concat(parts), len(found)), outputs, flat=outputs == 1)
    if int(step.n_outputs_) > 1:
        return Result(targets=[_voted(matrix, found, context, at, own) for at, own in enumerate(classes)])
    return _voted(matrix, found, context, 0, classes)


def _divided(graph: Graph, total: str, count: int) -> str:
    """The mean as the library computes it: the sum first, so that even votes stay even."""
    return total if count == 1 else graph.op("Div", total, graph.constant([[float(count)]]))


def _voted(matrix: str, found: list[Any], context: Context, output: int, classes: Any) -> Result:
    """The mean of the trees' shares of each class."""
    graph = context.graph

    def shares(tree: Any) -> Floats:
        values = np.asarray(tree.value[:, output, : len(classes)], np.float64)
        total = values.sum(axis=1, keepdims=True)
        return np.asarray(values / np.where(total == 0, 1, total))

    if len(classes) == 2:
        second = grown(context, matrix, [(tree, 0, shares(tree)[:, 1]) for tree in found], 1)
        return by_probability(graph, pair(graph, _divided(graph, second, len(found))), classes)
    entries = [(tree, at, shares(tree)[:, at]) for tree in found for at in range(len(classes))]
    total = grown(context, matrix, entries, len(classes))
    return by_probability(graph, _divided(graph, total, len(found)), classes)


def gradient(step: Any, cols: list[Col], context: Context) -> Result:
    """GradientBoostingClassifier and GradientBoostingRegressor."""
    graph = context.graph
    matrix = single(context, cols, step)
    rounds = np.asarray(step.estimators_, dtype=object)
    targets = rounds.shape[1]
    entries = []
    for row in rounds:
        for at, tree in enumerate(row):
            entries.append((tree.tree_, at, tree.tree_.value[:, 0, 0] * step.learning_rate))
    made = grown(context, matrix, entries, targets)
    if type(step.init_).__name__ not in ("DummyClassifier", "DummyRegressor", "str"):
        raise context.refuse(step, cols, "it begins with an estimator of its own (init=)", "leave init out")
    base = np.asarray(step._raw_predict_init(np.zeros((1, len(cols)), np.float32)), np.float64)
    made = graph.op("Add", made, graph.constant(base.reshape(1, -1)))
    classes = getattr(step, "classes_", None)
    if classes is None:
        return numbers(made)
    if targets > 1:
        likely = graph.op("Softmax", made, axis=1)
        index = graph.op("ArgMax", made, axis=1, keepdims=1)
        return Result(index=index, classes=classes, probabilities=likely, decision=made, decision_width=targets)
    score = graph.op("Mul", made, graph.constant([[2.0]])) if step.loss == "exponential" else made
    test = graph.op("GreaterOrEqual", made, graph.constant([[0.0]]))
    likely = pair(graph, graph.op("Sigmoid", score))
    return Result(index=graph.cast(test, TensorProto.INT64), classes=classes, probabilities=likely, decision=made)


def isolation(step: Any, cols: list[Col], context: Context) -> Result:
    """IsolationForest: 1 for what is like the rest, -1 for what is not."""
    from sklearn.ensemble._iforest import _average_path_length

    graph = context.graph
    matrix = single(context, cols, step)
    entries = []
    for member, features in zip(step.estimators_, step.estimators_features_, strict=True):
        tree = member.tree_
        paths = np.zeros(tree.node_count)
        pending = [(0, 1)]
        while pending:
            node, depth = pending.pop()
            paths[node] = depth
            if tree.children_left[node] != -1:
                pending += [(tree.children_left[node], depth + 1), (tree.children_right[node], depth + 1)]
        values = paths + _average_path_length(tree.n_node_samples) - 1.0
        entries.append((_reordered(tree, features), 0, values))
    total = grown(context, matrix, entries, 1)
    most = len(step.estimators_) * float(_average_path_length(np.array([step._max_samples]))[0])
    exponent = graph.op("Mul", total, graph.constant([[-np.log(2.0) / most if most else 0.0]]))
    score = graph.op("Neg", graph.op("Exp", exponent))
    decision = graph.op("Sub", score, graph.constant([[float(step.offset_)]]))
    inside = graph.cast(graph.op("GreaterOrEqual", decision, graph.constant([[0.0]])), TensorProto.INT64)
    return Result(index=inside, classes=np.array([-1, 1]), decision=decision)


class _Reordered:
    """A tree whose features are places of a wider matrix."""

    def __init__(self, tree: Any, features: Any) -> None:
        self.children_left, self.children_right = tree.children_left, tree.children_right
        self.threshold = tree.threshold
        self.missing_go_to_left = getattr(tree, "missing_go_to_left", None)
        self.feature = np.where(tree.feature >= 0, np.asarray(features)[np.maximum(tree.feature, 0)], tree.feature)


def _reordered(tree: Any, features: Any) -> Any:
    return _Reordered(tree, features)


def booster(step: Any, cols: list[Col], context: Context) -> Result:
    """HistGradientBoosting, XGBoost, LightGBM, CatBoost: the library's own trees."""
    graph = context.graph
    try:
        found = trees.read(step)
    except trees.Unsupported as error:
        raise context.refuse(step, cols, str(error), "train it without that") from error
    assert found is not None
    matrix = context.matrix(cols, step)
    wide = found.ensemble.dtype == np.float64
    if not wide:
        matrix = graph.cast(matrix, TensorProto.FLOAT)
    classes = found.classes
    if classes is not None:
        found = replace(found, classes=np.arange(len(classes)))
    outputs = graph.inline(found.graph(len(cols), "trees"), {"X": matrix})
    if classes is None:
        values = outputs[0] if wide else graph.double(outputs[0])
        return numbers(values, found.ensemble.targets)
    likely = outputs[1] if wide else graph.double(outputs[1])
    index = graph.op("Unsqueeze", outputs[0], graph.places([1]))
    return Result(index=index, classes=classes, probabilities=likely)


def without_encoder(step: Any) -> Any:
    """A HistGradientBoosting that takes what its encoder gives."""
    inner = copy.copy(step)
    inner._preprocessor = None
    vars(inner).pop("feature_names_in_", None)
    return inner
