"""Matrices of so many columns that a row names those that are not zero: places and values side by side.

A linear model gathers the coefficients of these places; whatever else follows is refused, unless it takes a few columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, helper

if TYPE_CHECKING:
    from .build import Graph

DENSEST = 2**16
"""The most columns of such a matrix that are made columns of another one."""


@dataclass(frozen=True)
class Sparse:
    """The entries of each row; a place may stand several times, and its values are added."""

    places: str
    """Whole numbers `[rows, entries]`."""
    values: str
    """Doubles `[rows, entries]`; 0 behind the last entry of a row."""
    width: int


def grouped(graph: Graph, places: str, values: str, valid: str) -> tuple[str, str]:
    """For each entry the sum of the values at its place, and how many valid entries that has."""
    inner = type(graph)(graph.fresh("group") + "_")
    names = {name: f"{inner.prefix}{name}" for name in ("all", "total", "count", "place", "value", "one")}
    same = inner.op("Equal", names["all"], inner.op("Unsqueeze", names["place"], inner.places([1])))

    def added(name: str, entry: str) -> str:
        more = inner.where(same, inner.op("Unsqueeze", names[entry], inner.places([1])), inner.constant([[0.0]]))
        return inner.op("Add", names[name], more)

    outputs = {"all": inner.op("Identity", names["all"]), "total": added("total", "value"), "count": added("count", "one")}
    for name, tensor in outputs.items():
        inner.nodes.append(helper.make_node("Identity", [tensor], [f"{names[name]}_after"], name=f"{names[name]}_after"))
    whole, double = TensorProto.INT64, TensorProto.DOUBLE
    kinds = {"all": whole, "total": double, "count": double, "place": whole, "value": double, "one": double}
    given = [helper.make_tensor_value_info(names[name], kind, None) for name, kind in kinds.items()]
    after = [helper.make_tensor_value_info(f"{names[name]}_after", kinds[name], None) for name in outputs]
    body = helper.make_graph(inner.nodes, "group", given, after, inner.constants)
    zero = graph.op("Mul", values, graph.constant([[0.0]]))
    found = [graph.fresh("scan") for _ in range(3)]
    columns = [graph.op("Transpose", value, perm=[1, 0]) for value in (places, values, valid)]
    graph.nodes.append(
        helper.make_node("Scan", [places, zero, zero, *columns], found, name=found[0], body=body, num_scan_inputs=3)
    )
    return found[1], found[2]


def product(graph: Graph, entries: Sparse, wanted: npt.NDArray[np.int64], weights: npt.NDArray[np.float64]) -> str:
    """The matrix's columns `wanted` times `weights` `[columns, scores]`: `[rows, scores]`."""
    other = np.zeros(weights.shape[1])
    if np.count_nonzero(weights.any(axis=1)) > len(weights) // 2:
        # What most columns have is taken out, so that only those of the training are listed.
        other = weights[int(np.argmin(weights.sum(axis=1)))]
    rest = weights - other
    known = np.flatnonzero(rest.any(axis=1))
    table = np.vstack([np.zeros(weights.shape[1]), rest[known]])
    place = looked_up(graph, entries, wanted[known])
    value = graph.op("Unsqueeze", entries.values, graph.places([2]))
    made = graph.sum(graph.op("Mul", graph.op("Gather", graph.constant(table), place, axis=0), value), axis=1, keep=False)
    if not other.any():
        return made
    own = entries.values
    if len(wanted) < entries.width:
        inside = graph.op("Greater", looked_up(graph, entries, wanted), graph.places([0]))
        own = graph.where(inside, own, graph.constant([[0.0]]))
    return graph.op("Add", made, graph.op("Mul", graph.sum(own), graph.constant([other])))


def looked_up(graph: Graph, entries: Sparse, wanted: Any) -> str:
    """For each entry the place of its column among those wanted, from 1 on; 0 for others."""
    keys = [int(place) for place in wanted] or [-1]
    return graph.op("LabelEncoder", entries.places, domain="ai.onnx.ml", keys_int64s=keys, values_int64s=list(range(1, len(keys) + 1)), default_int64=0)


def dense(graph: Graph, entries: Sparse, wanted: list[int]) -> str:
    """Some columns as a matrix."""
    graph.opset = max(graph.opset, 18)
    place = looked_up(graph, entries, wanted)
    zeros = graph.op("Mul", graph.gather(entries.values, [0]), graph.constant(np.zeros((1, len(wanted) + 1))))
    made = graph.op("ScatterElements", zeros, place, entries.values, axis=1, reduction="add")
    return graph.op("Slice", made, graph.places([1]), graph.places([len(wanted) + 1]), graph.places([1]))
