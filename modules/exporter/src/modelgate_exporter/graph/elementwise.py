"""Arithmetic on symbolic columns, one row at a time: what numpy's functions do as operators of a graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from .build import Graph
from .columns import Col, Vocabulary, alone, roots
from .numeric import clipped

PANDAS_3 = int(pd.__version__.partition(".")[0]) >= 3

UNITS = {"ns": 1e6, "us": 1e3, "ms": 1.0, "s": 1e-3}
"""How many there are in a millisecond."""

DAY = 86_400_000.0
"""Milliseconds."""


class Untraceable(Exception):
    """Something that a graph cannot do row by row; the text says what."""


def constant(graph: Graph, value: Any) -> Col:
    """A number, a test or a text as a column."""
    if isinstance(value, (bool, np.bool_)):
        return Col(graph.constant([[float(value)]]), 0, "bool", None, ())
    if isinstance(value, str):
        words = Vocabulary()
        return Col(graph.constant([[words.code(value)]]), 0, "category", None, (), words)
    if isinstance(value, (pd.Timestamp, np.datetime64)) or type(value).__name__ in ("datetime", "date"):
        stamp = pd.Timestamp(value).value / 1e6
        return Col(graph.constant([[stamp]]), 0, "date", None, ())
    if isinstance(value, (pd.Timedelta, np.timedelta64)) or type(value).__name__ == "timedelta":
        return Col(graph.constant([[pd.Timedelta(value).value / 1e6]]), 0, "delta", None, ())
    if value is None or value is pd.NA or value is pd.NaT:
        value = float("nan")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise Untraceable(f"it computes with {type(value).__name__}") from None
    return Col(graph.constant([[number]]), 0, "number", None, ())


def tensor(graph: Graph, col: Col) -> str:
    """The column's values, one a row."""
    return col.tensor if not col.roots and col.vocabulary is None and col.tensor.startswith("constant") else alone(graph, col)


def made(graph: Graph, value: str, of: tuple[Col, ...], kind: Any = "number") -> Col:
    """A column of computed values."""
    label = next((col.label for col in of if col.roots), None)
    return Col(value, 0, kind, label, roots(of))


def _numbers(of: tuple[Col, ...]) -> None:
    for col in of:
        if col.kind in ("category", "text") or col.numeral:
            raise Untraceable("it computes with text")
        if col.kind == "date":
            raise Untraceable("it computes with a date")


def test_of(graph: Graph, col: Col) -> str:
    """Whether the value holds: not zero."""
    return graph.op("Not", graph.op("Equal", tensor(graph, col), graph.constant([[0.0]])))


def compare(graph: Graph, kind: str, one: Col, other: Col) -> Col:
    """`==`, `<` and the like; `!=` is the opposite of `==`."""
    of = (one, other)
    if one.kind in ("category", "text") or other.kind in ("category", "text"):
        if kind != "Equal":
            raise Untraceable("it compares texts by their order")
        return _same_text(graph, one, other)
    return made(graph, graph.double(graph.op(kind, tensor(graph, one), tensor(graph, other))), of, "bool")


def _same_text(graph: Graph, one: Col, other: Col) -> Col:
    if not one.roots:
        one, other = other, one
    if one.numeral and not other.roots:
        from .categories import code

        assert other.vocabulary is not None
        number = code(one, other.vocabulary.values[0])
        return made(graph, graph.double(graph.op("Equal", tensor(graph, one), graph.constant([[number]]))), (one,), "bool")
    if one.kind != "category" or other.kind != "category":
        if other.roots:
            raise Untraceable("it compares a text with a number")
        never = graph.op("Less", tensor(graph, one), graph.constant([[-np.inf]]))
        return made(graph, graph.double(never), (one,), "bool")
    one, other = unified(graph, one, other)
    return made(graph, graph.double(graph.op("Equal", tensor(graph, one), tensor(graph, other))), (one, other), "bool")


def unified(graph: Graph, one: Col, other: Col) -> tuple[Col, Col]:
    """Two columns of text with the codes of one vocabulary."""
    assert one.vocabulary is not None and other.vocabulary is not None
    if one.vocabulary is other.vocabulary:
        return one, other
    for first, second in ((one, other), (other, one)):
        # What is no input has the words that its vocabulary lists, and no others.
        if not (second.vocabulary.open or any(root.vocabulary is second.vocabulary for root in second.roots)):
            into = first.vocabulary
            assert into is not None and second.vocabulary is not None
            value = tensor(graph, second)
            for place, word in enumerate(second.vocabulary.values):
                same = graph.op("Equal", tensor(graph, second), graph.constant([[float(place)]]))
                value = graph.where(same, graph.constant([[into.code(word)]]), value)
            recoded = replace(second, tensor=value, place=0, vocabulary=into)
            return (first, recoded) if first is one else (recoded, first)
    raise Untraceable("it compares or mixes two columns of text")


def choose(graph: Graph, test: Col, yes: Col, no: Col) -> Col:
    """`np.where` of single values."""
    if "category" in (yes.kind, no.kind):
        if yes.kind == no.kind:
            yes, no = unified(graph, yes, no)
        elif (number := yes if yes.kind != "category" else no).roots or not is_nan_constant(graph, number):
            raise Untraceable("it mixes text and numbers in one column")
        words = yes.vocabulary or no.vocabulary
        value = graph.where(test_of(graph, test), tensor(graph, yes), tensor(graph, no))
        label = next((col.label for col in (yes, no, test) if col.roots), None)
        marks = {col.mark for col in (yes, no) if col.roots}
        return Col(value, 0, "category", label, roots((test, yes, no)), words, "none" if marks == {"none"} else "nan")
    kind = yes.kind if yes.kind == no.kind else ("date" if "date" in (yes.kind, no.kind) else "number")
    value = graph.where(test_of(graph, test), tensor(graph, yes), tensor(graph, no))
    return made(graph, value, (yes, no, test), kind)


def is_nan_constant(graph: Graph, col: Col) -> bool:
    """Whether it is a constant that is missing."""
    import onnx

    held = [entry for entry in graph.constants if entry.name == col.tensor]
    return bool(held) and bool(np.isnan(onnx.numpy_helper.to_array(held[0])).all())


def truncated(graph: Graph, col: Col) -> Col:
    """Toward zero."""
    x = tensor(graph, col)
    negative = graph.op("Less", x, graph.constant([[0.0]]))
    return made(graph, graph.where(negative, graph.op("Ceil", x), graph.op("Floor", x)), (col,))


def _dated(graph: Graph, kind: str, one: Col, other: Col) -> Col | None:
    """Sums and differences of dates and spans of time."""
    kinds = (one.kind, other.kind)
    a, b = tensor(graph, one), tensor(graph, other)
    if kind == "subtract" and kinds == ("date", "date"):
        return made(graph, graph.op("Sub", a, b), (one, other), "delta")
    if kind in ("add", "subtract") and kinds in (("date", "delta"), ("delta", "delta")):
        return made(graph, graph.op("Add" if kind == "add" else "Sub", a, b), (one, other), kinds[0])
    if kind == "add" and kinds == ("delta", "date"):
        return made(graph, graph.op("Add", a, b), (one, other), "date")
    if kinds == ("delta", "delta") and kind in ("divide", "true_divide", "floor_divide"):
        part = graph.op("Div", a, b)
        return made(graph, graph.op("Floor", part) if kind == "floor_divide" else part, (one, other))
    if kinds == ("delta", "number") and kind in ("divide", "true_divide", "multiply"):
        return made(graph, graph.op("Mul" if kind == "multiply" else "Div", a, b), (one, other), "delta")
    return None


COMPARISONS = {
    "equal": "Equal", "greater": "Greater", "greater_equal": "GreaterOrEqual",
    "less": "Less", "less_equal": "LessOrEqual",
}  # fmt: skip
PLAIN = {
    "negative": "Neg", "absolute": "Abs", "fabs": "Abs", "sign": "Sign", "exp": "Exp", "log": "Log",
    "sqrt": "Sqrt", "reciprocal": "Reciprocal", "sin": "Sin", "cos": "Cos", "tan": "Tan",
    "arcsin": "Asin", "arccos": "Acos", "arctan": "Atan", "sinh": "Sinh", "cosh": "Cosh", "tanh": "Tanh",
    "arccosh": "Acosh", "arctanh": "Atanh", "floor": "Floor", "ceil": "Ceil", "rint": "Round",
}  # fmt: skip
ARITHMETIC = {"add": "Add", "subtract": "Sub", "multiply": "Mul", "divide": "Div", "true_divide": "Div"}


def ufunc(graph: Graph, name: str, args: tuple[Col, ...]) -> Col:
    """A function of numpy on columns."""
    rule = RULES.get(name)
    if name in COMPARISONS:
        return compare(graph, COMPARISONS[name], *args)
    if name == "not_equal":
        return logical_not(graph, compare(graph, "Equal", *args))
    if len(args) == 2 and {"date", "delta"} & {col.kind for col in args}:
        dated = _dated(graph, name, *args)
        if dated is not None:
            return dated
    if name == "add" and all(col.kind == "category" and not col.numeral for col in args):
        from .strings import concatenated

        return concatenated(graph, *args)
    if name in ("isnan", "isnat"):
        return is_missing(graph, args[0])
    _numbers(args)
    inputs = [tensor(graph, col) for col in args]
    if name in PLAIN:
        return made(graph, graph.op(PLAIN[name], *inputs), args)
    if name in ARITHMETIC:
        return made(graph, graph.op(ARITHMETIC[name], *inputs), args)
    if rule is None:
        raise Untraceable(f"it calls np.{name}, which has no operator")
    return rule(graph, args, inputs)


def is_missing(graph: Graph, col: Col) -> Col:
    """`isna`."""
    found = made(graph, graph.double(graph.op("IsNaN", tensor(graph, col))), (col,), "bool")
    if col.raw and col.kind != "number" and not any(root.lacks for root in col.roots):
        graph.never.add(found.tensor)
    return found


def logical_not(graph: Graph, col: Col) -> Col:
    """The opposite of a test."""
    return made(graph, graph.double(graph.op("Not", test_of(graph, col))), (col,), "bool")


def _logical(kind: str) -> Callable[..., Col]:
    def rule(graph: Graph, args: tuple[Col, ...], inputs: list[str]) -> Col:
        tests = [test_of(graph, col) for col in args]
        return made(graph, graph.double(graph.op(kind, *tests)), args, "bool")

    return rule


def _bitwise(kind: str) -> Callable[..., Col]:
    inner = _logical(kind)

    def rule(graph: Graph, args: tuple[Col, ...], inputs: list[str]) -> Col:
        if any(col.kind != "bool" for col in args):
            raise Untraceable("it computes with the bits of numbers")
        return inner(graph, args, inputs)

    return rule


def _not(graph: Graph, args: tuple[Col, ...], inputs: list[str]) -> Col:
    return logical_not(graph, args[0])


def _scaled(factor: float, kind: str) -> Callable[..., Col]:
    """A function after or before a multiplication."""

    def rule(graph: Graph, args: tuple[Col, ...], inputs: list[str]) -> Col:
        return made(graph, graph.op("Mul", graph.op(kind, inputs[0]) if kind else inputs[0], graph.constant([[factor]])), args)

    return rule


def _log1p(graph: Graph, args: tuple[Col, ...], inputs: list[str]) -> Col:
    return made(graph, graph.op("Log", graph.op("Add", inputs[0], graph.constant([[1.0]]))), args)


def _expm1(graph: Graph, args: tuple[Col, ...], inputs: list[str]) -> Col:
    return made(graph, graph.op("Sub", graph.op("Exp", inputs[0]), graph.constant([[1.0]])), args)


def _square(graph: Graph, args: tuple[Col, ...], inputs: list[str]) -> Col:
    return made(graph, graph.op("Mul", inputs[0], inputs[0]), args)


def _cbrt(graph: Graph, args: tuple[Col, ...], inputs: list[str]) -> Col:
    root = graph.op("Pow", graph.op("Abs", inputs[0]), graph.constant([[1.0 / 3.0]]))
    return made(graph, graph.op("Mul", graph.op("Sign", inputs[0]), root), args)


def _exp2(graph: Graph, args: tuple[Col, ...], inputs: list[str]) -> Col:
    return made(graph, graph.op("Exp", graph.op("Mul", inputs[0], graph.constant([[np.log(2.0)]]))), args)


def _power(graph: Graph, args: tuple[Col, ...], inputs: list[str]) -> Col:
    return made(graph, graph.op("Pow", *inputs), args)


def _floor_divide(graph: Graph, args: tuple[Col, ...], inputs: list[str]) -> Col:
    return made(graph, graph.op("Floor", graph.op("Div", *inputs)), args)


def _remainder(graph: Graph, args: tuple[Col, ...], inputs: list[str]) -> Col:
    whole = graph.op("Floor", graph.op("Div", *inputs))
    return made(graph, graph.op("Sub", inputs[0], graph.op("Mul", whole, inputs[1])), args)


def _extreme(test: str, ignores_missing: bool) -> Callable[..., Col]:
    def rule(graph: Graph, args: tuple[Col, ...], inputs: list[str]) -> Col:
        one, other = inputs
        first = graph.op("Or", graph.op(test, one, other), graph.op("IsNaN", other if ignores_missing else one))
        return made(graph, graph.where(first, one, other), args)

    return rule


def _trunc(graph: Graph, args: tuple[Col, ...], inputs: list[str]) -> Col:
    return truncated(graph, args[0])


def _finite(graph: Graph, args: tuple[Col, ...], inputs: list[str]) -> Col:
    size = graph.op("Abs", inputs[0])
    return made(graph, graph.double(graph.op("Less", size, graph.constant([[np.inf]]))), args, "bool")


def _infinite(graph: Graph, args: tuple[Col, ...], inputs: list[str]) -> Col:
    size = graph.op("Abs", inputs[0])
    return made(graph, graph.double(graph.op("Equal", size, graph.constant([[np.inf]]))), args, "bool")


def _hypot(graph: Graph, args: tuple[Col, ...], inputs: list[str]) -> Col:
    squares = [graph.op("Mul", value, value) for value in inputs]
    return made(graph, graph.op("Sqrt", graph.op("Add", *squares)), args)


def _same(graph: Graph, args: tuple[Col, ...], inputs: list[str]) -> Col:
    return args[0]


def _arcsinh(graph: Graph, args: tuple[Col, ...], inputs: list[str]) -> Col:
    size = graph.op("Abs", inputs[0])
    root = graph.op("Sqrt", graph.op("Add", graph.op("Mul", size, size), graph.constant([[1.0]])))
    return made(graph, graph.op("Mul", graph.op("Sign", inputs[0]), graph.op("Log", graph.op("Add", size, root))), args)


def _box_cox(graph: Graph, args: tuple[Col, ...], inputs: list[str]) -> Col:
    x, power = inputs
    zero = graph.op("Equal", power, graph.constant([[0.0]]))
    safe = graph.where(zero, graph.constant([[1.0]]), power)
    bent = graph.op("Div", graph.op("Sub", graph.op("Pow", x, safe), graph.constant([[1.0]])), safe)
    return made(graph, graph.where(zero, graph.op("Log", x), bent), args)


def _arctan2(graph: Graph, args: tuple[Col, ...], inputs: list[str]) -> Col:
    y, x = inputs
    zero = graph.constant([[0.0]])
    safe = graph.where(graph.op("Equal", x, zero), graph.constant([[1.0]]), x)
    base = graph.op("Atan", graph.op("Div", y, safe))
    half = graph.where(graph.op("Less", y, zero), graph.constant([[-np.pi]]), graph.constant([[np.pi]]))
    base = graph.where(graph.op("Less", x, zero), graph.op("Add", base, half), base)
    upright = graph.op("Mul", graph.op("Sign", y), graph.constant([[np.pi / 2]]))
    return made(graph, graph.where(graph.op("Equal", x, zero), upright, base), args)


RULES: dict[str, Callable[..., Col]] = {
    "logical_and": _logical("And"), "logical_or": _logical("Or"), "logical_xor": _logical("Xor"), "logical_not": _not,
    "bitwise_and": _bitwise("And"), "bitwise_or": _bitwise("Or"), "bitwise_xor": _bitwise("Xor"), "invert": _not,
    "log1p": _log1p, "expm1": _expm1, "exp2": _exp2, "log2": _scaled(1 / np.log(2.0), "Log"),
    "log10": _scaled(1 / np.log(10.0), "Log"), "square": _square, "cbrt": _cbrt, "power": _power, "float_power": _power,
    "floor_divide": _floor_divide, "remainder": _remainder, "mod": _remainder, "maximum": _extreme("Greater", False),
    "minimum": _extreme("Less", False), "fmax": _extreme("Greater", True), "fmin": _extreme("Less", True),
    "trunc": _trunc, "isfinite": _finite, "isinf": _infinite, "hypot": _hypot, "positive": _same, "conjugate": _same,
    "deg2rad": _scaled(np.pi / 180, ""), "radians": _scaled(np.pi / 180, ""), "rad2deg": _scaled(180 / np.pi, ""),
    "degrees": _scaled(180 / np.pi, ""), "arctan2": _arctan2, "boxcox": _box_cox, "arcsinh": _arcsinh,
}  # fmt: skip


def rounded(graph: Graph, col: Col, decimals: int) -> Col:
    """`np.round`: halves to the even neighbour."""
    _numbers((col,))
    value = tensor(graph, col)
    if decimals:
        factor = graph.constant([[10.0 ** abs(decimals)]])
        first, last = ("Mul", "Div") if decimals > 0 else ("Div", "Mul")
        return made(graph, graph.op(last, graph.op("Round", graph.op(first, value, factor)), factor), (col,))
    return made(graph, graph.op("Round", value), (col,))


def bounded(graph: Graph, col: Col, low: Any, high: Any) -> Col:
    """`clip` between numbers."""
    _numbers((col,))
    return made(graph, clipped(graph, tensor(graph, col), low, high), (col,))


def filled(graph: Graph, col: Col, value: Col) -> Col:
    """`fillna`."""
    if col.kind in ("number", "bool") and value.kind == "category":
        raise Untraceable("it fills a text into numbers")
    if col.tensor in graph.strings.made and value.kind == "category" and not value.roots:
        from .strings import made as text_of
        from .strings import replaced

        text, lost = graph.strings.made[col.tensor]
        assert value.vocabulary is not None
        return col if lost is None else text_of(graph, col, replaced(graph, text, lost, value.vocabulary.values[0]))
    if col.filled is not None:
        return col
    found = choose(graph, is_missing(graph, col), value, col)
    if col.kind == value.kind == "category" and col.raw and not value.roots and value.vocabulary is not None:
        found = replace(found, raw=True, filled=value.vocabulary.values[0], dtype=col.dtype)
    return replace(found, label=col.label, kind=col.kind, vocabulary=found.vocabulary, numeral=col.numeral)


def cast(graph: Graph, col: Col, dtype: Any) -> Col:
    """`astype`."""
    name = str(getattr(dtype, "__name__", dtype)).lower()
    if col.kind == "date" and "int" in name:
        # A request has milliseconds; the number is in the unit of the column's own type.
        unit = next((unit for unit in UNITS if f"[{unit}]" in col.dtype), "ns")
        number = graph.op("Mul", tensor(graph, col), graph.constant([[UNITS[unit]]]))
        return made(graph, graph.op("Floor", number) if unit == "s" else number, (col,))
    if col.kind == "date" and "datetime" in name:
        return col
    if "category" in name:
        return replace(col, dtype="category")
    if name in ("object", "o"):
        return col
    if name in ("str", "string", "str_", "unicode", "u", "<u"):
        if col.kind == "category":
            return col if name == "string" else _worded(graph, col)
        if col.kind == "bool":
            return replace(col, numeral="bool")
        if col.kind != "number":
            raise Untraceable("it makes a date text")
        whole = "int" in col.dtype.lower() and not col.dtype.startswith("I")
        return replace(col, numeral="int" if whole else "float", raw=False)
    if col.kind == "category":
        from .rewriting import number

        if not name.startswith(("int", "uint", "float")):
            raise Untraceable(f"it makes a text {dtype}")
        col = number(graph, col, True)
    if name.startswith(("int", "uint")):
        return replace(truncated(graph, col), dtype="int64", label=col.label)
    if name.startswith("float"):
        if name == "float32":
            return made(graph, graph.double(graph.cast(tensor(graph, col), 1)), (col,))
        return replace(made(graph, tensor(graph, col), (col,)), raw=col.raw, filled=col.filled)
    if name.startswith("bool"):
        return made(graph, graph.double(test_of(graph, col)), (col,), "bool")
    raise Untraceable(f"it makes a column {dtype}")


def _worded(graph: Graph, col: Col) -> Col:
    """`astype(str)`, which makes a missing value of objects the word `None` or `nan` before pandas 3."""
    assert col.vocabulary is not None
    if col.dtype in ("str", "string", "category") or PANDAS_3:
        return col  # a missing value stays one
    return filled(graph, col, constant(graph, "None" if col.mark == "none" else "nan"))


def mapped(graph: Graph, col: Col, table: dict[Any, Any], other: Col | None) -> Col:
    """The value that a dictionary has for each one, `other` for those that it lacks."""
    from .categories import code, is_category_missing
    from .tables import lines, numbers

    values = numbers(list(table.values())) if other is None and table else None
    if values is not None and col.kind in ("category", "number", "bool"):
        found, _ = lines(graph, col, list(table), values[:, None])
        return made(graph, found, (col,))
    result = other if other is not None else constant(graph, np.nan)
    value = tensor(graph, col)
    for key, to in table.items():
        if is_category_missing(col, key) or (col.kind == "number" and (key is None or key != key)):
            test = graph.op("IsNaN", value)
        else:
            test = graph.op("Equal", value, graph.constant([[code(col, key)]]))
        result = choose(graph, made(graph, graph.double(test), (col,), "bool"), constant(graph, to), result)
    return replace(result, label=col.label, roots=roots((col, result)))


def member(graph: Graph, col: Col, values: Any) -> Col:
    """`isin`."""
    from .categories import code

    known = list(values)
    codes = [code(col, value) for value in known if value is not None and value == value]
    test = graph.op("Equal", tensor(graph, col), graph.constant([codes or [np.nan]]))
    some = graph.op("Greater", graph.sum(graph.double(test)), graph.constant([[0.5]]))
    if any(value is None or value != value for value in known):
        some = graph.op("Or", some, graph.op("IsNaN", tensor(graph, col)))
    return made(graph, graph.double(some), (col,), "bool")
