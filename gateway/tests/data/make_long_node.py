"""Writes long_node.onnx beside itself: a graph of which one node takes seconds for a few thousand rows.

    uv run --with onnx python make_long_node.py
"""

from pathlib import Path

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper


def integers(name, *values):
    return numpy_helper.from_array(np.array(values, np.int64), name)


nodes = [
    helper.make_node("Expand", ["x", "wide"], ["e"]),
    helper.make_node("Transpose", ["e"], ["t"], perm=[1, 0]),
    helper.make_node("MatMul", ["e", "t"], ["p"]),
    helper.make_node("ReduceSum", ["p", "axis"], ["y"], keepdims=1),
]
column = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 1])
graph = helper.make_graph(
    nodes,
    "long_node",
    [column("x")],
    [column("y")],
    [integers("wide", 1, 8192), integers("axis", 1)],
    doc_string="One product of n by 8192 by n numbers, in one node.",
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
checker.check_model(model)
(Path(__file__).parent / "long_node.onnx").write_bytes(model.SerializeToString())
