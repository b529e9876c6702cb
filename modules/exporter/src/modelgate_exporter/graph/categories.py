"""Columns compared with lists of known values: the encoders, and what fills missing values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from .columns import Col, Context, alone, is_nan, joined

NEVER = -7.0
"""A code that no value has."""


def code(col: Col, value: Any) -> float:
    """A known value as the number that stands for it in the column; missing ones have none."""
    if value is None or is_nan(value):
        return NEVER
    if col.kind == "category":
        assert col.vocabulary is not None
        return col.vocabulary.code(value) if isinstance(value, str) else NEVER
    if isinstance(value, str):
        return _numeral(col, value)
    try:
        return float(value)
    except (TypeError, ValueError):
        return NEVER


def _numeral(col: Col, text: str) -> float:
    """The number that was made this text; `NEVER` where none is."""
    if col.numeral == "bool":
        return {"True": 1.0, "False": 0.0}.get(text, NEVER)
    if col.numeral == "":
        return float("nan")
    try:
        number = float(text)
    except ValueError:
        return NEVER
    return number if str(int(number) if col.numeral == "int" else number) == text else NEVER


def is_category_missing(col: Col, value: Any) -> bool:
    """Whether a category stands for the column's missing values."""
    return (value is None and col.mark == "none") or (is_nan(value) and col.mark == "nan")


def matches(context: Context, cols: Sequence[Col], categories: Sequence[Sequence[Any]]) -> str:
    """For each category of each column in turn whether the row has it: `[rows, categories]` booleans."""
    graph = context.graph
    wide = [col for col, values in zip(cols, categories, strict=True) for _ in values]
    codes = [code(col, v) for col, values in zip(cols, categories, strict=True) for v in values]
    missing = [is_category_missing(col, v) for col, values in zip(cols, categories, strict=True) for v in values]
    spread = joined(graph, wide)
    test = graph.op("Equal", spread, graph.constant([codes]))
    if any(missing):
        nothing = graph.op("And", graph.op("IsNaN", spread), graph.constant([missing], bool))
        test = graph.op("Or", test, nothing)
    return test


def strict(context: Context, step: Any, col: Col, categories: Sequence[Any]) -> bool:
    """Has requests with another value refused; `False` where only the graph can see it."""
    if not col.raw or len(col.roots) != 1:
        return False
    known = [value for value in categories if value is not None and not is_nan(value)]
    if any(is_category_missing(col, value) for value in categories) or col.filled is not None and code(col, col.filled) in [code(col, value) for value in known]:
        known.append(None)
    col.roots[0].strict.append(known)
    return True


def guarded(context: Context, result: str, width: int, known: str) -> str:
    """The result, or an error for rows of which `known` (`[rows, 1]` booleans) is false."""
    graph = context.graph
    place = graph.where(known, graph.places([0]), graph.places([2**31 - 1]))
    zero = graph.op("Gather", graph.constant([0.0]), place, axis=0)
    return graph.op("Add", result, zero)


def looked_up(
    context: Context, col: Col, categories: Sequence[Any], table: npt.NDArray[Any], other: npt.NDArray[Any]
) -> tuple[str, str]:
    """The rows of a table by category, `other` for an unknown one, and whether it was known."""
    graph = context.graph
    test = matches(context, [col], [categories])
    ones = graph.double(test)
    known = graph.sum(ones)
    rest = graph.op("Sub", graph.constant([[1.0]]), known)
    whole = np.vstack([table, other[None, :]])
    odd = ~np.isfinite(whole)
    hot = graph.concat([ones, rest])
    found = graph.op("MatMul", hot, graph.constant(np.where(odd, 0.0, whole)))
    if odd.any():
        # A product with NaN is NaN in every row.
        lost = graph.op("Greater", graph.op("MatMul", hot, graph.constant(odd)), graph.constant([[0.5]]))
        found = graph.where(lost, graph.constant([[np.nan]]), found)
    return found, graph.op("Greater", known, graph.constant([[0.5]]))


def checked(context: Context, step: Any, cols: Sequence[Col]) -> None:
    """Refuses columns whose values no encoder is told apart by."""
    for place, col in enumerate(cols):
        known = list(step.categories_[place]) if hasattr(step, "categories_") else []
        large = [value for value in known if isinstance(value, (int, np.integer)) and abs(int(value)) >= 2**53]
        if col.kind == "number" and large:
            raise context.refuse(
                step, [col], f"its category {large[0]} is too large to be told from its neighbours",
                "make the column text before the pipeline is fitted",
            )  # fmt: skip
        if col.kind in ("date", "text"):
            what = "a date" if col.kind == "date" else "free text that another step splits into words"
            raise context.refuse(
                step, [col], f"the column is {what}", "encode parts of it that are numbers or a copy of the column"
            )


def one_hot(step: Any, cols: list[Col], context: Context) -> list[Col]:
    """OneHotEncoder."""
    checked(context, step, cols)
    graph = context.graph
    test = graph.double(matches(context, cols, step.categories_))
    for_all: list[tuple[str, list[int]]] = []
    made: list[Col] = []
    offset, groups_of, widths = 0, [], []
    for place, (col, categories) in enumerate(zip(cols, step.categories_, strict=True)):
        size = len(categories)
        infrequent = _infrequent(step, place)
        frequent = [c for c in range(size) if c not in infrequent]
        width = len(frequent) + bool(infrequent)
        groups = np.zeros((size, width))
        for at in range(size):
            groups[at, len(frequent) if at in infrequent else frequent.index(at)] = 1.0
        known = None
        refuses = step.handle_unknown == "error"
        if (refuses and not strict(context, step, col, categories)) or (infrequent and not refuses):
            part = graph.gather(test, list(range(offset, offset + size)))
            known = graph.op("Greater", graph.sum(part), graph.constant([[0.5]]))
        groups_of.append((offset, groups, known if refuses else None, known if infrequent and not refuses else None))
        widths.append(width)
        offset += size
    dropped = step.drop_idx_ if step.drop_idx_ is not None else [None] * len(cols)
    grouped = any(infrequent is not None for *_, infrequent in groups_of) or any(
        groups.shape[0] != groups.shape[1] for _, groups, _, _ in groups_of
    )
    for place, (col, (start, groups, guard, lost)) in enumerate(zip(cols, groups_of, strict=True)):
        size, width = groups.shape
        part, first = test, start
        if grouped or guard is not None:
            part, first = graph.gather(test, list(range(start, start + size))), 0
        if size != width or lost is not None:
            part = graph.op("MatMul", part, graph.constant(groups))
        if lost is not None and step.handle_unknown in ("infrequent_if_exist", "warn"):
            last = np.zeros((1, width))
            last[0, -1] = 1.0
            part = graph.where(lost, part, graph.constant(last))
        if guard is not None:
            part = guarded(context, part, width, guard)
        kept = [at for at in range(width) if at != dropped[place]]
        for_all.append((part, [first + at for at in kept]))
        made += [Col(part, first + at, "number", None, col.roots) for at in kept]
    return made


def _infrequent(step: Any, place: int) -> set[int]:
    if not getattr(step, "_infrequent_enabled", False):
        return set()
    places = step._infrequent_indices[place]
    return set() if places is None else {int(at) for at in places}


def ordinal(step: Any, cols: list[Col], context: Context) -> list[Col]:
    """OrdinalEncoder."""
    checked(context, step, cols)
    made = []
    for place, (col, categories) in enumerate(zip(cols, step.categories_, strict=True)):
        infrequent = _infrequent(step, place)
        frequent = [at for at in range(len(categories)) if at not in infrequent]
        codes = [float(len(frequent) if at in infrequent else frequent.index(at)) for at in range(len(categories))]
        for at, value in enumerate(categories):
            if is_nan(value) and hasattr(step, "encoded_missing_value"):
                codes[at] = float(step.encoded_missing_value)
        refuses = step.handle_unknown == "error"
        other = float("nan") if refuses else float(step.unknown_value)
        table = np.array(codes)[:, None] if codes else np.zeros((0, 1))
        found, known = looked_up(context, col, list(categories), table, np.array([other]))
        if refuses and not strict(context, step, col, list(categories)):
            found = guarded(context, found, 1, known)
        made.append(col.number(found))
    return made


def target(step: Any, cols: list[Col], context: Context) -> list[Col]:
    """TargetEncoder: the mean of the target for each category."""
    checked(context, step, cols)
    several = step.target_type_ == "multiclass"
    width = len(step.classes_) if several else 1
    mean = np.atleast_1d(np.asarray(step.target_mean_, np.float64))
    made = []
    for place, (col, categories) in enumerate(zip(cols, step.categories_, strict=True)):
        tables = [np.asarray(step.encodings_[place * width + at], np.float64) for at in range(width)]
        found, _ = looked_up(context, col, list(categories), np.stack(tables, axis=1), mean)
        made += [col.number(found, at) for at in range(width)]
    return made


def impute(step: Any, cols: list[Col], context: Context) -> list[Col]:
    """SimpleImputer."""
    graph = context.graph
    marker = step.missing_values
    made: list[Col] = []
    tests: list[str | None] = []
    for col, value in zip(cols, step.statistics_, strict=True):
        if col.kind in ("date", "text"):
            checked(context, step, [col])
        test = _is_missing(context, col, marker)
        tests.append(test)
        empty = is_nan(value)
        if empty and not step.keep_empty_features and step.strategy != "constant":
            continue
        if test is None or empty:
            made.append(col)
            continue
        fill = code(col, value)
        if fill == NEVER:
            raise context.refuse(
                step, [col], f"it fills {value!r} into a column of another type", "give it a fill_value of the column's type"
            )
        tensor = graph.where(test, graph.constant([[fill]]), alone(graph, col))
        own = is_nan(marker) or marker is None
        # Of another mark requests have values that no encoder behind it sees.
        made.append(replace(col, tensor=tensor, place=0, filled=value if own else col.filled, raw=col.raw and own))
    if step.add_indicator:
        made += _indicated(context, step.indicator_, cols, tests)
    return made


def _is_missing(context: Context, col: Col, marker: Any) -> str | None:
    """Where the column has what the step takes for missing; `None` where it never does."""
    graph = context.graph
    if is_nan(marker) or marker is None:
        looks = "none" if marker is None else "nan"
        return graph.op("IsNaN", alone(graph, col)) if looks == col.mark or col.kind in ("number", "bool") else None
    number = code(col, marker)
    if number == NEVER:
        return None
    return graph.op("Equal", alone(graph, col), graph.constant([[number]]))


def _indicated(context: Context, indicator: Any, cols: list[Col], tests: list[str | None]) -> list[Col]:
    graph = context.graph
    made = []
    for place in indicator.features_:
        test = tests[place]
        value = graph.double(test) if test is not None else graph.double(graph.op("Less", alone(graph, cols[place]), graph.constant([[-np.inf]])))
        made.append(cols[place].number(value))
    return made


def indicator(step: Any, cols: list[Col], context: Context) -> list[Col]:
    """MissingIndicator."""
    tests = [_is_missing(context, col, step.missing_values) for col in cols]
    return _indicated(context, step, cols, tests)
