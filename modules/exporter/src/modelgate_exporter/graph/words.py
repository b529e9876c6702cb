"""Text vectorizers: words of a text and how often they occur."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from . import characters
from .build import Graph
from .columns import Col, Context, spread
from .elementwise import Untraceable
from .patterns import LETTERS
from .strings import source, tokens

ADVICE = "use analyzer='word' (with the usual token_pattern), 'char' or 'char_wb', with lowercase=True or False, or count words before the request"


def vectorized(step: Any, cols: list[Col], context: Context) -> list[Col]:
    """CountVectorizer, TfidfVectorizer and HashingVectorizer."""
    graph = context.graph
    words = taken(step, cols, context)
    _plain(step, cols, context)
    pattern = _pattern(step, cols, context) if step.analyzer == "word" else None
    if step.lowercase:
        words = graph.op("StringNormalizer", words, case_change_action="LOWER", locale="C.UTF-8", is_case_sensitive=1)
    if type(step).__name__ == "HashingVectorizer":
        return _hashed(step, words, pattern, cols, context)
    if pattern is None:
        counts = graph.double(characters.counted(step, words, graph))
    else:
        found = tokens(graph, words, pattern)
        both = step.stop_words is not None and step.ngram_range[1] > 1
        counts = graph.double(_counted(step, *(_without(step, found, graph) if both else (found, None)), context))
    width = len(step.vocabulary_)
    if step.binary:
        counts = graph.double(graph.op("Greater", counts, graph.constant([[0.0]])))
    if hasattr(step, "_tfidf"):
        counts = weighted(step._tfidf, counts, context)
    return spread(cols, counts, width)


def _hashed(step: Any, words: str, pattern: str | None, cols: list[Col], context: Context) -> list[Col]:
    from .hashing import hashed

    if pattern is None:
        raise context.refuse(step, cols, f"hashes of analyzer={step.analyzer!r} have no operator", "use analyzer='word', or TfidfVectorizer")
    if step.get_stop_words() and step.ngram_range[1] > 1:
        raise context.refuse(step, cols, "it leaves stop words out between the words of an n-gram", "use ngram_range=(1, 1), no stop_words, or TfidfVectorizer")
    return hashed(step, tokens(context.graph, words, pattern), cols, context)


def _without(step: Any, found: str, graph: Graph) -> tuple[str, dict[str, int]]:
    """The words that stay, as numbers, moved to the left; 0 behind them and for words of no n-gram."""
    known = sorted({word for gram in step.vocabulary_ for word in gram.split(" ")})
    numbers = {word: at for at, word in enumerate(known, 1)}
    stop = step.get_stop_words()
    ids = graph.op("LabelEncoder", found, domain="ai.onnx.ml", keys_strings=known, values_int64s=list(numbers.values()), default_int64=0)
    stays = graph.op("LabelEncoder", found, domain="ai.onnx.ml", keys_strings=sorted(stop), values_int64s=[0] * len(stop), default_int64=1)
    none = graph.op("Mul", graph.sum(stays), graph.places([0]))
    ids, stays = graph.concat([ids, none]), graph.concat([stays, none])
    nothing = graph.op("Mul", ids, graph.places([0]))
    width = graph.sum(graph.op("Add", nothing, graph.places([1])))
    place = graph.op("Sub", graph.op("CumSum", stays, graph.scalar(1)), graph.places([1]))
    # Words that go are written behind the end, which is cut off.
    place = graph.where(graph.op("Greater", stays, graph.places([0])), place, width)
    packed = graph.op("ScatterElements", graph.concat([nothing, none]), place, ids, axis=1)
    return graph.op("Slice", packed, graph.places([0]), graph.places([-1]), graph.places([1])), numbers


def taken(step: Any, cols: list[Col], context: Context) -> str:
    """The texts of the only column, `[rows]`."""
    if len(cols) != 1 or cols[0].kind not in ("category", "text"):
        raise context.refuse(step, cols, "it takes one column of text", "give it the column by its name, as a string")
    try:
        text, lost = source(context.graph, cols[0])
    except Untraceable as error:
        raise context.refuse(step, cols, str(error), "make the text of columns as they are in the request, by functions that the README lists") from error
    if lost is not None:
        raise context.refuse(step, cols, "the text may be missing", "fill it before (fillna, or SimpleImputer with a fill_value)")
    return text


def _plain(step: Any, cols: list[Col], context: Context) -> None:
    for name, usual in (("tokenizer", None), ("preprocessor", None), ("strip_accents", None)):
        if getattr(step, name) is not usual:
            raise context.refuse(step, cols, f"{name}= has no operator", ADVICE)
    if step.analyzer not in ("word", "char", "char_wb"):
        raise context.refuse(step, cols, "an analyzer of your own has no operator", ADVICE)


def _pattern(step: Any, cols: list[Col], context: Context) -> str:
    simple = {r"(?u)\b\w\w+\b": f"[{LETTERS}][{LETTERS}]+", r"(?u)\b\w+\b": f"[{LETTERS}]+"}
    simple |= {pattern.removeprefix("(?u)"): ours for pattern, ours in list(simple.items())}
    simple |= {r"\w+": f"[{LETTERS}]+", r"\w\w+": f"[{LETTERS}][{LETTERS}]+", r"(?u)\w+": f"[{LETTERS}]+"}
    if step.token_pattern in simple:
        return simple[step.token_pattern]
    if re.search(r"\\[bBAZ]|\(|\^|\$|\\[wds]", step.token_pattern):
        raise context.refuse(step, cols, f"its token_pattern {step.token_pattern!r} has no equivalent", ADVICE)
    return str(step.token_pattern)


def _counted(step: Any, found: str, numbers: dict[str, int] | None, context: Context) -> str:
    """The count of each n-gram of the vocabulary, of words or of their numbers."""
    shortest, longest = step.ngram_range
    pools: dict[int, list[tuple[list[str], int]]] = {size: [] for size in range(1, longest + 1)}
    for text, place in step.vocabulary_.items():
        words = text.split(" ")
        pools[len(words)].append((words, int(place)))
    flat: list[Any] = []
    starts, places = [], []
    for size in range(1, longest + 1):
        starts.append(len(flat))
        for words, place in sorted(pools[size]):
            flat += words if numbers is None else [numbers[word] for word in words]
            places.append(place)
    return context.graph.op(
        "TfIdfVectorizer",
        found,
        max_gram_length=longest,
        min_gram_length=shortest,
        max_skip_count=0,
        mode="TF",
        ngram_counts=starts,
        ngram_indexes=places,
        **({"pool_strings": flat} if numbers is None else {"pool_int64s": flat}),
    )


def weighted(step: Any, counts: str, context: Context) -> str:
    """TfidfTransformer."""
    graph = context.graph
    if step.sublinear_tf:
        some = graph.op("Greater", counts, graph.constant([[0.0]]))
        safe = graph.where(some, counts, graph.constant([[1.0]]))
        counts = graph.where(some, graph.op("Add", graph.op("Log", safe), graph.constant([[1.0]])), counts)
    if step.use_idf:
        counts = graph.op("Mul", counts, graph.constant([np.asarray(step.idf_, np.float64)]))
    if step.norm is None:
        return counts
    return normed(graph, counts, step.norm)


def normed(graph: Graph, counts: str, norm: str) -> str:
    """Each row divided by its length, where it has one."""
    size = graph.sum(graph.op("Abs", counts)) if norm == "l1" else graph.op("Sqrt", graph.sum(graph.op("Mul", counts, counts)))
    zero = graph.op("Equal", size, graph.constant([[0.0]]))
    return graph.op("Div", counts, graph.where(zero, graph.constant([[1.0]]), size))


def tfidf(step: Any, cols: list[Col], context: Context) -> list[Col]:
    """TfidfTransformer behind a CountVectorizer."""
    return spread(cols, weighted(step, context.matrix(cols, step), context), len(cols))
