"""Writes unsupported.onnx: a graph with two operators that nobody has. Needs `onnx`."""

import onnx
from onnx import TensorProto, helper

x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 54])
y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 54])
nodes = [
    helper.make_node("Frobnicate", ["x"], ["a"], name="first"),
    helper.make_node("Relu", ["a"], ["b"], name="fine"),
    helper.make_node("Defenestrate", ["b"], ["y"], name="second", domain="ai.onnx.ml"),
]
graph = helper.make_graph(nodes, "unsupported", [x], [y])
opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), "unsupported.onnx")
