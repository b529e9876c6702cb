"""Makes the fixtures that are no tables: `tensors/*.onnx`, for the tests of tensors as they are.

    uv venv && uv pip install -r requirements.txt && python make_tensors.py
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OUT = Path(__file__).parent / "tensors"


def save(name, nodes, inputs, outputs, constants=()):
    value = lambda name, kind, shape: helper.make_tensor_value_info(name, kind, shape)
    graph = helper.make_graph(
        nodes,
        "g",
        [value(*each) for each in inputs],
        [value(*each) for each in outputs],
        [numpy_helper.from_array(array, name) for name, array in constants],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="modelgate")
    model.ir_version = 8
    onnx.checker.check_model(model)
    OUT.mkdir(exist_ok=True)
    (OUT / f"{name}.onnx").write_bytes(model.SerializeToString())


# What carries a state from one call to the next: layers first, and a rate beside it.
save(
    "state",
    [
        helper.make_node("Cast", ["rate"], ["scale"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["x", "state"], ["sum"]),
        helper.make_node("Mul", ["sum", "scale"], ["next"]),
        helper.make_node("ReduceSum", ["next"], ["total"], keepdims=0),
    ],
    [
        ("x", TensorProto.FLOAT, ["batch", 3]),
        ("state", TensorProto.FLOAT, [2, "batch", 3]),
        ("rate", TensorProto.INT64, []),
    ],
    [("next", TensorProto.FLOAT, [2, "batch", 3]), ("total", TensorProto.FLOAT, [])],
)

# An image of any size, whose sizes decide the branch: no plan with symbols can be built.
save(
    "sizes",
    [
        helper.make_node("Shape", ["image"], ["shape"]),
        helper.make_node("Gather", ["shape", "two"], ["height"]),
        helper.make_node("Equal", ["height", "one"], ["flat"]),
        helper.make_node(
            "If",
            ["flat"],
            ["y"],
            then_branch=helper.make_graph(
                [helper.make_node("Squeeze", ["image", "two"], ["squeezed"])],
                "then",
                [],
                [helper.make_tensor_value_info("squeezed", TensorProto.FLOAT, None)],
            ),
            else_branch=helper.make_graph(
                [helper.make_node("ReduceMax", ["image"], ["highest"], axes=[2, 3], keepdims=0)],
                "else",
                [],
                [helper.make_tensor_value_info("highest", TensorProto.FLOAT, None)],
            ),
        ),
        helper.make_node("ReduceSum", ["y"], ["sum"], keepdims=0),
        helper.make_node("Add", ["image", "sum"], ["moved"]),
    ],
    [("image", TensorProto.FLOAT, ["batch", 1, "height", "width"])],
    [("moved", TensorProto.FLOAT, ["batch", 1, "height", "width"])],
    [("one", np.array([1])), ("two", np.array([2]))],
)
