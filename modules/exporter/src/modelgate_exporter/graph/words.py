"""Text vectorizers: words of a text and how often they occur."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from . import characters
from .columns import Col, Context, NeedsTexts, spread
from .patterns import LETTERS

ADVICE = "use analyzer='word' (with the usual token_pattern), 'char' or 'char_wb', with lowercase=True or False, or count words before the request"


def vectorized(step: Any, cols: list[Col], context: Context) -> list[Col]:
    """CountVectorizer and TfidfVectorizer."""
    graph = context.graph
    if len(cols) != 1 or not cols[0].raw or cols[0].kind not in ("category", "text"):
        raise context.refuse(step, cols, "it takes one column of text as it is in the request", "give it the column by its name, as a string")
    text = context.options.get("texts", {}).get(cols[0].roots[0].name)
    if text is None:
        raise NeedsTexts
    _plain(step, cols, context)
    pattern = _pattern(step, cols, context) if step.analyzer == "word" else None
    words = graph.op("Squeeze", text, graph.places([1]))
    if step.lowercase:
        words = graph.op("StringNormalizer", words, case_change_action="LOWER", locale="C.UTF-8", is_case_sensitive=1)
    if pattern is None:
        counts = graph.double(characters.counted(step, words, graph))
    else:
        tokens = graph.op(
            "Tokenizer", words, domain="com.microsoft", mark=0, mincharnum=1, pad_value="#", tokenexp=pattern
        )
        counts = graph.double(_counted(step, tokens, context))
    width = len(step.vocabulary_)
    if step.binary:
        counts = graph.double(graph.op("Greater", counts, graph.constant([[0.0]])))
    if hasattr(step, "_tfidf"):
        counts = weighted(step._tfidf, counts, context)
    return spread(cols, counts, width)


def _plain(step: Any, cols: list[Col], context: Context) -> None:
    for name, usual in (("tokenizer", None), ("preprocessor", None), ("strip_accents", None)):
        if getattr(step, name) is not usual:
            raise context.refuse(step, cols, f"{name}= has no operator", ADVICE)
    if step.analyzer not in ("word", "char", "char_wb"):
        raise context.refuse(step, cols, "an analyzer of your own has no operator", ADVICE)


def _pattern(step: Any, cols: list[Col], context: Context) -> str:
    if step.stop_words is not None and step.ngram_range[1] > 1:
        raise context.refuse(step, cols, "stop words between the words of an n-gram have no operator", "use ngram_range=(1, 1), or no stop_words")
    simple = {r"(?u)\b\w\w+\b": f"[{LETTERS}][{LETTERS}]+", r"(?u)\b\w+\b": f"[{LETTERS}]+"}
    simple |= {pattern.removeprefix("(?u)"): ours for pattern, ours in list(simple.items())}
    simple |= {r"\w+": f"[{LETTERS}]+", r"\w\w+": f"[{LETTERS}][{LETTERS}]+", r"(?u)\w+": f"[{LETTERS}]+"}
    if step.token_pattern in simple:
        return simple[step.token_pattern]
    if re.search(r"\\[bBAZ]|\(|\^|\$|\\[wds]", step.token_pattern):
        raise context.refuse(step, cols, f"its token_pattern {step.token_pattern!r} has no equivalent", ADVICE)
    return str(step.token_pattern)


def _counted(step: Any, tokens: str, context: Context) -> str:
    shortest, longest = step.ngram_range
    pools: dict[int, list[tuple[list[str], int]]] = {size: [] for size in range(1, longest + 1)}
    for text, place in step.vocabulary_.items():
        words = text.split(" ")
        pools[len(words)].append((words, int(place)))
    flat: list[str] = []
    starts, places = [], []
    for size in range(1, longest + 1):
        starts.append(len(flat))
        for words, place in sorted(pools[size]):
            flat += words
            places.append(place)
    return context.graph.op(
        "TfIdfVectorizer",
        tokens,
        max_gram_length=longest,
        min_gram_length=shortest,
        max_skip_count=0,
        mode="TF",
        ngram_counts=starts,
        ngram_indexes=places,
        pool_strings=flat,
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
    size = graph.sum(graph.op("Abs", counts)) if step.norm == "l1" else graph.op("Sqrt", graph.sum(graph.op("Mul", counts, counts)))
    zero = graph.op("Equal", size, graph.constant([[0.0]]))
    return graph.op("Div", counts, graph.where(zero, graph.constant([[1.0]]), size))


def tfidf(step: Any, cols: list[Col], context: Context) -> list[Col]:
    """TfidfTransformer behind a CountVectorizer."""
    return spread(cols, weighted(step, context.matrix(cols, step), context), len(cols))
