"""Tree ensembles straight from the library's own model, as one `TreeEnsemble` of `ai.onnx.ml` 5.

Converters write thresholds in single precision. HistGradientBoosting and LightGBM compare in double
precision, so a value between a threshold and its rounding takes the other branch. Here thresholds
keep the precision that the library compares in: double for these two, single for XGBoost.
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

Json = Any

ZERO = float(np.float32(1e-35))
"""Up to here LightGBM takes a number for 0: also the one at the threshold itself."""

LESS_EQUAL, LESS, MEMBER = 0, 1, 6
"""Branch modes of `TreeEnsemble` (ai.onnx.ml 5)."""


class Unsupported(Exception):
    """A property of the model that the writer does not know; the text says which."""


@dataclass
class Ensemble:
    """Trees that sum into `targets` scores; arrays as `TreeEnsemble` names them."""

    dtype: Any
    """numpy's type of the matrix, the thresholds and the scores."""
    targets: int
    base: npt.NDArray[np.float64]
    """Added to the scores, one for each target."""
    roots: list[int] = field(default_factory=list)
    features: list[int] = field(default_factory=list)
    splits: list[float] = field(default_factory=list)
    modes: list[int] = field(default_factory=list)
    true: list[tuple[int, bool]] = field(default_factory=list)
    """The child where the test holds, and whether it is a leaf."""
    false: list[tuple[int, bool]] = field(default_factory=list)
    missing: list[int] = field(default_factory=list)
    """1 where a missing value goes to the true branch."""
    leaf_targets: list[int] = field(default_factory=list)
    leaf_weights: list[float] = field(default_factory=list)
    sets: list[float] = field(default_factory=list)
    """Members of the `MEMBER` nodes in their order, each set ended by a NaN."""

    def leaf(self, target: int, weight: float) -> tuple[int, bool]:
        self.leaf_targets.append(target)
        self.leaf_weights.append(float(weight))
        return len(self.leaf_targets) - 1, True

    def branch(self, feature: int, mode: int, split: float, missing_true: bool) -> int:
        """A node whose children are set later."""
        self.features.append(int(feature))
        self.modes.append(mode)
        self.splits.append(float(split))
        self.missing.append(int(missing_true))
        self.true.append((0, True))
        self.false.append((0, True))
        return len(self.features) - 1

    def members(self, feature: int, values: list[float], missing_true: bool) -> int:
        self.sets += [*sorted(values), float("nan")]
        return self.branch(feature, MEMBER, 0.0, missing_true)

    def root(self, place: tuple[int, bool]) -> None:
        """Ends a tree. A lone leaf becomes a branch with that leaf on both sides."""
        node, is_leaf = place
        if is_leaf:
            alone = self.branch(0, LESS_EQUAL, 0.0, False)
            self.true[alone] = self.false[alone] = place
            node = alone
        self.roots.append(node)

    def grow(self, start: Any, target: int, read: Callable[[Any], Any]) -> None:
        """Adds a tree. `read(node)` gives a leaf's weight, or (place of the branch, true child, false child)."""
        pending: list[tuple[Any, int | None, bool]] = [(start, None, True)]
        first: tuple[int, bool] | None = None
        while pending:
            node, parent, side = pending.pop()
            found = read(node)
            if isinstance(found, tuple):
                place, yes, no = found
                here = (place, False)
                pending += [(no, place, False), (yes, place, True)]
            else:
                here = self.leaf(target, found)
            if parent is None:
                first = here
            elif side:
                self.true[parent] = here
            else:
                self.false[parent] = here
        if first is not None:
            self.root(first)

    def categorical(self) -> set[int]:
        """The features that some node looks up in a set."""
        pairs = zip(self.features, self.modes, strict=True)
        return {feature for feature, mode in pairs if mode == MEMBER}

    def thresholds(self) -> dict[int, npt.NDArray[Any]]:
        """The values that each feature is compared with, rounded as the graph has them."""
        found: dict[int, set[float]] = {}
        members = iter(self.sets)
        for feature, mode, split in zip(self.features, self.modes, self.splits, strict=True):
            values = found.setdefault(feature, set())
            if mode == MEMBER:
                for member in members:
                    if np.isnan(member):
                        break
                    values.add(member)
            else:
                values.add(split)
        return {feature: np.array(sorted(values), self.dtype) for feature, values in found.items()}

    def node(self, matrix: str, scores: str) -> onnx.NodeProto:
        kind = TensorProto.DOUBLE if self.dtype == np.float64 else TensorProto.FLOAT

        def tensor(name: str, values: list[float]) -> onnx.TensorProto:
            return helper.make_tensor(name, kind, [len(values)], np.array(values, self.dtype))

        modes = helper.make_tensor("nodes_modes", TensorProto.UINT8, [len(self.modes)], self.modes)
        return helper.make_node(
            "TreeEnsemble",
            [matrix],
            [scores],
            domain="ai.onnx.ml",
            name="trees",
            n_targets=self.targets,
            aggregate_function=1,
            post_transform=0,
            tree_roots=self.roots,
            nodes_featureids=self.features,
            nodes_splits=tensor("nodes_splits", self.splits),
            nodes_modes=modes,
            nodes_truenodeids=[node for node, _ in self.true],
            nodes_trueleafs=[int(leaf) for _, leaf in self.true],
            nodes_falsenodeids=[node for node, _ in self.false],
            nodes_falseleafs=[int(leaf) for _, leaf in self.false],
            nodes_missing_value_tracks_true=self.missing,
            leaf_targetids=self.leaf_targets,
            leaf_weights=tensor("leaf_weights", self.leaf_weights),
            **({"membership_values": tensor("membership_values", self.sets)} if self.sets else {}),
        )


@dataclass
class Trees:
    """A booster: its ensemble, and what becomes of the scores."""

    ensemble: Ensemble
    link: str
    """`identity`, `exp`, `square` (of the score, with its sign), `logistic` (of two classes: one score), `softmax` or `ovr`
    (each class by itself)."""
    classes: npt.NDArray[Any] | None = None
    threshold: float = 0.0
    """Of two classes, the score above which the second one is predicted."""
    zero_is_missing: set[int] = field(default_factory=set)
    """Features of which LightGBM takes a zero for a missing value."""

    def graph(self, width: int, name: str) -> onnx.ModelProto:
        """The whole graph: the matrix `X` to `prediction` and, for classifiers, `probabilities`."""
        kind = TensorProto.DOUBLE if self.ensemble.dtype == np.float64 else TensorProto.FLOAT
        build = _Builder(self.ensemble.dtype)
        matrix = "X"
        if whole := self.ensemble.categorical():
            # A category is the whole part of its number, for a library whose categories are integers.
            size = build.op("Floor", [build.op("Abs", ["X"], "magnitude")], "whole_magnitude")
            part = build.op("Mul", [build.op("Sign", ["X"], "sign"), size], "whole")
            mask = np.isin(np.arange(width), sorted(whole))[None, :]
            matrix = build.op("Where", [build.constant("is_category", mask), part, "X"], "features")
        if self.zero_is_missing:
            near = build.op("LessOrEqual", [build.op("Abs", [matrix], "size"), build.constant("zero", np.array([ZERO]))], "near_zero")
            mask = np.isin(np.arange(width), sorted(self.zero_is_missing))[None, :]
            lost = build.op("And", [near, build.constant("may_lack", mask)], "lost")
            matrix = build.op("Where", [lost, build.constant("none", np.array([np.nan])), matrix], "with_missing")
        build.nodes.append(self.ensemble.node(matrix, "sums"))
        scores = "sums"
        if np.any(self.ensemble.base != 0):
            base = build.constant("base", self.ensemble.base.astype(self.ensemble.dtype)[None, :])
            scores = build.op("Add", ["sums", base], "scores")
        if self.classes is None:
            if self.link == "square":
                scores = build.op("Mul", [scores, build.op("Abs", [scores], "absolute")], "value")
            elif self.link != "identity":
                scores = build.op({"exp": "Exp", "logistic": "Sigmoid"}[self.link], [scores], "value")
            build.op("Identity", [scores], "prediction")
            outputs = [helper.make_tensor_value_info("prediction", kind, [None, self.ensemble.targets])]
        else:
            outputs = self._classifier(build, scores, kind)
        graph = helper.make_graph(
            build.nodes,
            name,
            [helper.make_tensor_value_info("X", kind, [None, width])],
            outputs,
            build.constants,
        )
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 5)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)

    def _classifier(self, build: "_Builder", scores: str, kind: int) -> list[onnx.ValueInfoProto]:
        assert self.classes is not None
        if self.ensemble.targets == 1:
            limit = build.constant("limit", np.array(self.threshold, self.ensemble.dtype))
            above = build.op("Greater", [scores, limit], "above")
            flat = build.op("Reshape", [above, build.constant("flat", np.array([-1]))], "above_flat")
            place = build.op("Cast", [flat], "place", to=TensorProto.INT64)
            second = build.op("Sigmoid", [scores], "second")
            one = build.constant("one", np.array(1, self.ensemble.dtype))
            first = build.op("Sub", [one, second], "first")
            build.op("Concat", [first, second], "probabilities", axis=1)
        else:
            place = build.op("ArgMax", [scores], "place", axis=1, keepdims=0)
            if self.link == "ovr":
                build.op("Sigmoid", [scores], "probabilities")
            else:
                build.op("Softmax", [scores], "probabilities", axis=1)
        labels = self.classes
        if labels.dtype == bool:
            labels = labels.astype(np.int64)  # the predict module's `classes` makes them booleans
        elif labels.dtype.kind in "fiu":
            labels = labels.astype(np.int64)
        else:
            labels = np.array([str(label) for label in labels], dtype=object)
        label_kind = TensorProto.STRING if labels.dtype == object else TensorProto.INT64
        build.op("Gather", [build.constant("labels", labels), place], "prediction", axis=0)
        return [
            helper.make_tensor_value_info("prediction", label_kind, [None]),
            helper.make_tensor_value_info("probabilities", kind, [None, len(labels)]),
        ]


class _Builder:
    """Nodes and constants of a graph, in order."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def op(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def constant(self, name: str, value: npt.NDArray[Any]) -> str:
        if value.dtype == object:
            tensor = helper.make_tensor(
                name, TensorProto.STRING, list(value.shape), [text.encode() for text in value]
            )
        else:
            tensor = onnx.numpy_helper.from_array(value, name)
        self.constants.append(tensor)
        return name


def read(estimator: Any) -> Trees | None:
    """The trees of a fitted estimator; `None` for estimators of other kinds.

    Raises `Unsupported` for a property of the model that has no equivalent here.
    """
    kinds = {cls.__name__: cls.__module__.partition(".")[0] for cls in type(estimator).__mro__}
    if kinds.get("BaseHistGradientBoosting") == "sklearn":
        return _hist_gradient_boosting(estimator)
    if kinds.get("LGBMModel") == "lightgbm":
        return _lightgbm(estimator)
    if kinds.get("XGBModel") == "xgboost":
        return _xgboost(estimator)
    return None


def _hist_gradient_boosting(estimator: Any) -> Trees:
    """scikit-learn's: doubles are compared with doubles, `x <= threshold`.

    Source: `sklearn/ensemble/_hist_gradient_boosting/_predictor.pyx`.
    """
    base = np.atleast_1d(np.asarray(estimator._baseline_prediction, np.float64)).ravel()
    ensemble = Ensemble(np.float64, estimator.n_trees_per_iteration_, base)
    known, of_feature = estimator._bin_mapper.make_known_categories_bitsets()
    for iteration in estimator._predictors:
        for target, predictor in enumerate(iteration):
            nodes, sets = predictor.nodes, predictor.raw_left_cat_bitsets

            def node(place: int, nodes: Any = nodes, sets: Any = sets) -> Any:
                record = nodes[place]
                if record["is_leaf"]:
                    return float(record["value"])
                left, right = int(record["left"]), int(record["right"])
                feature, missing_left = int(record["feature_idx"]), bool(record["missing_go_to_left"])
                if not record["is_categorical"]:
                    split = float(record["num_threshold"])
                    return ensemble.branch(feature, LESS_EQUAL, split, missing_left), left, right
                going_left = _bits(sets[int(record["bitset_idx"])])
                if not missing_left:
                    return ensemble.members(feature, going_left, False), left, right
                # Unknown categories go where missing values go: all but the known ones on the right.
                going_right = sorted(set(_bits(known[of_feature[feature]])) - set(going_left))
                return ensemble.members(feature, going_right, False), right, left

            ensemble.grow(0, target, node)
    classes = getattr(estimator, "classes_", None)
    if classes is not None:
        return Trees(ensemble, "logistic" if ensemble.targets == 1 else "softmax", np.asarray(classes))
    link = {"IdentityLink": "identity", "LogLink": "exp"}.get(type(estimator._loss.link).__name__)
    if link is None:
        raise Unsupported(f"its loss has the link {type(estimator._loss.link).__name__}")
    return Trees(ensemble, link)


def _bits(words: Any) -> list[float]:
    """The numbers of the bits that are set, in 32-bit words from the lowest."""
    return [
        float(32 * place + bit) for place, word in enumerate(words) for bit in range(32) if int(word) >> bit & 1
    ]


def _lightgbm(estimator: Any) -> Trees:
    """LightGBM: doubles are compared with doubles, `x <= threshold`.

    Source: `Tree::NumericalDecision` and `Tree::CategoricalDecision` of LightGBM's `tree.h`.
    """
    dump = estimator.booster_.dump_model(num_iteration=estimator.booster_.best_iteration)
    if any(tree.get("tree_structure", {}).get("leaf_coeff") for tree in dump["tree_info"]):
        raise Unsupported("its leaves are linear models (linear_tree=True)")
    targets = int(dump["num_tree_per_iteration"])
    ensemble = Ensemble(np.float64, targets, np.zeros(targets))
    zeros: set[int] = set()

    def node(record: Json) -> Any:
        if "split_index" not in record:
            if "leaf_coeff" in record or "leaf_const" in record:
                raise Unsupported("its leaves are linear models (linear_tree=True)")
            return float(record["leaf_value"])
        left, right = record["left_child"], record["right_child"]
        feature, missing = int(record["split_feature"]), record["missing_type"]
        if record["decision_type"] == "==":
            values = [float(value) for value in str(record["threshold"]).split("||")]
            # A missing value, and one that was never seen, goes right.
            return ensemble.members(feature, values, False), left, right
        if record["decision_type"] != "<=":
            raise Unsupported(f"its trees branch by '{record['decision_type']}'")
        split = float(record["threshold"])
        if abs(split) >= 1e300:
            split = math.copysign(math.inf, split)  # LightGBM writes its infinities so
        if split == -ZERO:
            split = math.nextafter(split, -math.inf)
        if missing == "Zero":
            zeros.add(feature)
        # Where training saw no missing value, one counts as 0.
        missing_left = 0.0 <= split if missing == "None" else bool(record["default_left"])
        return ensemble.branch(feature, LESS_EQUAL, split, missing_left), left, right

    for place, tree in enumerate(dump["tree_info"]):
        ensemble.grow(tree["tree_structure"], place % targets, node)
    if dump.get("average_output"):
        rounds = max(1, len(dump["tree_info"]) // targets)
        ensemble.leaf_weights = [weight / rounds for weight in ensemble.leaf_weights]
    objective, *options = str(dump.get("objective", "regression")).split()
    classes = getattr(estimator, "classes_", None)
    sigmoid = next((float(option[8:]) for option in options if option.startswith("sigmoid:")), 1.0)
    if classes is not None and objective in ("binary", "multiclassova", "multiclass"):
        if sigmoid != 1.0 and objective != "multiclass":
            ensemble.leaf_weights = [weight * sigmoid for weight in ensemble.leaf_weights]
        link = {"binary": "logistic", "multiclass": "softmax", "multiclassova": "ovr"}[objective]
        return Trees(ensemble, link, np.asarray(classes), zero_is_missing=zeros)
    if classes is not None:
        raise Unsupported(f"it is a classifier with the objective '{objective}'")
    link = {"poisson": "exp", "gamma": "exp", "tweedie": "exp", "cross_entropy": "logistic"}.get(objective, "identity")
    known = ("regression", "regression_l1", "huber", "fair", "quantile", "mape", "lambdarank", "rank_xendcg")
    if link == "identity" and objective not in known:
        raise Unsupported(f"its objective is '{objective}'")
    if "sqrt" in options:
        link = "square"
    return Trees(ensemble, link, zero_is_missing=zeros)


def _xgboost(estimator: Any) -> Trees:
    """XGBoost: floats are compared with floats, `x < threshold`.

    Source: XGBoost's model schema, and `src/predictor/predict_fn.h`.
    """
    booster = estimator.get_booster()
    best = booster.attributes().get("best_iteration")
    if best is not None:
        booster = booster[: int(best) + 1]
    learner = json.loads(bytes(booster.save_raw("json")))["learner"]
    boosting = learner["gradient_booster"]
    if boosting["name"] not in ("gbtree", "dart"):
        raise Unsupported(f"its booster is '{boosting['name']}', expected 'gbtree' or 'dart'")
    objective = learner["objective"]["name"]
    parameters = learner["learner_model_param"]
    targets = max(1, int(parameters["num_class"]), int(parameters.get("num_target", 1)))
    text = str(parameters["base_score"]).strip("[]")
    given = np.array([float(np.float32(value)) for value in text.split(",")], np.float64)
    base = np.broadcast_to(_margin(given, objective), (targets,)).copy()
    ensemble = Ensemble(np.float32, targets, base)
    # Each tree of `dart` has a weight of its own.
    weights = boosting.get("weight_drop")
    model = boosting["gbtree"]["model"] if weights is not None else boosting["model"]
    for number, (tree, target) in enumerate(zip(model["trees"], model["tree_info"], strict=True)):
        if int(tree["tree_param"].get("size_leaf_vector", 0)) > 1:
            raise Unsupported("its leaves are vectors (multi_strategy='multi_output_tree')")
        starts, sizes = tree.get("categories_segments", []), tree.get("categories_sizes", [])
        listed = dict(zip(tree.get("categories_nodes", []), zip(starts, sizes, strict=True), strict=True))

        share = np.float32(1 if weights is None else weights[number])

        def node(place: int, tree: Json = tree, listed: Json = listed, share: Any = share) -> Any:
            left, right = tree["left_children"][place], tree["right_children"][place]
            if left == -1:
                return float(np.float32(tree["split_conditions"][place]) * share)
            feature, missing_left = tree["split_indices"][place], bool(tree["default_left"][place])
            if place not in listed:
                split = float(np.float32(tree["split_conditions"][place]))
                return ensemble.branch(feature, LESS, split, missing_left), left, right
            # The categories listed go right.
            start, size = listed[place]
            values = [float(value) for value in tree["categories"][start : start + size]]
            return ensemble.members(feature, values, not missing_left), right, left

        ensemble.grow(0, int(target), node)
    classes = getattr(estimator, "classes_", None)
    if classes is not None:
        kinds = {"binary:logistic": "logistic", "multi:softprob": "softmax", "multi:softmax": "softmax"}
        if objective not in kinds:
            raise Unsupported(f"it is a classifier with the objective '{objective}'")
        return Trees(ensemble, kinds[objective], np.asarray(classes))
    links = {
        "reg:squarederror": "identity", "reg:absoluteerror": "identity", "reg:pseudohubererror": "identity",
        "reg:quantileerror": "identity", "rank:ndcg": "identity", "rank:pairwise": "identity", "rank:map": "identity",
        "reg:squaredlogerror": "identity", "reg:logistic": "logistic", "binary:logistic": "logistic",
        "count:poisson": "exp", "reg:gamma": "exp", "reg:tweedie": "exp", "binary:logitraw": "identity",
    }  # fmt: skip
    if objective not in links:
        raise Unsupported(f"its objective is '{objective}'")
    return Trees(ensemble, links[objective])


def _margin(score: npt.NDArray[np.float64], objective: str) -> npt.NDArray[np.float64]:
    """XGBoost's base score as what is added to the sums of the trees."""
    if objective in ("binary:logistic", "reg:logistic"):
        return np.asarray(-np.log(1 / score - 1))
    if objective in ("count:poisson", "reg:gamma", "reg:tweedie"):
        return np.asarray(np.log(score))
    return score
