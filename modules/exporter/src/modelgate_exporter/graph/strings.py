"""Parts of texts: pandas' `.str`, and the methods of Python's own texts, by operators that find patterns.

The graph has to take the texts themselves. A text that is made of another one has codes like those of an input, which
an operator finds once it is known which texts the pipeline tells apart.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import onnx

from . import elementwise as each
from .build import MISSING, PAD, Graph
from .columns import Col, NeedsTexts, Vocabulary, roots
from .elementwise import Untraceable
from .patterns import SPACE, Pattern, quoted


def source(graph: Graph, col: Col) -> tuple[str, str | None]:
    """The texts of a column, `[rows]`, and whether a row has none."""
    if col.tensor in graph.strings.made:
        return graph.strings.made[col.tensor]
    if col.kind == "category" and not col.roots and col.vocabulary is not None:
        return graph.constant([col.vocabulary.values[0]], object), None
    if col.kind != "category" or col.numeral or not col.raw or not col.roots:
        raise Untraceable("it takes parts of a text that an earlier step put together")
    if graph.strings.inputs is None:
        raise NeedsTexts
    name = col.roots[0].name
    own = graph.strings.inputs[name]
    text = graph.op("Squeeze", own, graph.places([1]))
    if name not in graph.strings.nullable:
        return text, None
    code = graph.op("LabelEncoder", own, domain="ai.onnx.ml", keys_strings=[MISSING], values_int64s=[1], default_int64=0)
    lost = graph.op("Greater", code, graph.places([0]))
    return (text, lost) if col.filled is None else (replaced(graph, text, lost, str(col.filled)), None)


def replaced(graph: Graph, text: str, lost: str, word: str) -> str:
    """A word in place of the texts that are missing."""
    return graph.op("Where", graph.op("Squeeze", lost, graph.places([1])), graph.constant([word], object), text)


def concatenated(graph: Graph, one: Col, other: Col) -> Col:
    """Two texts one behind the other, missing where either is."""
    (first, lost), (second, also) = source(graph, one), source(graph, other)
    graph.opset = max(graph.opset, 20)
    text = graph.op("StringConcat", first, second)
    either = lost if also is None else also if lost is None else graph.op("Or", lost, also)
    found = made(graph, one if one.roots else other, text, either)
    return replace(found, roots=roots((one, other)))


def made(graph: Graph, of: Col, text: str, lost: str | None = None) -> Col:
    """A column of texts that were made of another column's."""
    words = Vocabulary(open=True)
    codes, found = graph.fresh("codes"), graph.fresh("labels")
    node = onnx.helper.make_node("LabelEncoder", [text], [found], name=found, domain="ai.onnx.ml", default_int64=-1)
    graph.nodes.append(node)
    graph.strings.pending.append((node, words))
    value = graph.double(graph.op("Unsqueeze", found, graph.places([1])))
    if lost is not None:
        value = graph.where(lost, graph.constant([[float("nan")]]), value)
    graph.nodes.append(onnx.helper.make_node("Identity", [value], [codes], name=codes))
    graph.strings.made[codes] = (text, lost)
    return Col(codes, 0, "category", of.label, of.roots, words)


def case(graph: Graph, col: Col, how: str) -> Col:
    """`lower` and `upper`."""
    text, lost = source(graph, col)
    return made(graph, col, graph.op("StringNormalizer", text, case_change_action=how, locale="C.UTF-8", is_case_sensitive=1), lost)


def tokens(graph: Graph, text: str, pattern: str) -> str:
    """The matches of a pattern in each text, `[rows, matches of the longest]`."""
    return graph.op("Tokenizer", text, domain="com.microsoft", mark=0, mincharnum=1, pad_value=PAD, tokenexp=pattern)


def count(graph: Graph, found: str) -> str:
    """The number of matches of each row, `[rows, 1]` doubles."""
    real = graph.op("LabelEncoder", found, domain="ai.onnx.ml", keys_strings=[PAD], values_int64s=[0], default_int64=1)
    return graph.double(graph.sum(real))


def some(graph: Graph, found: str) -> str:
    """Whether a row has a match."""
    return graph.op("Greater", count(graph, found), graph.constant([[0.5]]))


def number(graph: Graph, of: Col, value: str, lost: str | None, kind: Any = "number") -> Col:
    """A number or a test, missing where the text is."""
    if lost is None:
        return each.made(graph, value, (of,), kind)
    value = value if kind == "number" else graph.double(value)
    return each.made(graph, graph.where(lost, graph.constant([[float("nan")]]), value), (of,), "number")


def tested(graph: Graph, col: Col, pattern: str, absent: Any = None) -> Col:
    """Whether a pattern is found."""
    text, lost = source(graph, col)
    test = graph.double(some(graph, tokens(graph, text, pattern)))
    if lost is not None and isinstance(absent, bool):
        return each.made(graph, graph.where(lost, graph.constant([[float(absent)]]), test), (col,), "bool")
    return number(graph, col, test, lost, "bool" if lost is None else "number")


def picked(graph: Graph, col: Col, text: str, lost: str | None, pattern: str, place: int, empty: bool) -> Col:
    """The match at a place; where there is none, an empty text or none at all."""
    found = tokens(graph, text, pattern)
    # One column more for each place, so that there is something to gather where no row has as many.
    own = graph.op("Unsqueeze", text, graph.places([1]))
    wide = graph.concat([found, *[own] * (place + 1)])
    there = graph.op("Greater", count(graph, found), graph.constant([[place + 0.5]]))
    match = graph.op("Squeeze", graph.gather(wide, [place]), graph.places([1]))
    absent = graph.op("Not", there)
    if not empty:
        return made(graph, col, match, absent if lost is None else graph.op("Or", lost, absent))
    flat = graph.op("Squeeze", there, graph.places([1]))
    match = graph.op("Where", flat, match, graph.constant([""], object))
    return made(graph, col, match, lost)


class Texts:
    """`.str` of a column, and the methods of a text, whose results `like` makes."""

    def __init__(self, graph: Graph, col: Col, like: Any) -> None:
        if col.kind != "category":
            raise Untraceable("it takes parts of a column that is no text in the sample frame")
        self._graph, self._col, self._like = graph, col, like

    @property
    def col(self) -> Col:
        """The column of texts."""
        return self._col

    def _give(self, col: Col) -> Any:
        return self._like(replace(col, label=self._col.label))

    def _then(self, pattern: str, place: int = 0, empty: bool = True) -> Texts:
        """The texts that a pattern finds in these."""
        text, lost = source(self._graph, self._col)
        found = picked(self._graph, self._col, text, lost, pattern, place, empty)
        return Texts(self._graph, replace(found, label=self._col.label), self._like)

    def _first(self, pattern: str, place: int = 0, empty: bool = True) -> Any:
        return self._give(self._then(pattern, place, empty)._col)

    def _tested(self, pattern: str, absent: Any = None) -> Any:
        return self._give(tested(self._graph, self._col, pattern, absent))

    def lower(self) -> Any:
        return self._give(case(self._graph, self._col, "LOWER"))

    def upper(self) -> Any:
        return self._give(case(self._graph, self._col, "UPPER"))

    def strip(self, to_strip: Any = None) -> Any:
        odd = _stripped(to_strip)
        return self._first(f"(?s)[^{odd}](?:.*[^{odd}])?")

    def lstrip(self, to_strip: Any = None) -> Any:
        return self._first(f"(?s)[^{_stripped(to_strip)}].*")

    def rstrip(self, to_strip: Any = None) -> Any:
        return self._first(rf"(?s)\A.*[^{_stripped(to_strip)}]")

    def len(self) -> Any:
        text, lost = source(self._graph, self._col)
        return self._give(number(self._graph, self._col, count(self._graph, tokens(self._graph, text, ".")), lost))

    def contains(self, pat: Any, case: bool = True, flags: int = 0, na: Any = None, regex: bool = True) -> Any:
        pattern = _pattern(pat if regex else re.escape(pat), flags, case)
        return self._tested(pattern.text, na)

    def match(self, pat: Any, case: bool = True, flags: int = 0, na: Any = None) -> Any:
        return self._tested(rf"\A(?:{_pattern(pat, flags, case).text})", na)

    def fullmatch(self, pat: Any, case: bool = True, flags: int = 0, na: Any = None) -> Any:
        return self._tested(rf"\A(?:{_pattern(pat, flags, case).text})\z", na)

    def startswith(self, pat: Any, na: Any = None) -> Any:
        return self._tested(rf"\A(?:{_any(pat)})", na)

    def endswith(self, pat: Any, na: Any = None) -> Any:
        return self._tested(rf"(?:{_any(pat)})\z", na)

    def count(self, pat: Any, flags: int = 0) -> Any:
        text, lost = source(self._graph, self._col)
        found = count(self._graph, tokens(self._graph, text, _pattern(pat, flags).text))
        return self._give(number(self._graph, self._col, found, lost))

    def extract(self, pat: Any, flags: int = 0, expand: bool = True) -> Any:
        steps = _pattern(pat, flags).steps()
        if not steps:
            raise Untraceable(
                "it extracts a part that is not certain to be found by itself (one group such as `([A-Z]+)`, between "
                "characters that it cannot have, has an operator)"
            )
        found = self
        for step in steps:
            found = found._then(step, empty=False)
        made_ = self._give(found._col)
        return made_.to_frame(0) if expand and hasattr(made_, "to_frame") else made_

    def cat(self, others: Any = None, sep: Any = None, na_rep: Any = None, **_: Any) -> Any:
        """Another column's text behind this one's."""
        given = list(others) if isinstance(others, (list, tuple)) else [others]
        if na_rep is not None or any(not getattr(one, "cols", None) or len(one.cols) != 1 for one in given):
            raise Untraceable("it puts other texts together than those of columns")
        found = self._col
        for one in given:
            if sep:
                found = concatenated(self._graph, found, each.constant(self._graph, str(sep)))
            found = concatenated(self._graph, found, one.cols[0])
        return self._give(found)

    def title(self) -> Any:
        from .rewriting import cased

        return self._give(cased(self._graph, self._col, True))

    def capitalize(self) -> Any:
        from .rewriting import cased

        return self._give(cased(self._graph, self._col, False))

    def replace(self, pat: Any, repl: Any = None, n: int = -1, case: Any = None, flags: int = 0, regex: Any = False) -> Any:
        """`.str.replace`, and `replace` of a text: each occurrence, or each match of a pattern."""
        from .rewriting import replaced as rewritten

        if isinstance(pat, dict):
            found: Any = self
            for old, new in pat.items():
                found = Texts(self._graph, rewritten(self._graph, found._col, _literal(old), _plain(new)), self._like)
            return self._give(found._col)
        if n not in (-1, 0):
            raise Untraceable("it replaces a number of occurrences (all of them have an operator)")
        if not regex and not isinstance(pat, re.Pattern):
            return self._give(rewritten(self._graph, self._col, _literal(pat), _plain(repl)))
        if isinstance(repl, str) and "\\" in repl:
            raise Untraceable("it puts a part of what it found into the text")
        pattern = _pattern(pat, flags, case is not False)
        if not pattern.alone:
            raise Untraceable(f"its pattern {pattern.given!r} looks at what stands before or behind the match")
        return self._give(rewritten(self._graph, self._col, pattern.text, _plain(repl)))

    def get(self, i: Any) -> Any:
        return self[i]

    def slice(self, start: Any = None, stop: Any = None, step: Any = None) -> Any:
        return self[slice(start, stop, step)]

    def __iter__(self) -> Any:
        raise Untraceable("it goes through the characters of a text")

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, int) and not isinstance(key, bool):
            if key >= 0:
                return self._first("(?s).", key, empty=False)
            return self._then(rf"(?s).{{{-key}}}\z", empty=False)._first("(?s).", empty=False)
        if isinstance(key, slice) and key.step in (None, 1):
            if key.start in (None, 0) and isinstance(key.stop, int) and key.stop > 0:
                return self._first(rf"(?s)\A.{{1,{key.stop}}}")
            if isinstance(key.start, int) and key.start < 0 and key.stop is None:
                return self._first(rf"(?s).{{1,{-key.start}}}\z")
        raise Untraceable(
            "it takes a part from the middle of a text (the first characters, `[:3]`, or the last, `[-2:]`, have an operator)"
        )

    def split(self, pat: Any = None, n: int = -1, expand: bool = False, regex: Any = None) -> Any:
        if n not in (-1, 0) or expand:
            raise Untraceable("it splits a text into columns, or a number of times (.str.split(',').str[0] has an operator)")
        if pat is not None and (not isinstance(pat, str) or len(pat) != 1):
            raise Untraceable("it splits a text by more than one character")
        return Parts(self, SPACE if pat is None else quoted(pat), pat is None)

    def findall(self, pat: Any, flags: int = 0) -> Any:
        pattern = _pattern(pat, flags)
        if pattern.groups:
            raise Untraceable("it finds all matches of a pattern with groups")
        return Found(self, pattern.text)

    def _parted(self, odd: Any) -> Any:
        text, lost = source(self._graph, self._col)
        found = count(self._graph, tokens(self._graph, text, odd))
        one = self._graph.op("Add", found, self._graph.constant([[1.0]]))
        return self._give(number(self._graph, self._col, one, lost))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise Untraceable(f"it calls .{name} of a text, for which there is no operator")


class Parts:
    """The result of `split`: a part of it may be taken."""

    def __init__(self, texts: Texts, odd: str, spaces: bool) -> None:
        self.texts, self._odd, self.spaces = texts, odd, spaces

    @property
    def str(self) -> Parts:
        return self

    def len(self) -> Any:
        """The number of parts."""
        if self.spaces:
            return self.texts.count(r"[^\s]+")
        return self.texts._parted(self._odd)

    def __len__(self) -> int:
        raise Untraceable("it counts the parts of a text (.str.count has an operator)")

    def __iter__(self) -> Any:
        raise Untraceable("it goes through the parts of a text")

    def get(self, place: Any) -> Any:
        return self[place]

    def __getitem__(self, place: Any) -> Any:
        odd = self._odd
        if self.spaces:
            if isinstance(place, int) and place >= 0:
                return self.texts._first(f"[^{odd}]+", place, empty=False)
            if place == -1:
                return self.texts._then(rf"[^{odd}]+[{odd}]*\z", empty=False)._first(f"[^{odd}]+", empty=False)
        elif place == 0:
            return self.texts._first(rf"\A[^{odd}]+")
        elif place == -1:
            return self.texts._first(rf"[^{odd}]+\z")
        raise Untraceable("it takes a part from the middle of a split text (the first, [0], and the last, [-1], have operators)")

    def __getattr__(self, name: Any) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise Untraceable(f"it uses .{name} of the parts of a split text")


class Found:
    """The result of `re.findall`: all matches of a pattern without groups."""

    def __init__(self, texts: Texts, pattern: str) -> None:
        self.texts, self.pattern = texts, pattern

    def __iter__(self) -> Any:
        raise Untraceable("it goes through the matches of a pattern")

    __getitem__ = __len__ = __iter__

    def __getattr__(self, name: Any) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise Untraceable(f"it uses .{name} of the matches of a pattern")


def _stripped(chars: Any) -> str:
    if chars is None:
        return SPACE
    if not isinstance(chars, str) or not chars:
        raise Untraceable("it strips what is no text of its own")
    return quoted(chars)


def _pattern(pat: Any, flags: int, case: bool = True) -> Pattern:
    if isinstance(pat, re.Pattern):
        pat, flags = pat.pattern, pat.flags & ~re.UNICODE
    if not isinstance(pat, str):
        raise Untraceable("its pattern is no text of its own")
    pattern = Pattern(pat, flags | (0 if case else re.IGNORECASE))
    if pattern.empty:
        raise Untraceable(f"its pattern {pat!r} matches an empty text, and so everywhere")
    return pattern


def _literal(text: Any) -> str:
    if not isinstance(text, str) or not text:
        raise Untraceable("it replaces what is no text of its own")
    return quoted(text)


def _plain(text: Any) -> str:
    if not isinstance(text, str):
        raise Untraceable("it replaces by what is no text of its own")
    return text


def _any(texts: Any) -> str:
    given = texts if isinstance(texts, tuple) else (texts,)
    if not given or not all(isinstance(text, str) and text for text in given):
        raise Untraceable("it looks for what is no text of its own")
    return "|".join(map(quoted, given))


__all__ = ["Texts", "source"]
