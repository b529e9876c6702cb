"""HashingVectorizer: MurmurHash3 of each word's UTF-8 bytes, computed with whole numbers.

Each character is looked up as its bytes, bytes are gathered into blocks of four, and a scan goes over the blocks. Numbers
of 32 bits stand in 64, so that products are taken in two parts.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from .build import PAD, Graph
from .columns import Col, Context, spread
from .sparse import Sparse, grouped

WIDEST = 2**16
"""The most features: a row of them is a row of the matrix behind."""
WORD = 2**32


@lru_cache(maxsize=1)
def _bytes() -> tuple[list[str], list[int]]:
    """Every character that a word may have, and its bytes as a number, the first one lowest."""
    letters = [chr(code) for code in range(sys.maxunicode + 1) if chr(code).isalnum() or chr(code) == "_"]
    known = [*letters, " ", PAD]
    return known, [*(int.from_bytes(letter.encode(), "little") for letter in known[:-1]), 0]


def hashed(step: Any, tokens: str, cols: list[Col], context: Context) -> list[Col]:
    """The columns that the words `[rows, words]` of each row fall into."""
    graph = context.graph
    count = int(step.n_features)
    graph.opset = max(graph.opset, 20 if step.ngram_range[1] > 1 else 18)
    shortest, longest = step.ngram_range
    # A column of nothing more, whatever the texts, and one for each place behind a word.
    none = _nothing(graph, tokens)
    wide = graph.concat([tokens, *[none] * longest])
    grams = graph.concat([_grams(graph, wide, size, longest) for size in range(shortest, longest + 1)])
    valid = graph.op("LabelEncoder", graph.concat([_last(graph, wide, size, longest) for size in range(shortest, longest + 1)]), domain="ai.onnx.ml", keys_strings=[PAD], values_int64s=[0], default_int64=1)
    if stop := step.get_stop_words():
        own = graph.op("LabelEncoder", grams, domain="ai.onnx.ml", keys_strings=sorted(stop), values_int64s=[0] * len(stop), default_int64=1)
        valid = graph.op("Mul", valid, own)
    code = murmur(graph, graph.op("Reshape", grams, graph.places([-1])))
    code = graph.op("Reshape", code, graph.op("Shape", grams))
    signed = graph.where(graph.op("GreaterOrEqual", code, graph.places([2**31])), graph.op("Sub", code, graph.places([WORD])), code)
    place = graph.op("Mod", graph.op("Abs", signed), graph.places([count]))
    least = graph.op("Equal", signed, graph.places([-(2**31)]))
    place = graph.where(least, graph.places([(2**31 - 1 - (count - 1)) % count]), place)
    value = graph.double(valid)
    if step.alternate_sign and not step.binary:
        negative = graph.op("Less", signed, graph.places([0]))
        value = graph.op("Mul", value, graph.where(negative, graph.constant([[-1.0]]), graph.constant([[1.0]])))
    if count > WIDEST:
        return _entries(step, place, value, graph.double(valid), cols, graph)
    zeros = graph.op("Mul", graph.gather(value, [0]), graph.constant(np.zeros((1, count))))
    made = graph.op("ScatterElements", zeros, place, value, axis=1, reduction="add")
    if step.binary:
        made = graph.double(graph.op("Greater", made, graph.constant([[0.0]])))
    if step.norm is not None:
        from .words import normed

        made = normed(graph, made, step.norm)
    return spread(cols, made, count)


def _entries(step: Any, places: str, values: str, valid: str, cols: list[Col], graph: Graph) -> list[Col]:
    """The columns of a matrix that is too wide to be made: each row names the places of its words."""
    zero = graph.constant([[0.0]])
    if step.binary or step.norm is not None:
        total, count = grouped(graph, places, values, valid)
        # Each of the entries of one place has its part of it.
        part = graph.op("Div", valid, graph.where(graph.op("Greater", count, zero), count, graph.constant([[1.0]])))
        if step.binary:
            values, total = part, graph.op("Greater", count, zero)
            total = graph.double(total)
        if step.norm is not None:
            one = graph.op("Abs", total) if step.norm == "l1" else graph.op("Mul", total, total)
            size = graph.sum(graph.op("Mul", part, one))
            size = size if step.norm == "l1" else graph.op("Sqrt", size)
            values = graph.op("Div", values, graph.where(graph.op("Equal", size, zero), graph.constant([[1.0]]), size))
    width = int(step.n_features)
    name = graph.fresh("entries")
    graph.sparse[name] = Sparse(places, values, width)
    return spread(cols, name, width)


def _nothing(graph: Graph, tokens: str) -> str:
    """One column of padding."""
    none = graph.op("LabelEncoder", tokens, domain="ai.onnx.ml", keys_strings=[PAD], values_int64s=[0], default_int64=0)
    return graph.op("LabelEncoder", graph.sum(none), domain="ai.onnx.ml", keys_int64s=[0], values_strings=[PAD], default_string=PAD)


def _slice(graph: Graph, wide: str, start: int, longest: int) -> str:
    """As many columns as there are words, and one, from a place on."""
    end = start - longest + 1
    return graph.op("Slice", wide, graph.places([start]), graph.places([end if end else np.iinfo(np.int64).max]), graph.places([1]))


def _grams(graph: Graph, wide: str, size: int, longest: int) -> str:
    """Words one behind the other, with spaces."""
    made = _slice(graph, wide, 0, longest)
    for at in range(1, size):
        made = graph.op("StringConcat", graph.op("StringConcat", made, graph.constant([[" "]], object)), _slice(graph, wide, at, longest))
    return made


def _last(graph: Graph, wide: str, size: int, longest: int) -> str:
    return _slice(graph, wide, size - 1, longest)


def murmur(graph: Graph, words: str) -> str:
    """MurmurHash3 of 32 bits with the seed 0, of texts `[words]`."""
    keys, values = _bytes()
    letters = graph.op("Tokenizer", words, domain="com.microsoft", mark=0, mincharnum=1, pad_value=PAD, tokenexp=".")
    own = graph.op("LabelEncoder", letters, domain="ai.onnx.ml", keys_strings=keys, values_int64s=values, default_int64=0)
    sizes = None
    for limit in (1, 2**8, 2**16, 2**24):
        more = graph.cast(graph.op("GreaterOrEqual", own, graph.places([limit])), TensorProto.INT64)
        sizes = more if sizes is None else graph.op("Add", sizes, more)
    assert sizes is not None
    ends = graph.op("CumSum", sizes, graph.scalar(1))
    start = graph.op("Sub", ends, sizes)
    length = graph.op("Squeeze", graph.sum(sizes), graph.places([1]))
    four = graph.places([4])
    factor = graph.op("Gather", graph.places([1, 2**8, 2**16, 2**24]), graph.op("Mod", start, four), axis=0)
    moved = graph.op("Mul", own, factor)
    block = graph.op("Div", start, four)
    zero = graph.op("Mul", own, graph.places([0]))
    one_zero = graph.op("Mul", graph.op("Unsqueeze", length, graph.places([1])), graph.places([0]))
    blocks = graph.concat([zero, one_zero, one_zero])
    blocks = graph.op("ScatterElements", blocks, block, graph.op("Mod", moved, graph.places([WORD])), axis=1, reduction="add")
    behind = graph.op("Add", block, graph.places([1]))
    blocks = graph.op("ScatterElements", blocks, behind, graph.op("Div", moved, graph.places([WORD])), axis=1, reduction="add")
    state = _scanned(graph, graph.op("Transpose", blocks, perm=[1, 0]), length)
    state = graph.op("BitwiseXor", state, length)
    for shift, factor_ in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, None)):
        state = graph.op("BitwiseXor", state, graph.op("Div", state, graph.places([2**shift])))
        state = state if factor_ is None else _times(graph, state, factor_)
    return state


def _times(graph: Graph, value: str, factor: int) -> str:
    """A product of 32 bits."""
    low = graph.op("Mul", value, graph.places([factor % 2**16]))
    high = graph.op("Mod", graph.op("Mul", value, graph.places([factor // 2**16])), graph.places([2**16]))
    both = graph.op("Add", low, graph.op("Mul", high, graph.places([2**16])))
    return graph.op("Mod", both, graph.places([WORD]))


def _turned(graph: Graph, value: str, bits: int) -> str:
    """The bits moved to the left, and those that leave on the right again."""
    left = graph.op("Mod", graph.op("Mul", value, graph.places([2**bits])), graph.places([WORD]))
    return graph.op("Add", left, graph.op("Div", value, graph.places([2 ** (32 - bits)])))


def _scanned(graph: Graph, blocks: str, length: str) -> str:
    """The state behind all blocks: whole ones, the bytes that remain, and nothing."""
    inner = Graph(graph.fresh("block") + "_")
    state, at, whole, block = "hash", "at", "whole", "block"
    mixed = _times(inner, _turned(inner, _times(inner, block, 0xCC9E2D51), 15), 0x1B873593)
    met = inner.op("BitwiseXor", state, mixed)
    full = inner.op("Add", inner.op("Mul", _turned(inner, met, 13), inner.places([5])), inner.places([0xE6546B64]))
    full = inner.op("Mod", full, inner.places([WORD]))
    kept = inner.where(inner.op("Equal", at, whole), met, state)
    kept = inner.where(inner.op("Less", at, whole), full, kept)
    outputs = {"next_hash": kept, "next_at": inner.op("Add", at, inner.places([1])), "next_whole": inner.op("Identity", whole)}
    for name, tensor in outputs.items():
        inner.nodes.append(helper.make_node("Identity", [tensor], [name], name=name))
    kinds = {name: helper.make_tensor_value_info(name, TensorProto.INT64, None) for name in (state, at, whole, block, *outputs)}
    body = helper.make_graph(
        inner.nodes, "block", [kinds[state], kinds[at], kinds[whole], kinds[block]], [kinds[name] for name in outputs], inner.constants
    )
    zero = graph.op("Mul", length, graph.places([0]))
    found = [graph.fresh("scan") for _ in range(3)]
    node: onnx.NodeProto = helper.make_node(
        "Scan", [zero, zero, graph.op("Div", length, graph.places([4])), blocks], found, name=found[0], body=body, num_scan_inputs=1
    )
    graph.nodes.append(node)
    return found[0]
