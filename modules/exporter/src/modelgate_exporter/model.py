"""The estimator as ONNX, and the predict module's config for its outputs."""

import contextlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from skl2onnx import convert_sklearn
from skl2onnx._supported_operators import sklearn_operator_name_map
from skl2onnx.common.data_types import FloatTensorType
from sklearn.base import is_classifier
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from .errors import CannotExport, step_name

# What the gateway's engine reads. ai.onnx.ml 3 has the tree operators it replaces; 5 has others.
OPSETS = {"": 17, "ai.onnx.ml": 3}


@dataclass(frozen=True)
class Model:
    """An ONNX graph from the matrix to the answers, and how the answers are called."""

    onnx: bytes
    outputs: list[dict[str, Any]]
    """The predict config's `outputs`."""


@dataclass(frozen=True)
class Answers:
    """What the pipeline, or its export, says to some rows."""

    prediction: npt.NDArray[Any]
    probabilities: npt.NDArray[np.float64] | None


def in_graph(step: Any) -> bool:
    """Whether skl2onnx may have this step over a matrix of numbers."""
    columnwise = (ColumnTransformer, FunctionTransformer, Pipeline)
    return not isinstance(step, columnwise) and type(step) in sklearn_operator_name_map


def answers(pipeline: Any, frame: Any) -> Answers:
    """scikit-learn's own answers."""
    probabilities = None
    if is_classifier(pipeline) and hasattr(pipeline, "predict_proba"):
        probabilities = np.asarray(pipeline.predict_proba(frame), dtype=np.float64)
    return Answers(np.asarray(pipeline.predict(frame)), probabilities)


def convert(estimator: Any, path: Sequence[str], width: int, name: str, said: Answers) -> Model:
    """The estimator, or a pipeline of the steps left, over a matrix `X` of `width` columns."""
    final = estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator
    classes = getattr(final, "classes_", None) if is_classifier(final) else None
    if isinstance(classes, list):
        raise CannotExport(
            f"cannot export {step_name(path)} ({type(final).__name__}): it has several targets, "
            "and a bundle has one; fit and export one classifier for each"
        )
    graph = _graph(estimator, final, path, width, name, classifier=classes is not None)
    found = graph.graph.output
    if any(value.type.WhichOneof("value") != "tensor_type" for value in found):
        raise CannotExport(
            f"cannot export {step_name(path)} ({type(final).__name__}): skl2onnx gives it an "
            "output that is no tensor; use another estimator"
        )
    prediction: dict[str, Any] = {"name": "prediction", "from": found[0].name}
    if classes is not None and np.asarray(classes).dtype == bool:
        prediction["classes"] = [bool(value) for value in classes]
    dims = found[0].type.tensor_type.shape.dim
    if len(dims) == 2 and dims[1].dim_value == 1 and said.prediction.ndim == 1:
        prediction["squeeze"] = True
    outputs = [prediction]
    if said.probabilities is not None:
        outputs.append({"name": "probabilities", "from": found[1].name})
    return Model(graph.SerializeToString(deterministic=True), outputs)


def _graph(
    estimator: Any, final: Any, path: Sequence[str], width: int, name: str, classifier: bool
) -> onnx.ModelProto:
    kinds: dict[str, Any] = {
        "name": name,
        "initial_types": [("X", FloatTensorType([None, width]))],
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


def run(model: Model, matrix: npt.NDArray[np.float32]) -> Answers | None:
    """The export's answers by ONNX Runtime, or None where that is not installed."""
    try:
        import onnxruntime
    except ImportError:
        return None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.onnx, options, providers=["CPUExecutionProvider"])
    values = session.run([output["from"] for output in model.outputs], {"X": matrix})
    prediction = np.asarray(values[0])
    if model.outputs[0].get("squeeze"):
        prediction = prediction[:, 0]
    if classes := model.outputs[0].get("classes"):
        prediction = np.asarray(classes)[prediction]
    return Answers(prediction, np.asarray(values[1], np.float64) if len(values) > 1 else None)
