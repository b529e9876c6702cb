"""Writes bad_values/*.onnx: graphs that cannot take every value of their input's type. Needs `onnx`."""

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper


def write(name, nodes, inputs, outputs, constants):
    value = lambda name, kind, dims: helper.make_tensor_value_info(name, kind, ["N", *dims])
    tensors = [numpy_helper.from_array(numpy.asarray(array), key) for key, array in constants.items()]
    graph = helper.make_graph(nodes, name, [value(*each) for each in inputs], [value(*each) for each in outputs], tensors)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), f"bad_values/{name}.onnx")


# A row of a table for each index: five rows.
write("embedding", [helper.make_node("Gather", ["table", "x"], ["y"])], [("x", TensorProto.INT64, [])],
      [("y", TensorProto.FLOAT, [2])], {"table": numpy.arange(10, dtype=numpy.float32).reshape(5, 2)})
# On at the index; all off where there is none.
write("one_hot", [helper.make_node("OneHot", ["x", "depth", "values"], ["y"])], [("x", TensorProto.INT64, [])],
      [("y", TensorProto.FLOAT, [4])], {"depth": numpy.array([4]), "values": numpy.array([0, 1], numpy.float32)})
# Two known texts, and no column for others.
write("categories", [helper.make_node("OneHotEncoder", ["x"], ["y"], domain="ai.onnx.ml", cats_strings=["a", "b"], zeros=0)],
      [("x", TensorProto.STRING, [])], [("y", TensorProto.FLOAT, [2])], {})
# A text that is read as a number.
write("number", [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)], [("x", TensorProto.STRING, [])],
      [("y", TensorProto.FLOAT, [])], {})
