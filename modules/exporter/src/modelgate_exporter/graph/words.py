"""Text vectorizers: words of a text and how often they occur."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from ..errors import CannotExport
from . import characters
from .build import Graph
from .columns import Col, Context, spread
from .elementwise import Untraceable
from .patterns import LETTERS
from .strings import source, tokens
from .symbols import Symbol

ADVICE = (
    "use analyzer='word' (with the usual token_pattern), 'char' or 'char_wb', a preprocessor of the operations that the README "
    "lists, a tokenizer such as str.split, or count words before the request"
)


def vectorized(step: Any, cols: list[Col], context: Context) -> list[Col]:
    """CountVectorizer, TfidfVectorizer and HashingVectorizer."""
    graph = context.graph
    words = taken(step, cols, context)
    own = step.analyzer if callable(step.analyzer) else step.tokenizer if step.analyzer == "word" else None
    if own is step.analyzer and step.ngram_range != (1, 1):
        raise context.refuse(step, cols, "its analyzer is a function of your own, which ngram_range is not for", "leave ngram_range out")
    pattern = _pattern(step, cols, context) if step.analyzer == "word" and own is None else None
    if own is step.analyzer:
        words, pattern = _tokens_of(own, words, step, cols, context)
    elif step.preprocessor is not None:
        words = _preprocessed(step, words, cols, context)
    else:
        if step.lowercase:
            words = graph.op("StringNormalizer", words, case_change_action="LOWER", locale="C.UTF-8", is_case_sensitive=1)
        if step.strip_accents is not None:
            words = _without_accents(step, words, cols, context)
    if own is not None and own is not step.analyzer:
        words, pattern = _tokens_of(own, words, step, cols, context)
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


def _without_accents(step: Any, words: str, cols: list[Col], context: Context) -> str:
    from .rewriting import without_accents

    if step.strip_accents not in ("unicode", "ascii"):
        raise context.refuse(step, cols, "strip_accents= is a function of your own", "use strip_accents='unicode' or 'ascii', or a preprocessor")
    return without_accents(context.graph, words, step.strip_accents == "ascii")


def _outside(function: Any, cols: list[Col], context: Context, error: CannotExport, before: str = "{}", around: str = "{}") -> str:
    """The texts that a stage in Python makes ahead of the graph."""
    try:
        col = context.graph.foreign.value(function, cols[0], before, around)
    except Untraceable as why:
        told, _, advice = str(error).partition("; ")
        raise CannotExport(f"{told}; {why}; {advice}") from error
    return source(context.graph, col)[0]


def _preprocessed(step: Any, words: str, cols: list[Col], context: Context) -> str:
    """The texts behind a function of the user's own, which is run on a stand-in for one."""
    from .strings import made
    from .tracing import of_text

    graph = context.graph
    if step.preprocessor is str.lower or step.preprocessor is str.upper:
        action = "LOWER" if step.preprocessor is str.lower else "UPPER"
        return graph.op("StringNormalizer", words, case_change_action=action, locale="C.UTF-8", is_case_sensitive=1)
    try:
        found = of_text(step.preprocessor, made(graph, cols[0], words), cols, step, context)
    except CannotExport as error:
        return _outside(step.preprocessor, cols, context, error)
    if not isinstance(found, Symbol):
        raise context.refuse(step, cols, f"its preprocessor gives {type(found).__name__} instead of a text", ADVICE)
    return source(graph, found.cols[0])[0]


def _tokens_of(own: Any, words: str, step: Any, cols: list[Col], context: Context) -> tuple[str, str]:
    """The texts and the pattern of a tokenizer or analyzer of the user's own: one that splits at white space, or finds the
    matches of a pattern."""
    from .patterns import SPACE, Pattern
    from .strings import Found, Parts, made
    from .tracing import of_text

    if own is str.split:
        return words, f"[^{SPACE}]+"
    compiled = getattr(own, "__self__", None)
    if isinstance(compiled, re.Pattern) and getattr(own, "__name__", "") == "findall" and not compiled.groups:
        try:
            return words, Pattern(compiled.pattern, compiled.flags & ~re.UNICODE).text
        except Untraceable as error:
            raise context.refuse(step, cols, str(error), ADVICE) from error
    try:
        found = of_text(own, made(context.graph, cols[0], words), cols, step, context)
    except CannotExport as error:
        if own is step.tokenizer and (step.strip_accents is not None or step.preprocessor is not None):
            raise
        lower = "({}).lower()" if own is step.tokenizer and step.lowercase else "{}"
        return _outside(own, cols, context, error, lower, "'\\x1f'.join({})"), r"[^\x{1f}]+"
    if isinstance(found, Parts) and found.spaces:
        return source(context.graph, found.texts.col)[0], f"[^{SPACE}]+"
    if isinstance(found, Found):
        return source(context.graph, found.texts.col)[0], found.pattern
    raise context.refuse(step, cols, "its own function gives other words than those between white space, or than the matches of a pattern", ADVICE)


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
