"""n-grams of characters, as the analyzers `char` and `char_wb` of scikit-learn's vectorizers count them.

Each character is a number. Both analyzers make one space of several; `char_wb` counts within words alone, with a space on
both sides of each. Characters that go are taken out by their places: what stays of a row moves to the left.
"""

from __future__ import annotations

from typing import Any

from onnx import TensorProto

from .build import PAD, Graph

SPACES = [chr(code) for code in range(0x3001) if chr(code).isspace()]
"""Python's white space, which is what the analyzers look for."""
OTHER = 0
"""A character of no n-gram, and what is behind the end of a text."""
SPACE = 1


def counted(step: Any, text: str, graph: Graph) -> str:
    """The count of each n-gram of the vocabulary in each text: `[rows, n-grams]`."""
    words = step.analyzer == "char_wb"
    numbers = _numbers(step, words)
    found = graph.op("Tokenizer", text, domain="com.microsoft", mark=0, mincharnum=1, pad_value=PAD, tokenexp=".")
    ids = _labels(graph, found, numbers, OTHER)
    none = graph.op("Unsqueeze", _labels(graph, text, {PAD: 0}, 0), graph.places([1]))
    one = graph.op("Add", none, graph.places([SPACE]))
    # At least one column, whatever the texts.
    ids = graph.concat([one, ids, one] if words else [ids, none])
    spaces = [SPACE] if words else sorted({numbers[letter] for letter in SPACES})
    is_space = _whole(graph, graph.op("And", _at_least(graph, ids, spaces[0]), _at_most(graph, ids, spaces[-1])))
    before = graph.concat([none, _slice(graph, is_space, 0, -1)])
    goes = graph.op("Mul", is_space, before)
    counts = _grams(step, _packed(graph, ids, goes, none), numbers, words, graph)
    if words and " " in step.vocabulary_:
        counts = _with_spaces(step, counts, is_space, before, graph)
    return counts


def _numbers(step: Any, words: bool) -> dict[str, int]:
    """The number of each character: white space first."""
    numbers = {" ": SPACE} | {letter: SPACE if words else at for at, letter in enumerate([s for s in SPACES if s != " "], SPACE + 1)}
    first = SPACE + len(SPACES)
    letters = sorted({letter for gram in step.vocabulary_ for letter in gram} - set(SPACES))
    numbers |= {letter: first + at for at, letter in enumerate(letters)}
    return numbers | {PAD: SPACE if words else OTHER}


def _labels(graph: Graph, texts: str, numbers: dict[str, int], other: int) -> str:
    return graph.op(
        "LabelEncoder", texts, domain="ai.onnx.ml", keys_strings=list(numbers), values_int64s=list(numbers.values()), default_int64=other
    )


def _whole(graph: Graph, test: str) -> str:
    return graph.cast(test, TensorProto.INT64)


def _at_least(graph: Graph, value: str, low: int) -> str:
    return graph.op("Greater", value, graph.places([low - 1]))


def _at_most(graph: Graph, value: str, high: int) -> str:
    return graph.op("Less", value, graph.places([high + 1]))


def _slice(graph: Graph, value: str, start: int, end: int) -> str:
    return graph.op("Slice", value, graph.places([start]), graph.places([end]), graph.places([1]))


def _packed(graph: Graph, ids: str, goes: str, none: str) -> str:
    """The rest of each row, moved to the left; `OTHER` behind it."""
    nothing = graph.op("Mul", ids, graph.places([0]))
    ones = graph.op("Add", nothing, graph.places([1]))
    width = graph.sum(ones)
    stays = graph.op("Sub", graph.places([1]), goes)
    place = graph.op("Sub", graph.op("CumSum", stays, graph.scalar(1)), graph.places([1]))
    gone = _at_least(graph, goes, 1)
    # What goes is written behind the end, which is cut off.
    kept = graph.op("ScatterElements", graph.concat([nothing, none]), graph.where(gone, width, place), ids, axis=1)
    # Of several white spaces the first one becomes a space; a line break by itself stays one.
    space = graph.op("Mul", ones, graph.places([SPACE]))
    return _slice(graph, graph.op("ScatterElements", kept, graph.where(gone, place, width), space, axis=1), 0, -1)


def _grams(step: Any, ids: str, numbers: dict[str, int], words: bool, graph: Graph) -> str:
    shortest, longest = step.ngram_range
    pools: dict[int, list[tuple[list[int], int]]] = {}
    for gram, place in step.vocabulary_.items():
        text = str(gram)
        if _occurs(text, shortest, longest, words):
            pools.setdefault(len(text), []).append(([numbers[letter] for letter in text], int(place)))
        else:
            # Counted never, but it has a column.
            pools.setdefault(1, []).append(([-2 - int(place)], int(place)))
    flat: list[int] = []
    starts: list[int] = []
    places: list[int] = []
    for size in range(1, max(pools) + 1):
        starts.append(len(flat))
        for gram_, place in sorted(pools.get(size, [])):
            flat += gram_
            places.append(place)
    return graph.op(
        "TfIdfVectorizer",
        ids,
        max_gram_length=max(pools),
        min_gram_length=min(pools),
        max_skip_count=0,
        mode="TF",
        ngram_counts=starts,
        ngram_indexes=places,
        pool_int64s=flat,
    )


def _occurs(gram: str, shortest: int, longest: int, words: bool) -> bool:
    """Whether the analyzer can make this n-gram. A word that is shorter than any is one as a whole."""
    if not words:
        return shortest <= len(gram) <= longest
    inner = gram[1:-1]
    if not gram or len(gram) > longest or gram == " " or any(letter in SPACES for letter in inner) or gram.isspace():
        return False
    return len(gram) >= shortest or (len(gram) > 2 and gram[0] == gram[-1] == " ")


def _with_spaces(step: Any, counts: str, is_space: str, before: str, graph: Graph) -> str:
    """Each word has a space on both sides, also where two words share one in the text."""
    width, place = len(step.vocabulary_), int(step.vocabulary_[" "])
    starts = graph.op("Mul", graph.op("Sub", graph.places([1]), is_space), before)
    both = graph.op("Mul", graph.sum(starts), graph.places([2]))
    spaces = graph.cast(both, TensorProto.FLOAT)
    if step.ngram_range[0] > 1:
        return counts
    mine = graph.constant([[float(at == place) for at in range(width)]], "float32")
    return graph.op("Add", counts, graph.op("Mul", spaces, mine))
