"""The conversions of skl2onnx and onnxmltools, put into the graph."""

from __future__ import annotations

import contextlib
import warnings
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType
from sklearn.base import is_classifier

from .columns import Col, Context
from .result import Result, numbers

OPSETS = {"": 17, "ai.onnx.ml": 3}


def _model(step: Any, cols: list[Col], context: Context, wide: bool) -> onnx.ModelProto:
    tensor = DoubleTensorType if wide else FloatTensorType
    keywords: dict[str, Any] = {"initial_types": [("X", tensor([None, len(cols)]))], "target_opset": OPSETS}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if is_classifier(step):
                with contextlib.suppress(NameError):
                    return convert_sklearn(step, options={id(step): {"zipmap": False}}, **keywords)
            return convert_sklearn(step, **keywords)
    except Exception as error:
        reason = " ".join(str(error).split())[:160]
        raise context.refuse(
            step, cols, f"neither the exporter nor skl2onnx has it ({type(error).__name__}: {reason})",
            "use another estimator, register a converter with skl2onnx, or write it as a module of your own (modules/BUNDLE.md)",
        ) from error  # fmt: skip


def transformer(step: Any, matrix: str, cols: list[Col], context: Context) -> tuple[str, int]:
    """A transformer's matrix, and how wide it is."""
    graph = context.graph
    model = _model(step, cols, context, True)
    outputs = graph.inline(model, {model.graph.input[0].name: matrix})
    width = len(step.get_feature_names_out())
    return graph.double(outputs[0]), width


def estimator(step: Any, matrix: str, cols: list[Col], context: Context, wide: bool = True) -> Result:
    """An estimator's answer; its classes are found again among the labels."""
    graph = context.graph
    model = _model(step, cols, context, wide)
    given = matrix if wide else graph.cast(matrix, TensorProto.FLOAT)
    outputs = graph.inline(model, {model.graph.input[0].name: given})
    if not is_classifier(step):
        dims = model.graph.output[0].type.tensor_type.shape.dim
        width = dims[1].dim_value if len(dims) == 2 and dims[1].dim_value else 1
        return numbers(graph.op("Reshape", graph.double(outputs[0]), graph.places([-1, width])), width)
    labels = graph.op("Reshape", outputs[0], graph.places([-1, 1]))
    classes = np.asarray(step.classes_)
    if classes.dtype.kind in "OUS":
        known = [str(value) for value in classes]
        # Equality of texts came with a later opset.
        index = graph.op("LabelEncoder", labels, domain="ai.onnx.ml", keys_strings=known, values_int64s=list(range(len(known))), default_int64=-1)
    else:
        same = graph.double(graph.op("Equal", graph.cast(labels, TensorProto.INT64), graph.constant([classes.astype(np.int64)], np.int64)))
        index = graph.op("ArgMax", same, axis=1, keepdims=1)
    likely = graph.double(outputs[1]) if len(outputs) > 1 and hasattr(step, "predict_proba") else None
    return Result(index=index, classes=classes, probabilities=likely)
