"""Writes an ONNX graph node by node, in double precision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from .sparse import Sparse

PRODUCER = "modelgate_exporter"

MISSING = "\ue001"
"""Stands for a missing text, where the graph takes texts; of the private use area, too."""

PAD = "\ue000"
"""Stands behind the last match of a row; of the private use area, so that no text has it."""


@dataclass
class Strings:
    """The texts behind the columns of a graph."""

    inputs: dict[str, str] | None = None
    """The tensor of each input of texts; `None` where the graph takes codes."""
    nullable: set[str] = field(default_factory=set)
    """Inputs that may be missing."""
    made: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    """For the codes of a text that was made: the text, and whether the row has none (`[rows, 1]` booleans)."""
    pending: list[tuple[onnx.NodeProto, Any]] = field(default_factory=list)
    """Nodes that find codes, whose lists are not complete yet."""

    def complete(self) -> None:
        """Writes into each node the texts that its column is asked about."""
        for node, words in self.pending:
            values = words.values or [PAD]
            node.attribute.extend(
                [
                    onnx.helper.make_attribute("keys_strings", values),
                    onnx.helper.make_attribute("values_int64s", list(range(len(values)))),
                ]
            )


class Graph:
    """Nodes and constants in order; equal ones are written once."""

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.ml_opset = 3
        self.opset = 17
        self._known: dict[Any, Any] = {}
        self._count = 0
        self.strings = Strings()
        self.refusals: list[str] = []
        """Tests `[rows, 1]` of which each refuses the rows that it holds for."""
        self.never: set[str] = set()
        """Tests that hold for no row."""
        self.gaps = False
        """Whether a step may give a row no number: a function, or a table of the training."""
        self.foreign: Any = None
        """The stage in Python ahead of the graph, where there may be one."""
        self.sparse: dict[str, Sparse] = {}
        """The entries of matrices that no tensor holds as a whole, by the name of the tensor that stands for them."""

    def fresh(self, stem: str) -> str:
        """A name that no tensor has."""
        self._count += 1
        return f"{self.prefix}{stem}_{self._count}"

    def input(self, name: str, kind: int, width: int) -> str:
        """An input of `width` values a row."""
        self.inputs.append(helper.make_tensor_value_info(name, kind, [None, width]))
        return name

    def op(self, kind: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """The only output of a node."""
        return self.ops(kind, *inputs, outputs=1, domain=domain, **attributes)[0]

    def ops(
        self, kind: str, *inputs: str, outputs: int, domain: str = "", **attributes: Any
    ) -> list[str]:
        """The outputs of a node; the same node is written once."""
        key = (kind, inputs, outputs, domain, repr(sorted(attributes.items(), key=lambda entry: entry[0])))
        plain = all(not isinstance(value, onnx.TensorProto) for value in attributes.values())
        if plain and key in self._known:
            known: list[str] = self._known[key]
            return known
        names = [self.fresh(kind.lower()) for _ in range(outputs)]
        node = helper.make_node(kind, list(inputs), names, domain=domain, name=names[0], **attributes)
        self.nodes.append(node)
        if plain:
            self._known[key] = names
        return names

    def constant(self, value: Any, dtype: Any = np.float64) -> str:
        """A constant, of doubles by itself; `object` makes strings."""
        array = np.asarray(value, dtype)
        content = tuple(array.ravel().tolist()) if array.dtype == object else array.tobytes()
        key = ("constant", str(array.dtype), array.shape, content)
        if key in self._known:
            return str(self._known[key])
        name = self.fresh("constant")
        if array.dtype == object:
            texts = [str(text).encode() for text in array.ravel()]
            tensor = helper.make_tensor(name, TensorProto.STRING, list(array.shape), texts)
        else:
            tensor = onnx.numpy_helper.from_array(np.ascontiguousarray(array), name)
        self.constants.append(tensor)
        self._known[key] = name
        return name

    def scalar(self, value: int) -> str:
        """A constant whole number without a dimension, as some operators take their axis."""
        key = ("scalar", value)
        if key not in self._known:
            name = self.fresh("constant")
            self.constants.append(helper.make_tensor(name, TensorProto.INT64, [], [value]))
            self._known[key] = name
        return str(self._known[key])

    def places(self, values: Sequence[int]) -> str:
        """A constant of indices."""
        return self.constant(np.asarray(values, np.int64), np.int64)

    def cast(self, value: str, kind: int) -> str:
        """The value as another type."""
        return self.op("Cast", value, to=kind)

    def double(self, value: str) -> str:
        """The value as doubles: a test becomes 0 and 1."""
        return self.cast(value, TensorProto.DOUBLE)

    def concat(self, values: Sequence[str]) -> str:
        """Tensors side by side."""
        return values[0] if len(values) == 1 else self.op("Concat", *values, axis=1)

    def gather(self, matrix: str, places: Sequence[int]) -> str:
        """Some columns of a matrix."""
        return self.op("Gather", matrix, self.places(places), axis=1)

    def where(self, test: str, yes: str, no: str) -> str:
        """`yes` where the test holds."""
        return self.op("Where", test, yes, no)

    def affine(self, matrix: str, weights: npt.NDArray[Any], bias: Any = None) -> str:
        """`matrix @ weights + bias`."""
        product = self.op("MatMul", matrix, self.constant(weights))
        if bias is None or not np.any(bias):
            return product
        return self.op("Add", product, self.constant(np.atleast_2d(np.asarray(bias, np.float64))))

    def sum(self, matrix: str, axis: int = 1, keep: bool = True) -> str:
        """The sum over an axis."""
        return self.op("ReduceSum", matrix, self.places([axis]), keepdims=int(keep))

    def add(self, values: Sequence[str]) -> str:
        """The sum of tensors, in order."""
        total = values[0]
        for value in values[1:]:
            total = self.op("Add", total, value)
        return total

    def tidy(self, value: str) -> str:
        """Missing values as NaN of one kind, which nothing else depends on."""
        return self.op("Identity", value)

    def inline(self, model: onnx.ModelProto, feed: dict[str, str]) -> list[str]:
        """The outputs of another graph, whose inputs are tensors of this one."""
        prefix = self.fresh("inner") + "_"
        names = dict(feed)
        for tensor in model.graph.initializer:
            copy = onnx.TensorProto()
            copy.CopyFrom(tensor)
            copy.name = names[tensor.name] = prefix + tensor.name
            self.constants.append(copy)

        def renamed(nodes: Any, scope: dict[str, str]) -> list[onnx.NodeProto]:
            made = []
            for node in nodes:
                copy = onnx.NodeProto()
                copy.CopyFrom(node)
                copy.name = prefix + node.name
                for place, name in enumerate(node.input):
                    copy.input[place] = scope.get(name, name)
                for place, name in enumerate(node.output):
                    if name:
                        copy.output[place] = scope[name] = prefix + name
                for attribute in copy.attribute:
                    if attribute.type == onnx.AttributeProto.GRAPH:
                        inner = dict(scope)
                        for entry in [*attribute.g.input, *attribute.g.initializer]:
                            inner[entry.name] = entry.name = prefix + entry.name
                        fresh = renamed(attribute.g.node, inner)
                        del attribute.g.node[:]
                        attribute.g.node.extend(fresh)
                        for output in attribute.g.output:
                            output.name = inner.get(output.name, output.name)
                made.append(copy)
            return made

        self.nodes += renamed(model.graph.node, names)
        for entry in model.opset_import:
            if entry.domain == "ai.onnx.ml":
                self.ml_opset = max(self.ml_opset, entry.version)
        return [names[output.name] for output in model.graph.output]

    def refuse(self, test: str) -> None:
        """Has rows refused for which a test holds."""
        if test not in self.refusals:
            self.refusals.append(test)

    def finish(self, name: str, outputs: Sequence[tuple[str, str, int, Sequence[Any]]]) -> onnx.ModelProto:
        """The whole model. Each output has a name, its tensor, its type and its shape."""
        for output, tensor, _, _ in outputs:
            self.nodes.append(helper.make_node("Identity", [tensor], [output], name=output))
        made = helper.make_graph(
            self._needed([output for output, *_ in outputs]),
            name,
            self.inputs,
            [helper.make_tensor_value_info(o, kind, list(shape)) for o, _, kind, shape in outputs],
        )
        used = {name for node in made.node for name in _read(node)}
        made.initializer.extend(tensor for tensor in self.constants if tensor.name in used)
        domains = {node.domain for node in made.node}
        opsets = [helper.make_opsetid("", self.opset)]
        if self.opset >= 18:
            _axes_as_inputs(made)
        if "ai.onnx.ml" in domains:
            opsets.append(helper.make_opsetid("ai.onnx.ml", self.ml_opset))
        if "com.microsoft" in domains:
            opsets.append(helper.make_opsetid("com.microsoft", 1))
        return helper.make_model(made, opset_imports=opsets, ir_version=8 if self.opset < 19 else 9, producer_name=PRODUCER)

    def _needed(self, outputs: list[str]) -> list[onnx.NodeProto]:
        """The nodes that the outputs depend on."""
        wanted, kept = set(outputs), []
        for node in reversed(self.nodes):
            if wanted & set(node.output):
                kept.append(node)
                wanted |= _read(node)
        return kept[::-1]


def _axes_as_inputs(made: onnx.GraphProto) -> None:
    """Since opset 18 all reductions take their axes as ReduceSum does."""
    for node in made.node:
        axes = [attribute for attribute in node.attribute if attribute.name == "axes"]
        if node.op_type.startswith("Reduce") and axes:
            name = f"{node.name}_axes"
            made.initializer.append(helper.make_tensor(name, TensorProto.INT64, [len(axes[0].ints)], list(axes[0].ints)))
            node.input.append(name)
            node.attribute.remove(axes[0])


def _read(node: onnx.NodeProto) -> set[str]:
    """The names that a node and the graphs within it read."""
    names = set(node.input)
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            for inner in attribute.g.node:
                names |= _read(inner)
            names |= {output.name for output in attribute.g.output}
    return names
