"""The estimator as ONNX, and the predict module's config for its outputs."""

import contextlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from skl2onnx import convert_sklearn
from skl2onnx._supported_operators import sklearn_operator_name_map
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType
from sklearn.base import is_classifier
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.ensemble._gb import BaseGradientBoosting
from sklearn.model_selection._search import BaseSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.tree import BaseDecisionTree

from . import trees
from .errors import CannotExport, step_name

# What the gateway's engine reads. ai.onnx.ml 3 has the tree operators it replaces; 5 has others.
OPSETS = {"": 17, "ai.onnx.ml": 3}
FORESTS = (RandomForestClassifier, RandomForestRegressor, ExtraTreesClassifier, ExtraTreesRegressor)


OWN_ALONE = ("QuantileTransformer", "KBinsDiscretizer", "PowerTransformer", "KNNImputer")
"""Steps that skl2onnx takes minutes for, or compares in single precision; the exporter's own graph has them."""


@dataclass(frozen=True)
class Model:
    """An ONNX graph from the matrix to the answers, and how the answers are called."""

    onnx: bytes
    outputs: list[dict[str, Any]]
    """The predict config's `outputs`."""
    datatype: str
    """Of the matrix: `f32` or `f64`."""


@dataclass(frozen=True)
class Answers:
    """The answers of the pipeline, or of its export, to some rows."""

    prediction: npt.NDArray[Any]
    probabilities: npt.NDArray[np.float64] | None
    others: dict[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    """Further outputs by name: scores where there are no probabilities, each target's probabilities."""


def in_graph(step: Any) -> bool:
    """Whether skl2onnx may have this step over a matrix of numbers."""
    columnwise = (ColumnTransformer, FunctionTransformer, Pipeline)
    if type(step).__name__ in OWN_ALONE:
        return False
    return not isinstance(step, columnwise) and type(step) in sklearn_operator_name_map


def encodes(estimator: Any) -> bool:
    """Whether a HistGradientBoosting encodes categorical columns before its trees."""
    return getattr(estimator, "_preprocessor", None) is not None and hasattr(estimator, "_bin_mapper")


def found(estimator: Any) -> Any:
    """The estimator that answers for a search over parameters; any other as it is."""
    while isinstance(estimator, BaseSearchCV):
        if not hasattr(estimator, "best_estimator_"):
            raise CannotExport(
                f"cannot export {type(estimator).__name__}: it keeps no fitted estimator; "
                "fit it with refit=True"
            )
        estimator = estimator.best_estimator_
    return estimator


@dataclass(frozen=True)
class Names:
    """The names that the pipeline itself does not know: those of its targets and its classes."""

    targets: list[str] | None = None
    classes: list[str] | None = None
    """In the order of a LabelEncoder; the pipeline predicts their places."""


def answers(pipeline: Any, frame: Any, names: Names = Names()) -> Answers:
    """scikit-learn's own answers."""
    probabilities = None
    others: dict[str, npt.NDArray[np.float64]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of unknown categories and the like: the user has seen it
        prediction = np.asarray(pipeline.predict(frame))
        if prediction.dtype == object and prediction.ndim == 2 and not is_classifier(pipeline):
            prediction = prediction.astype(np.float64)
        if prediction.ndim == 2 and prediction.shape[1] == 1 and is_classifier(pipeline) and not several(pipeline):
            prediction = prediction[:, 0]  # CatBoost gives several classes so
        likely = _likely(pipeline, frame) if is_classifier(pipeline) else None
        if likely is not None:
            if isinstance(likely, list):
                named = names.targets or [str(at) for at in range(len(likely))]
                parts = zip(named, likely, strict=True)
                others = {f"probabilities_{name}": np.asarray(part, np.float64) for name, part in parts}
            else:
                probabilities = np.asarray(likely, dtype=np.float64)
        elif hasattr(pipeline, "decision_function"):
            others = {"decision": np.asarray(pipeline.decision_function(frame), np.float64)}
    if is_classifier(pipeline) and prediction.dtype.kind == "f":
        prediction = prediction.astype(np.int64)  # such classes are whole; the graph says integers
    if names.classes is not None:
        prediction = np.asarray(names.classes, dtype=object)[prediction.astype(np.int64)]
    return Answers(prediction, probabilities, others)


def _likely(pipeline: Any, frame: Any) -> Any:
    """A classifier's probabilities; `None` where it has none, though it may have a method for them."""
    if not hasattr(pipeline, "predict_proba"):
        return None
    final = pipeline.inner if hasattr(pipeline, "inner") else pipeline
    while hasattr(final, "steps"):
        final = final.steps[-1][1]
    if type(found(final)).__name__ == "GaussianProcessClassifier" and found(final).n_classes_ > 2 and found(final).multi_class == "one_vs_one":
        return None  # scikit-learn raises: it has votes alone
    return pipeline.predict_proba(frame)


def several(pipeline: Any) -> bool:
    """Whether a classifier has several targets."""
    return isinstance(getattr(pipeline, "classes_", None), list)


def datatypes(estimator: Any) -> list[str]:
    """The datatypes that the matrix may have for this estimator, the one to try first in front.

    Single precision where the library computes in it (scikit-learn's forests, trees and
    GradientBoosting; XGBoost); double where it compares thresholds in double (LightGBM,
    HistGradientBoosting). All others compute in double, and single is tried first: it is quicker,
    and kept if the answers agree. `own` is double precision by the exporter's own operators.
    """
    final = estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator
    try:
        booster = trees.read(final) if final is estimator else None
    except trees.Unsupported:
        booster = None
    if booster is not None:
        return ["f64" if booster.ensemble.dtype == np.float64 else "f32"]
    if isinstance(final, (*FORESTS, BaseDecisionTree, BaseGradientBoosting)):
        return ["f32", "own"]
    return ["f32", "f64", "own"]


def convert(
    estimator: Any,
    path: Sequence[str],
    width: int,
    name: str,
    said: Answers,
    missing: bool,
    datatype: str = "f32",
    names: Names = Names(),
) -> Model:
    """The estimator, or a pipeline of the steps left, over a matrix `X` of `width` columns.

    `missing` says that the matrix may have NaN in it.
    """
    final = estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator
    classes = getattr(final, "classes_", None) if is_classifier(final) else None
    if datatype == "own":
        from .graph.compile import over_matrix

        graph_bytes, outputs = over_matrix(estimator, path, width, wanted(said, names))
        return Model(graph_bytes, outputs, "f64")
    if said.others:
        raise CannotExport(
            f"cannot export {step_name(path)} ({type(final).__name__}): skl2onnx leaves out "
            f"{', '.join(said.others)}"
        )
    graph = _own_trees(estimator, path, width, name)
    if graph is None:
        classifier = classes is not None
        graph = _graph(estimator, final, path, width, name, classifier, datatype)
        if missing:
            _send_missing(graph, final)
    found = graph.graph.output
    if any(value.type.WhichOneof("value") != "tensor_type" for value in found):
        raise CannotExport(
            f"cannot export {step_name(path)} ({type(final).__name__}): skl2onnx gives it an "
            "output that is no tensor; use another estimator"
        )
    prediction: dict[str, Any] = {"name": "prediction", "from": found[0].name}
    if names.classes is not None:
        prediction["classes"] = names.classes
    elif classes is not None and np.asarray(classes).dtype == bool:
        prediction["classes"] = [bool(value) for value in classes]
    dims = found[0].type.tensor_type.shape.dim
    if len(dims) == 2 and dims[1].dim_value == 1 and said.prediction.ndim == 1:
        prediction["squeeze"] = True
    outputs = [prediction]
    if said.probabilities is not None:
        if len(found) < 2:
            raise CannotExport(
                f"cannot export {step_name(path)} ({type(final).__name__}): skl2onnx leaves out its probabilities; "
                "use another estimator"
            )
        outputs.append({"name": "probabilities", "from": found[1].name, **named(classes, names)})
    return Model(graph.SerializeToString(deterministic=True), outputs, datatype)


def named(classes: Any, names: Names) -> dict[str, list[str]]:
    """`names` of the predict config: the class that each probability of a row is for."""
    if classes is None:
        return {}
    own = np.asarray(classes).tolist()
    if names.classes is not None:
        own = [names.classes[int(value)] for value in own]
    # Whole floats are integers in an answer.
    return {"names": [str(int(value)) if isinstance(value, float) and value.is_integer() else str(value) for value in own]}


def wanted(said: Answers, names: Names) -> Any:
    """The outputs that the graph has to give: those of the pipeline."""
    from .graph.compile import Options

    decision, likely = "decision" in said.others, said.probabilities is not None
    return Options(names.targets, names.classes, decision, likely)


def _own_trees(
    estimator: Any, path: Sequence[str], width: int, name: str
) -> onnx.ModelProto | None:
    """The graph of a booster whose trees are read here; `None` for what skl2onnx converts."""
    try:
        booster = trees.read(estimator)
    except trees.Unsupported as error:
        raise CannotExport(
            f"cannot export {step_name(path)} ({type(estimator).__name__}): {error}; "
            "train it without that"
        ) from error
    return None if booster is None else booster.graph(width, name)


def _graph(
    estimator: Any,
    final: Any,
    path: Sequence[str],
    width: int,
    name: str,
    classifier: bool,
    datatype: str,
) -> onnx.ModelProto:
    tensor = FloatTensorType if datatype == "f32" else DoubleTensorType
    kinds: dict[str, Any] = {
        "name": name,
        "initial_types": [("X", tensor([None, width]))],
        "target_opset": OPSETS,
    }
    no_zipmap = {id(final): {"zipmap": False}}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if classifier:
                with contextlib.suppress(NameError):  # raised where there is no such option
                    return _tidy(convert_sklearn(estimator, options=no_zipmap, **kinds))
            return _tidy(convert_sklearn(estimator, **kinds))
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise CannotExport(
            f"cannot export {step_name(path)} ({type(final).__name__}): skl2onnx cannot convert it "
            f"({type(error).__name__}: {reason}); use an estimator from "
            "https://onnx.ai/sklearn-onnx/supported.html, or register a converter with skl2onnx"
        ) from error


def _tidy(graph: onnx.ModelProto) -> onnx.ModelProto:
    """One entry for each operator set; skl2onnx may write the same one twice."""
    versions: dict[str, int] = {}
    for entry in graph.opset_import:
        versions[entry.domain] = max(entry.version, versions.get(entry.domain, 0))
    del graph.opset_import[:]
    graph.opset_import.extend(
        onnx.helper.make_opsetid(domain, version) for domain, version in sorted(versions.items())
    )
    return graph


def _send_missing(graph: onnx.ModelProto, final: Any) -> None:
    """Sends missing values down a tree the way scikit-learn does, which skl2onnx leaves out."""
    trees = final.estimators_ if isinstance(final, FORESTS) else [final]
    if not all(isinstance(tree, BaseDecisionTree) for tree in trees):
        return
    if not all(hasattr(tree.tree_, "missing_go_to_left") for tree in trees):
        return  # before scikit-learn 1.3 no tree takes a missing value
    left = [tree.tree_.missing_go_to_left for tree in trees]
    for node in graph.graph.node:
        fields = {field.name: field for field in node.attribute}
        if "nodes_missing_value_tracks_true" not in fields:
            continue
        places = zip(fields["nodes_treeids"].ints, fields["nodes_nodeids"].ints, strict=True)
        branch = [mode != b"LEAF" for mode in fields["nodes_modes"].strings]
        ways = [int(left[tree][place]) for tree, place in places]
        fields["nodes_missing_value_tracks_true"].ints[:] = [
            way * inner for way, inner in zip(ways, branch, strict=True)
        ]


def run(model: Model, given: Any) -> Answers:
    """The export's answers by ONNX Runtime, to a matrix or to inputs by name.

    Raises `CannotExport` where that is not installed: nothing is written that was not compared.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise CannotExport(
            "cannot compare the export with the pipeline: onnxruntime is not installed; "
            "run pip install onnxruntime, then export again"
        ) from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    feed = given if isinstance(given, dict) else {"X": given}
    try:
        session = onnxruntime.InferenceSession(
            model.onnx, options, providers=["CPUExecutionProvider"]
        )
        values = in_parts(session, [output["from"] for output in model.outputs], feed)
    except Exception as error:  # onnxruntime has an exception of its own for each status
        reason = " ".join(str(error).split())[:300]
        raise CannotExport(
            f"cannot compare the export with the pipeline: ONNX Runtime does not run its graph: {reason}"
        ) from error
    named = {
        output["name"]: picked(np.asarray(value), output)
        for output, value in zip(model.outputs, values, strict=True)
    }
    likely = named.pop("probabilities", None)
    return Answers(
        named.pop("prediction"), None if likely is None else np.asarray(likely, np.float64), named
    )


PART = 250
"""Rows at a time where a graph takes texts: of hashed words each may be half a megabyte."""


def in_parts(session: Any, names: list[str], feed: dict[str, npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
    """The outputs of a graph, some rows at a time where it takes texts."""
    count = max(map(len, feed.values()))
    if count <= PART or not any(values.dtype == object for values in feed.values()):
        return [np.asarray(value) for value in session.run(names, feed)]
    parts = [
        session.run(names, {name: values[start : start + PART] for name, values in feed.items()}) for start in range(0, count, PART)
    ]
    return [np.concatenate(values) for values in zip(*parts, strict=True)]


def picked(value: npt.NDArray[Any], output: dict[str, Any]) -> npt.NDArray[Any]:
    """A graph's output as the predict module hands it on."""
    if output.get("squeeze"):
        value = value[:, 0]
    if classes := output.get("classes"):
        value = np.asarray(classes, object if isinstance(classes[0], str) else None)[value]
    return value
