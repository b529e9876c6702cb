"""Texts that are written anew: parts replaced, accents taken off; and texts that are read as numbers and dates.

A text is cut into pieces, the pieces are changed one by one, and a scan puts them together again.
"""

from __future__ import annotations

import sys
import unicodedata
from functools import lru_cache
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from . import elementwise as each
from .build import PAD, Graph
from .categories import guarded
from .columns import Col, Context
from .elementwise import Untraceable
from .strings import made, source, tokens

ANY = "(?s:.)"


def together(graph: Graph, pieces: str) -> str:
    """The pieces `[rows, pieces]` of each row one behind the other, `[rows]`."""
    graph.opset = max(graph.opset, 20)
    # A piece of nothing more, so that there is one whatever the texts.
    empty = graph.op("LabelEncoder", graph.sum(_ones(graph, pieces, 0)), domain="ai.onnx.ml", keys_int64s=[0], values_strings=[""], default_string="")
    pieces = graph.op("Transpose", graph.concat([pieces, empty]), perm=[1, 0])
    prefix = graph.fresh("joined") + "_"
    names = [prefix + name for name in ("before", "piece", "after", "both", "always")]
    before, piece, after = (helper.make_tensor_value_info(name, TensorProto.STRING, None) for name in names[:3])
    nodes = [
        helper.make_node("StringConcat", names[:2], [names[3]], name=names[3]),
        # ONNX Runtime's StringConcat appends to what the place of a scan's state held two pieces before.
        helper.make_node("Where", [names[4], names[3], names[1]], [names[2]], name=names[2]),
    ]
    always = helper.make_tensor(names[4], TensorProto.BOOL, [1], [True])
    body = helper.make_graph(nodes, "piece", [before, piece], [after], [always])
    found = graph.fresh("scan")
    start = graph.op("Squeeze", empty, graph.places([1]))
    graph.nodes.append(helper.make_node("Scan", [start, pieces], [found], name=found, body=body, num_scan_inputs=1))
    return found


def _ones(graph: Graph, pieces: str, value: int) -> str:
    return graph.op("LabelEncoder", pieces, domain="ai.onnx.ml", keys_strings=[PAD], values_int64s=[0], default_int64=value)


def _without_pad(graph: Graph, pieces: str) -> str:
    pad = graph.op("Equal", _ones(graph, pieces, 1), graph.places([0]))
    return graph.op("Where", pad, graph.constant([""], object), pieces)


def replaced(graph: Graph, col: Col, pattern: str, to: str) -> Col:
    """Another text in place of each match of a pattern, which matches no empty text and has no anchors."""
    text, lost = source(graph, col)
    graph.opset = max(graph.opset, 20)
    pieces = tokens(graph, text, f"(?:{pattern})|{ANY}")
    is_match = graph.op("RegexFullMatch", pieces, pattern=pattern)
    pieces = _without_pad(graph, graph.op("Where", is_match, graph.constant([to], object), pieces))
    return made(graph, col, together(graph, pieces), lost)


@lru_cache(maxsize=2)
def _accents(ascii_only: bool) -> tuple[list[str], list[str]]:
    """The characters that scikit-learn's `strip_accents_unicode`, or `strip_accents_ascii`, changes, and what they become."""
    keys, values = [], []
    for code in range(0x80, sys.maxunicode + 1):
        letter = chr(code)
        if 0xD800 <= code <= 0xDFFF or letter in (PAD,):
            continue
        apart = unicodedata.normalize("NFKD", letter)
        if ascii_only:
            bare = apart.encode("ascii", "ignore").decode("ascii")
            if not bare:
                continue
        else:
            bare = "".join(each_ for each_ in apart if not unicodedata.combining(each_))
            if bare == letter:
                continue
        keys.append(letter)
        values.append(bare)
    return keys, values


def without_accents(graph: Graph, text: str, ascii_only: bool) -> str:
    """`strip_accents_unicode` and `strip_accents_ascii` of texts `[rows]`: each character by itself."""
    keys, values = _accents(ascii_only)
    letters = tokens(graph, text, ANY)
    changed = graph.op("LabelEncoder", letters, domain="ai.onnx.ml", keys_strings=keys, values_strings=values, default_string="")
    known = graph.op("RegexFullMatch", letters, pattern=r"[\x00-\x7f]") if ascii_only else None
    if known is None:
        hit = graph.op("LabelEncoder", letters, domain="ai.onnx.ml", keys_strings=keys, values_int64s=[0] * len(keys), default_int64=1)
        known = graph.op("Equal", hit, graph.places([1]))
    graph.opset = max(graph.opset, 20)
    return together(graph, _without_pad(graph, graph.op("Where", known, letters, changed)))


def cased(graph: Graph, col: Col, words: bool) -> Col:
    """`title`, where each of the `words` begins with a capital, and `capitalize`, where the text does."""
    text, lost = source(graph, col)
    graph.opset = max(graph.opset, 20)
    # A letter of nothing more in front, so that the first one has one before it.
    empty = graph.op("Unsqueeze", graph.op("Where", graph.op("RegexFullMatch", text, pattern=ANY + "*"), graph.constant([""], object), text), graph.places([1]))
    letters = graph.concat([empty, _without_pad(graph, tokens(graph, text, ANY)), empty])
    inner = graph.op("Slice", letters, graph.places([1]), graph.places([np.iinfo(np.int64).max]), graph.places([1]))
    before = graph.op("Slice", letters, graph.places([0]), graph.places([-1]), graph.places([1]))
    begins = graph.op("RegexFullMatch", before, pattern=r"[^\p{Lu}\p{Ll}\p{Lt}]?" if words else "")
    if not words:
        # Whatever follows the first letter, an empty piece included, has a letter before it.
        first = graph.op("CumSum", graph.op("Add", graph.op("Mul", _ones(graph, inner, 1), graph.places([0])), graph.places([1])), graph.scalar(1))
        begins = graph.op("Equal", first, graph.places([1]))
    shape = graph.op("Shape", inner)
    flat = graph.op("Reshape", inner, graph.places([-1]))
    low, high = (
        graph.op("Reshape", graph.op("StringNormalizer", flat, case_change_action=how, locale="C.UTF-8", is_case_sensitive=1), shape)
        for how in ("LOWER", "UPPER")
    )
    return made(graph, col, together(graph, graph.op("Where", begins, high, low)), lost)


NUMBER = r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
"""A number as Python and pandas write it."""


def number(graph: Graph, col: Col, refused: bool) -> Col:
    """`pd.to_numeric` of a text: where it is no number an error if that is `refused`, else NaN."""
    text, lost = source(graph, col)
    graph.opset = max(graph.opset, 20)
    fits = graph.op("RegexFullMatch", text, pattern=rf"[ \t]*{NUMBER}[ \t]*")
    own = graph.op("Unsqueeze", text, graph.places([1]))
    wide = graph.concat([tokens(graph, text, NUMBER), own])
    bare = graph.op("Squeeze", graph.gather(wide, [0]), graph.places([1]))
    value = _cast(graph, bare, fits)
    return _or_missing(graph, col, value, fits, lost, refused)


def _cast(graph: Graph, text: str, fits: str) -> str:
    safe = graph.op("Where", fits, text, graph.constant(["0"], object))
    return graph.op("Unsqueeze", graph.double(safe), graph.places([1]))


def _or_missing(graph: Graph, col: Col, value: str, fits: str, lost: str | None, refused: bool, kind: Any = "number") -> Col:
    ok = graph.op("Unsqueeze", fits, graph.places([1]))
    if refused:
        value = guarded(Context(graph), value, 1, ok if lost is None else graph.op("Or", ok, lost))
    if lost is not None:
        ok = graph.op("And", ok, graph.op("Not", lost))
    return each.made(graph, graph.where(ok, value, graph.constant([[float("nan")]])), (col,), kind)


DATE = r"[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
TIME = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]"
ISO = {
    DATE: "%Y-%m-%d",
    rf"{DATE}[T ]{TIME}": "%Y-%m-%d %H:%M",
    rf"{DATE}[T ]{TIME}:[0-5][0-9]": "%Y-%m-%d %H:%M:%S",
    rf"{DATE}[T ]{TIME}:[0-5][0-9]\.[0-9]{{1,3}}": "%Y-%m-%d %H:%M:%S.%f",
}
"""The forms of dates that pandas takes for ISO 8601, without a time zone; of a second's parts up to three."""

DIRECTIVES = {
    "Y": ("[0-9]{4}", "year"), "m": ("(?:0?[1-9]|1[0-2])", "month"), "d": ("(?:0?[1-9]|[12][0-9]|3[01])", "day"),
    "H": ("(?:[01]?[0-9]|2[0-3])", "hour"), "M": ("[0-5]?[0-9]", "minute"), "S": ("[0-5]?[0-9]", "second"), "f": ("[0-9]{1,3}", "part"),
}  # fmt: skip
"""Directives of `strptime` that are runs of digits."""


def directives(form: str) -> tuple[str, list[str]]:
    """The pattern of a format, and what its runs of digits mean."""
    from .patterns import quoted

    pattern, meant, place = "", [], 0
    form = form.replace("%F", "%Y-%m-%d").replace("%T", "%H:%M:%S")
    while place < len(form):
        if form[place] != "%":
            pattern += quoted(form[place])
            place += 1
            continue
        directive = form[place + 1 : place + 2]
        if directive not in DIRECTIVES or (pattern and pattern[-1] in ")}]" and form[place - 2 : place - 1] == "%"):
            raise Untraceable(f"it reads dates by the format {form!r} (%Y, %m, %d, %H, %M and %S with something between them have operators)")
        more, name = DIRECTIVES[directive]
        pattern += more
        meant.append(name)
        place += 2
    return pattern, meant


ORDER = ["year", "month", "day", "hour", "minute", "second", "part"]


def date(graph: Graph, col: Col, form: str | None, refused: bool) -> Col:
    """`pd.to_datetime` of a text: where it is no date of the form an error if that is `refused`, else missing."""
    text, lost = source(graph, col)
    graph.opset = max(graph.opset, 20)
    pattern, meant = ("|".join(f"(?:{known})" for known in ISO), ORDER) if form is None else directives(form)
    fits = graph.op("RegexFullMatch", text, pattern=pattern)
    digits = tokens(graph, graph.op("Where", fits, text, graph.constant(["1-1-1"], object)), "[0-9]+")
    one = graph.op("LabelEncoder", graph.op("Unsqueeze", text, graph.places([1])), domain="ai.onnx.ml", keys_strings=[PAD], values_strings=["0"], default_string="0")
    digits = graph.concat([digits, *[one] * len(meant)])
    digits = graph.op("Where", graph.op("Equal", _ones(graph, digits, 1), graph.places([0])), graph.constant([["0"]], object), digits)
    parts: dict[str, str] = {}
    for place, name in enumerate(meant):
        run = graph.gather(digits, [place])
        if name == "part":
            run = graph.op("StringConcat", graph.constant([["0."]], object), run)
        parts[name] = graph.double(run)
    value = _milliseconds(graph, parts)
    if "day" in parts:
        # A month has so many days, and February now and then one more.
        fits = graph.op("And", fits, graph.op("Squeeze", _exists(graph, parts), graph.places([1])))
    return _or_missing(graph, col, value, fits, lost, refused, "date")


def _milliseconds(graph: Graph, parts: dict[str, str]) -> str:
    def number_(value: float) -> str:
        return graph.constant([[value]])

    zero = graph.op("Mul", next(iter(parts.values())), number_(0.0))
    year = parts.get("year", graph.op("Add", zero, number_(1900.0)))
    month, day = (parts.get(name, graph.op("Add", zero, number_(1.0))) for name in ("month", "day"))
    total = graph.op("Mul", _days(graph, year, month, day), number_(86_400_000.0))
    for name, size in (("hour", 3_600_000.0), ("minute", 60_000.0), ("second", 1000.0), ("part", 1000.0)):
        if name in parts:
            total = graph.op("Add", total, graph.op("Mul", parts[name], number_(size)))
    return graph.op("Round", total)


def _days(graph: Graph, year: str, month: str, day: str) -> str:
    """Days since 1970, in years that begin in March."""

    def number_(value: float) -> str:
        return graph.constant([[value]])

    def floor(value: str, over: float) -> str:
        return graph.op("Floor", graph.op("Div", value, number_(over)))

    early = graph.op("LessOrEqual", month, number_(2.0))
    year = graph.op("Sub", year, graph.double(early))
    month = graph.where(early, graph.op("Add", month, number_(9.0)), graph.op("Sub", month, number_(3.0)))
    era = floor(year, 400.0)
    of_era = graph.op("Sub", year, graph.op("Mul", era, number_(400.0)))
    of_year = floor(graph.op("Add", graph.op("Mul", month, number_(153.0)), number_(2.0)), 5.0)
    of_year = graph.op("Add", of_year, graph.op("Sub", day, number_(1.0)))
    days = graph.op("Add", graph.op("Mul", of_era, number_(365.0)), floor(of_era, 4.0))
    days = graph.op("Add", graph.op("Sub", days, floor(of_era, 100.0)), of_year)
    return graph.op("Sub", graph.op("Add", graph.op("Mul", era, number_(146_097.0)), days), number_(719_468.0))


def _exists(graph: Graph, parts: dict[str, str]) -> str:
    from .dates import Parts

    # Of a day that its month has not, the count of days has another month.
    day = parts["day"]
    zero = graph.op("Mul", day, graph.constant([[0.0]]))
    one = graph.op("Add", zero, graph.constant([[1.0]]))
    year = parts.get("year", graph.op("Add", zero, graph.constant([[1900.0]])))
    days = _days(graph, year, parts.get("month", one), day)
    value = graph.op("Mul", days, graph.constant([[86_400_000.0]]))
    months = Parts(graph, Col(value, 0, "date", None, ()))
    return graph.op("Equal", months.day_of_month(), day)

