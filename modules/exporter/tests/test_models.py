"""The exported graph answers as scikit-learn does, by ONNX Runtime."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
from conftest import Bundle
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    AdaBoostClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
    VotingClassifier,
)
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from modelgate_exporter import export

SEED = 3


def prepared(estimator):
    return Pipeline(
        [
            (
                "prep",
                ColumnTransformer(
                    [
                        ("hot", OneHotEncoder(handle_unknown="ignore"), ["city", "grade"]),
                        ("minmax", MinMaxScaler(), ["height"]),
                    ],
                    remainder=make_pipeline(SimpleImputer(), StandardScaler()),
                ),
            ),
            ("model", estimator),
        ]
    )


def served(bundle: Bundle, rows: list[dict]) -> dict[str, np.ndarray]:
    """The gateway's answer: tabular's matrix, the graph, then predict's config."""
    session = onnxruntime.InferenceSession((bundle.folder / "model.onnx").read_bytes())
    assert [value.name for value in session.get_inputs()] == ["X"]
    outputs = {}
    for entry in bundle.predict["outputs"]:
        (value,) = session.run([entry["from"]], {"X": bundle.matrix(rows)})
        if entry.get("squeeze"):
            assert value.shape[1:] == (1,)
            value = value[:, 0]
        if "classes" in entry:
            value = np.array([entry["classes"][place] for place in value])
        outputs[entry["name"]] = value
    return outputs


def proved(pipeline, frame: pd.DataFrame, folder: Path, **kinds) -> Bundle:
    """The bundle of half the rows, compared on the other half as well."""
    bundle = Bundle(export(pipeline, frame[::2], folder, **kinds))
    answers = served(bundle, json.loads(frame.to_json(orient="records", double_precision=15)))
    expected = pipeline.predict(frame)
    if expected.dtype.kind == "f":
        np.testing.assert_allclose(answers["prediction"], expected, rtol=1e-5, atol=1e-5)
    else:
        assert (answers["prediction"] == expected).all()
    if "probabilities" in answers:
        np.testing.assert_allclose(
            answers["probabilities"], pipeline.predict_proba(frame), atol=1e-5
        )
    return bundle


CLASSIFIERS = [
    RandomForestClassifier(20, max_depth=6, random_state=SEED),
    ExtraTreesClassifier(20, max_depth=6, random_state=SEED),
    DecisionTreeClassifier(random_state=SEED),
    GradientBoostingClassifier(n_estimators=10, random_state=SEED),
    HistGradientBoostingClassifier(max_iter=10, random_state=SEED),
    AdaBoostClassifier(n_estimators=5, random_state=SEED),
    LogisticRegression(),
    OneVsRestClassifier(LogisticRegression()),
    SGDClassifier(loss="log_loss", random_state=SEED),
    GaussianNB(),
    KNeighborsClassifier(3),
    MLPClassifier((8,), max_iter=60, random_state=SEED),
    VotingClassifier(
        [("a", LogisticRegression()), ("b", DecisionTreeClassifier(max_depth=4))],
        voting="soft",
        flatten_transform=False,
    ),
    CalibratedClassifierCV(LogisticRegression(), cv=3),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("estimator", CLASSIFIERS, ids=lambda estimator: type(estimator).__name__)
def test_classifiers(frame, target, tmp_path, estimator, classes):
    labels = np.minimum(target, classes - 1) * 3 + 1
    bundle = proved(
        prepared(estimator).fit(frame.drop(columns="job"), labels),
        frame.drop(columns="job"),
        tmp_path / "b",
    )
    assert [output["name"] for output in bundle.predict["outputs"]] == [
        "prediction",
        "probabilities",
    ]
    assert len(bundle.golden["examples"][0]["output"]["probabilities"]) == classes


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "estimator",
    [RidgeClassifier(), LinearSVC(), SVC(), SGDClassifier(random_state=SEED)],
    ids=lambda estimator: type(estimator).__name__,
)
def test_classifiers_without_probabilities(frame, target, tmp_path, estimator):
    data = frame.drop(columns="job")
    bundle = proved(prepared(estimator).fit(data, target), data, tmp_path / "b")
    assert [output["name"] for output in bundle.predict["outputs"]] == ["prediction", "decision"]


@pytest.mark.parametrize("estimator", [RandomForestClassifier(5), LogisticRegression()], ids=repr)
@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        (["no", "sí"], str),
        ([False, True], bool),
        ([1.0, 2.0], int),
        ([-1, 7], int),
        (["a", "b", "c"], str),
    ],
    ids=str,
)
def test_kinds_of_labels(frame, target, tmp_path, estimator, labels, kind):
    named = np.array(labels)[np.minimum(target, len(labels) - 1)]
    data = frame.drop(columns="job")
    bundle = proved(prepared(estimator).fit(data, named), data, tmp_path / "b")
    predictions = [example["output"]["prediction"] for example in bundle.golden["examples"]]
    assert {type(value) for value in predictions} == {kind}
    assert set(predictions) == set(labels)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "estimator",
    [
        LinearRegression(),
        Ridge(),
        DecisionTreeRegressor(max_depth=5),
        RandomForestRegressor(10, max_depth=5),
        GradientBoostingRegressor(n_estimators=20),
        HistGradientBoostingRegressor(max_iter=20),
        MLPRegressor(hidden_layer_sizes=(8,), max_iter=50),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_regressors(frame, tmp_path, estimator):
    data = frame.drop(columns="job")
    target = frame["weight"] * 1.5 + frame["children"] - frame["height"] / 9
    bundle = proved(prepared(estimator).fit(data, target), data, tmp_path / "b")
    assert isinstance(bundle.golden["examples"][0]["output"]["prediction"], float)


def test_several_targets_of_a_regressor(frame, tmp_path):
    data = frame.drop(columns="job")
    pipeline = prepared(LinearRegression()).fit(data, frame[["weight", "height"]])
    bundle = proved(pipeline, data, tmp_path / "b")
    assert len(bundle.golden["examples"][0]["output"]["prediction"]) == 2


@pytest.mark.parametrize(
    "estimator", [KMeans(3, random_state=SEED), IsolationForest(n_estimators=9)]
)
def test_other_estimators(frame, tmp_path, estimator):
    data = frame.drop(columns="job")
    proved(prepared(estimator).fit(data), data, tmp_path / "b")


@pytest.mark.parametrize(
    "estimator",
    [
        DecisionTreeClassifier(max_depth=5),
        RandomForestClassifier(9, max_depth=5),
        HistGradientBoostingClassifier(max_iter=9),
        RandomForestRegressor(9, max_depth=5),
        DecisionTreeRegressor(max_depth=5),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_missing_values_in_a_tree(frame, target, tmp_path, estimator):
    data = frame[["age", "height", "weight"]].copy()
    data.loc[data.index % 5 == 1, "height"] = np.nan
    proved(Pipeline([("model", estimator)]).fit(data, target), data, tmp_path / "b")


def test_an_estimator_alone(frame, target, tmp_path):
    data = frame[["height", "weight", "children", "smokes"]]
    bundle = proved(RandomForestClassifier(5).fit(data, target), data, tmp_path / "b")
    assert bundle.ops() == [(["height", "weight", "children", "smokes"], [])]


def test_an_array_for_a_sample(frame, target, tmp_path):
    data = frame[["height", "weight"]].to_numpy()
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(data, target)
    assert list(Bundle(export(pipeline, data, tmp_path / "b")).inputs()) == ["x0", "x1"]


def test_columns_with_numbers_for_names(frame, target, tmp_path):
    data = frame[["height", "age"]].set_axis([10, 20], axis=1)
    pipeline = make_pipeline(SimpleImputer(), LogisticRegression()).fit(data, target)
    bundle = Bundle(export(pipeline, data, tmp_path / "b"))
    assert [entry["name"] for entry in bundle.tabular["inputs"]] == ["10", "20"]


def test_steps_over_the_matrix_go_into_the_graph(frame, target, tmp_path):
    pipeline = prepared(LogisticRegression())
    pipeline.steps[1:1] = [("scale", StandardScaler()), ("pca", PCA(5)), ("best", SelectKBest(k=4))]
    data = frame.drop(columns="job")
    bundle = proved(pipeline.fit(data, target), data, tmp_path / "b")
    assert len(bundle.ops()) == 3


@pytest.mark.parametrize("make", [DecisionTreeClassifier, RandomForestClassifier])
def test_values_next_to_a_threshold(tmp_path, make):
    """scikit-learn rounds values to float32 and compares them with thresholds in float64."""
    rng = np.random.default_rng(5)
    train = pd.DataFrame({"a": rng.random(400), "b": rng.random(400) * 1e-4 - 5e-5})
    labels = (rng.random(400) > 0.5).astype(int)
    model = make(random_state=1).fit(train, labels)
    trees = [model] if make is DecisionTreeClassifier else model.estimators_
    edges = {0: [], 1: []}
    for tree in trees:
        for feature, threshold in zip(tree.tree_.feature, tree.tree_.threshold, strict=True):
            if feature >= 0:
                single = np.float32(threshold)
                edges[feature] += [float(threshold), float(single)]
                edges[feature] += [float(np.nextafter(single, np.float32(way))) for way in (-9, 9)]
    size = min(len(edges[0]), len(edges[1]), 3000)
    close = pd.DataFrame({"a": edges[0][:size], "b": edges[1][:size]})
    bundle = Bundle(export(Pipeline([("model", model)]), close, tmp_path / "b"))
    answers = served(bundle, close.to_dict("records"))
    expected = model.predict_proba(close)
    np.testing.assert_allclose(answers["probabilities"], expected, atol=1e-5)
    untied = np.abs(expected[:, 0] - 0.5) > 1e-5
    assert (answers["prediction"] == model.predict(close))[untied].all()


def test_the_graph_names_each_operator_set_once(frame, target, tmp_path):
    data = frame[["height"]]
    export(RandomForestClassifier(3).fit(data, target), data, tmp_path / "b")
    graph = onnx.load(tmp_path / "b" / "model.onnx")
    domains = [entry.domain for entry in graph.opset_import]
    assert sorted(domains) == sorted(set(domains))
    onnx.checker.check_model(graph)
