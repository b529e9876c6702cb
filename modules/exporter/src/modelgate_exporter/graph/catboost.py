"""CatBoost, from its own model as JSON.

How a category becomes a number is kept as hashes in the model. A test of a category depends on the category
alone, or on a few of them together, so that the fitted model is asked how each of its tests answers to each
combination of the sample's categories, and to one that it never saw.
"""

from __future__ import annotations

import itertools
import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from onnx import TensorProto

from ..trees import LESS_EQUAL, Ensemble
from .categories import matches
from .columns import Col, Context, alone
from .forests import summed
from .result import Result, by_score, numbers, pair

Json = Any
EMPTY = str(2**64 - 1)
"""The hash of a slot of a table that holds no category."""

COMBINATIONS = 200_000
"""Combinations of categories that the model is asked about."""


def boosted(step: Any, cols: list[Col], context: Context) -> Result:
    """CatBoostClassifier, CatBoostRegressor, CatBoostRanker."""
    graph = context.graph
    model = _model(step)
    info = model["features_info"]
    for kind in ("text_features", "embedding_features"):
        if info.get(kind):
            raise context.refuse(step, cols, f"it has {kind.replace('_', ' ')}", "train it on numbers and categories")
    reader = _Reader(step, cols, context, model)
    made = reader.scores()
    scale, bias = model.get("scale_and_bias", [1, [0]])
    bias = np.atleast_1d(np.asarray(bias, np.float64))
    if scale != 1:
        made = graph.op("Mul", made, graph.constant([[float(scale)]]))
    made = graph.op("Add", made, graph.constant([np.broadcast_to(bias, (reader.targets,))]))
    loss = str(model["model_info"].get("params", {}).get("loss_function", {}).get("type", ""))
    classes = step.classes_ if hasattr(step, "predict_proba") else None
    if classes is None or not len(classes):
        if loss in ("Poisson", "Tweedie"):
            made = graph.op("Exp", made)
        return numbers(made, reader.targets)
    if reader.targets == 1:
        return by_score(graph, made, classes, pair(graph, graph.op("Sigmoid", made)))
    likely = graph.op("Sigmoid", made) if loss == "MultiClassOneVsAll" else graph.op("Softmax", made, axis=1)
    return Result(index=graph.op("ArgMax", made, axis=1, keepdims=1), classes=classes, probabilities=likely)


def _model(step: Any) -> Json:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.json"
        step.save_model(str(file), format="json")
        return json.loads(file.read_text())


@dataclass
class _Reader:
    step: Any
    cols: list[Col]
    context: Context
    model: Json
    targets: int = 1
    tests: list[Json] = field(default_factory=list)
    """The tests of categories, each with the tree and the place where it first occurs."""

    def __post_init__(self) -> None:
        info = self.model["features_info"]
        self.floats = info.get("float_features") or []
        self.categories = info.get("categorical_features") or []
        self.places = {feature["feature_index"]: feature["flat_feature_index"] for feature in self.categories}
        self.trees = self.model.get("oblivious_trees")
        self.found: dict[str, int] = {}

    def scores(self) -> str:
        """The sums of the trees' leaves."""
        if self.trees is None:
            return self._free()
        first = self.trees[0]
        self.targets = len(first["leaf_values"]) >> len(first["splits"] or [])
        ensemble = Ensemble(np.float64, self.targets, np.zeros(self.targets))
        for at, tree in enumerate(self.trees):
            splits = tree["splits"] or []
            for place, split in enumerate(splits):
                if split["split_type"] != "FloatFeature":
                    self._test(split, at, place)
            for target in range(self.targets):
                self._grow(ensemble, splits, tree["leaf_values"], target)
        return summed(self.context, ensemble, self._matrix())

    def _grow(self, ensemble: Ensemble, splits: list[Json], leaves: list[float], target: int) -> None:
        def node(key: tuple[int, int]) -> Any:
            level, leaf = key
            if level == len(splits):
                return float(leaves[leaf * self.targets + target])
            branch = self._branch(ensemble, splits[level])
            return branch, (level + 1, leaf), (level + 1, leaf | 1 << level)

        ensemble.grow((0, 0), target, node)

    def _branch(self, ensemble: Ensemble, split: Json) -> int:
        """A node whose true side is that of smaller numbers."""
        if split["split_type"] == "FloatFeature":
            feature = self.floats[split["float_feature_index"]]
            high = feature.get("nan_value_treatment") == "AsTrue"
            place = int(split["float_feature_index"])
            return ensemble.branch(place, LESS_EQUAL, float(np.float32(split["border"])), not high)
        return ensemble.branch(len(self.floats) + self.found[_key(split)], LESS_EQUAL, 0.5, True)

    def _test(self, split: Json, tree: int, place: int) -> None:
        if _key(split) not in self.found:
            self.found[_key(split)] = len(self.tests)
            self.tests.append((split, tree, place))

    def _free(self) -> str:
        """Trees that are not symmetric."""
        if self.categories:
            raise self.context.refuse(
                self.step, self.cols, "its trees are not symmetric and test categories",
                "train it with grow_policy='SymmetricTree', or without cat_features",
            )  # fmt: skip
        trees = self.model["trees"]
        leaf = trees[0]
        while "value" not in leaf:
            leaf = leaf["left"]
        self.targets = len(np.atleast_1d(leaf["value"]))
        ensemble = Ensemble(np.float64, self.targets, np.zeros(self.targets))
        for tree in trees:
            for target in range(self.targets):

                def node(record: Json, target: int = target) -> Any:
                    if "value" in record:
                        return float(np.atleast_1d(record["value"])[target])
                    return self._branch(ensemble, record["split"]), record["left"], record["right"]

                ensemble.grow(tree, target, node)
        return summed(self.context, ensemble, self._matrix())

    def _matrix(self) -> str:
        """Numbers in single precision, then each test of categories as 0 or 1."""
        graph = self.context.graph
        used = [self.cols[feature["flat_feature_index"]] for feature in self.floats]
        parts = []
        if used:
            numbers_ = self.context.matrix(used, self.step)
            parts.append(graph.double(graph.cast(numbers_, TensorProto.FLOAT)))
        if self.tests:
            parts.append(self._tested())
        return graph.concat(parts)

    def _tested(self) -> str:
        """The tests of categories: a table for each set of columns that a test depends on."""
        graph = self.context.graph
        groups: dict[tuple[tuple[int, ...], str], list[int]] = {}
        for at, (split, _, _) in enumerate(self.tests):
            cats, conditions = self._depends(split)
            groups.setdefault((cats, json.dumps(conditions)), []).append(at)
        order: list[int] = []
        parts = []
        for (cats, conditions), tests in groups.items():
            parts.append(self._table(list(cats), json.loads(conditions), tests))
            order += tests
        return graph.gather(graph.concat(parts), [order.index(at) for at in range(len(self.tests))])

    def _depends(self, split: Json) -> tuple[tuple[int, ...], list[Json]]:
        """The categories, and the tests of numbers, that a test depends on."""
        if split["split_type"] == "OneHotFeature":
            return (int(split["cat_feature_index"]),), []
        elements = self._elements(split)
        cats: list[int] = []
        conditions = []
        for element in elements:
            kind = element.get("combination_element")
            if kind == "cat_feature_value" or kind == "cat_feature_exact_value":
                cats.append(int(element["cat_feature_index"]))
            elif kind == "float_feature":
                conditions.append({"feature": int(element["float_feature_index"]), "border": element["border"]})
            else:
                raise self._odd(f"a category is combined with {kind}")
        return tuple(sorted(set(cats))), conditions

    def _elements(self, split: Json) -> list[Json]:
        """The subject of a statistic of categories."""
        ctrs = self.model["features_info"].get("ctrs") or []
        index, total = int(split["split_index"]), 0
        for feature in self.floats:
            total += len(feature.get("borders") or [])
        for feature in self.categories:
            total += len(feature.get("values") or [])
        for ctr in ctrs:
            total += len(ctr["borders"])
            if index < total:
                return list(ctr["elements"])
        raise self._odd("a statistic of categories is not listed")

    def _odd(self, why: str) -> Exception:
        return self.context.refuse(self.step, self.cols, why, "train it with one_hot_max_size=255 or max_ctr_complexity=1")

    def _known(self, cat: int) -> list[Any]:
        col = self.cols[self.places[cat]]
        if not col.raw or not col.roots[0].sample:
            raise self._odd("the categories are made by steps before it")
        return list(col.roots[0].sample)

    def _table(self, cats: list[int], conditions: list[Json], tests: list[int]) -> str:
        """The answers of some tests to each combination."""
        graph = self.context.graph
        known = [self._known(cat) for cat in cats]
        sizes = [len(values) + 1 for values in known] + [2] * len(conditions)
        if np.prod(sizes, dtype=float) > COMBINATIONS:
            raise self._odd(f"it combines {len(cats)} columns with {int(np.prod(sizes))} combinations of categories")
        answers = self._asked(cats, known, conditions, tests)
        self._complete(cats, known, tests, answers)
        place = None
        for cat, values in zip(cats, known, strict=True):
            col = self.cols[self.places[cat]]
            test = graph.double(matches(self.context, [col], [values]))
            weights = np.arange(1, len(values) + 1, dtype=np.float64)[:, None]
            # 0 is a category that was never seen.
            own = graph.op("MatMul", test, graph.constant(weights))
            place = own if place is None else self._mixed(place, len(values) + 1, own)
        for condition in conditions:
            col = self.cols[self.floats[condition["feature"]]["flat_feature_index"]]
            value = graph.double(graph.cast(alone(graph, col), TensorProto.FLOAT))
            above = graph.op("Greater", value, graph.constant([[float(np.float32(condition["border"]))]]))
            if self.floats[condition["feature"]].get("nan_value_treatment") == "AsTrue":
                above = graph.op("Or", above, graph.op("IsNaN", value))
            place = self._mixed(place, 2, graph.double(above))
        index = graph.op("Squeeze", graph.cast(place or "", TensorProto.INT64), graph.places([1]))
        return graph.op("Gather", graph.constant(answers), index, axis=0)

    def _complete(self, cats: list[int], known: list[list[Any]], tests: list[int], answers: npt.NDArray[np.float64]) -> None:
        """Refuses where the model knows categories that the sample has not."""
        lacking = False
        for column, at in enumerate(tests):
            split = self.tests[at][0]
            lacking |= split["split_type"] == "OneHotFeature" and not answers[:, column].any()
        for name, table in (self.model.get("ctr_data") or {}).items():
            elements = json.loads(name)["identifier"] if name.startswith("{") else []
            if len(cats) == 1 and [element.get("cat_feature_index") for element in elements] == cats:
                hashes = table["hash_map"][:: table["hash_stride"]]
                lacking |= sum(str(one) != EMPTY for one in hashes) > len(known[0])
        if lacking:
            names = [self.cols[self.places[cat]] for cat in cats]
            raise self.context.refuse(
                self.step, names, "the model knows categories that the sample frame has not",
                "give a sample frame that has every category, such as the frame of the training",
            )  # fmt: skip

    def _mixed(self, place: str | None, size: int, own: str) -> str:
        graph = self.context.graph
        assert place is not None
        return graph.op("Add", graph.op("Mul", place, graph.constant([[float(size)]])), own)

    def _asked(self, cats: list[int], known: list[list[Any]], conditions: list[Json], tests: list[int]) -> npt.NDArray[np.float64]:
        """The bits of the leaves that the fitted model takes for each combination."""
        choices: list[list[Any]] = [[None, *values] for values in known] + [[0, 1]] * len(conditions)
        combinations = list(itertools.product(*choices))
        data: dict[int, list[Any]] = {}
        for feature in self.floats:
            data[feature["flat_feature_index"]] = [0.0] * len(combinations)
        for feature in self.categories:
            place = feature["flat_feature_index"]
            data[place] = [self._unseen(self._known(feature["feature_index"]))] * len(combinations)
        for at, cat in enumerate(cats):
            unseen = self._unseen(known[at])
            data[self.places[cat]] = [unseen if row[at] is None else row[at] for row in combinations]
        for at, condition in enumerate(conditions):
            border = np.float32(condition["border"])
            sides = [np.nextafter(border, np.float32(-np.inf)), np.nextafter(border, np.float32(np.inf))]
            place = self.floats[condition["feature"]]["flat_feature_index"]
            data[place] = [float(sides[row[len(cats) + at]]) for row in combinations]
        frame = pd.DataFrame({place: pd.Series(values, dtype=object if place in self.places.values() else None) for place, values in sorted(data.items())})
        frame.columns = pd.Index(self.step.feature_names_)
        from catboost import Pool

        pool = Pool(frame, cat_features=sorted(self.places.values()))
        leaves = np.asarray(self.step.calc_leaf_indexes(pool)).reshape(len(combinations), -1)
        bits = [leaves[:, self.tests[at][1]] >> self.tests[at][2] & 1 for at in tests]
        return np.stack(bits, axis=1).astype(np.float64)

    @staticmethod
    def _unseen(values: list[Any]) -> Any:
        if all(isinstance(value, str) for value in values):
            return "modelgate: never seen"
        return int(max(values)) + 1_000_003


def _key(split: Json) -> str:
    return json.dumps({key: value for key, value in split.items()}, sort_keys=True)
