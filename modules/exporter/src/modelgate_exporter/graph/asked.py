"""Encoders of categories that are asked themselves: their answers to each known value, to another and to none are the table.

So a class of category_encoders is exported by what its own `transform` says, whatever its options mean. What it says of
one column may not depend on another, which is tried.
"""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from . import categories
from .columns import Col, Context, alone, is_nan
from .tables import lines

Floats = npt.NDArray[np.float64]

UNKNOWN = "modelgate: never seen"

ENCODERS = {
    "BackwardDifferenceEncoder", "BaseNEncoder", "BinaryEncoder", "CatBoostEncoder", "CountEncoder", "CountTargetEncoder", "GLMMEncoder",
    "GrayEncoder", "HelmertEncoder", "JamesSteinEncoder", "LeaveOneOutEncoder", "MEstimateEncoder", "OneHotEncoder", "OrdinalEncoder",
    "PolynomialEncoder", "QuantileEncoder", "RankHotEncoder", "SumEncoder", "SummaryEncoder", "TargetEncoder", "WOEEncoder",
}  # fmt: skip
"""Of category_encoders: those that take each column by itself, without a text's parts."""


def asks(step: Any) -> bool:
    """Whether a step is one of them."""
    kind = type(step)
    return kind.__module__.partition(".")[0] == "category_encoders" and kind.__name__ in ENCODERS and not getattr(step, "composite_cols", None)


def refuse_hashes(step: Any, cols: list[Col], context: Context) -> None:
    """Refuses an encoder that hashes whatever text a request has."""
    kind = type(step)
    if kind.__module__.partition(".")[0] == "category_encoders" and kind.__name__ == "HashingEncoder":
        raise context.refuse(
            step, [col for col, label in zip(cols, step.feature_names_in_, strict=False) if label in set(step.cols)],
            f"it hashes every text by {step.hash_method}, which has no operator",
            "train the pipeline with BinaryEncoder, TargetEncoder or scikit-learn's OneHotEncoder(max_categories=…) on these columns",
        )  # fmt: skip


class Inseparable(Exception):
    """The step's columns depend on several columns, or on what no table can say."""


class _Refuses(Exception):
    """The step takes no such row."""


@dataclass
class _Table:
    """The answers of a step to the values of one column, the others being as they are in the first row."""

    col: Col
    known: list[Any]
    values: Floats
    """`[known, outputs]`."""
    unknown: Floats | None
    """`[1, outputs]`; nothing where the step refuses the row."""
    missing: Floats | None


def encoded(step: Any, cols: list[Col], framed: bool, context: Context) -> list[Col]:
    """The columns behind the step. Raises `Inseparable`."""
    try:
        return _encoded(step, cols, framed, context)
    except _Refuses as error:
        raise Inseparable from error


def _encoded(step: Any, cols: list[Col], framed: bool, context: Context) -> list[Col]:
    labels = list(step.feature_names_in_)
    if len(labels) != len(cols) or (framed and labels != [col.label for col in cols]):
        raise Inseparable
    asked = [place for place, label in enumerate(labels) if label in set(step.cols)]
    if not asked or any(cols[place].kind not in ("category", "number", "bool") for place in asked):
        raise Inseparable
    known = {place: _known(step, labels[place], cols[place]) for place in asked}
    if not all(known.values()):
        raise Inseparable
    first = [known[place][0] if place in known else _other(cols[place]) for place in range(len(cols))]
    names, base = _said(step, labels, cols, [first])
    tables = {}
    for place in asked:

        def varied(values: list[Any], place: int = place) -> Floats:
            return _said(step, labels, cols, [[*first[:place], value, *first[place + 1 :]] for value in values])[1]

        col = cols[place]
        unknown = None if col.kind == "bool" else _tried(varied, known[place][0], _unknown(col, known[place]))
        missing = None if col.kind == "bool" else _tried(varied, known[place][0], None if col.mark == "none" else np.nan)
        tables[place] = _Table(col, known[place], varied(known[place]), unknown, missing)
    return _columns(step, labels, cols, names, base, tables, context)


def _columns(step: Any, labels: list[Any], cols: list[Col], names: list[Any], base: Floats, tables: dict[int, _Table], context: Context) -> list[Col]:
    owners: dict[int, int] = {}
    kept = {label: place for place, label in enumerate(labels) if place not in tables}
    for place, table in tables.items():
        for at in range(len(names)):
            if names[at] not in kept and _varies(table, base, at):
                if at in owners:
                    raise Inseparable
                owners[at] = place
    first = next(iter(tables))
    # A column that is the same for all values has as many rows as another.
    made: dict[int, Col] = {}
    for place, table in tables.items():
        wanted = [at for at in range(len(names)) if names[at] not in kept and owners.get(at, first) == place]
        made |= dict(zip(wanted, _written(step, table, wanted, base, context), strict=True))
    return [cols[kept[name]].named(name) if name in kept else made[at].named(name) for at, name in enumerate(names)]


def _written(step: Any, table: _Table, wanted: list[int], base: Floats, context: Context) -> list[Col]:
    """The columns of a step that one of its inputs decides."""
    graph, col = context.graph, table.col
    refuses = table.unknown is None and col.kind != "bool"
    values = table.values[:, wanted]
    other = np.zeros((1, len(wanted))) if table.unknown is None else table.unknown[:, wanted]
    keys = list(table.known)
    has_missing = any(value is None or is_nan(value) for value in keys)
    if table.missing is not None and not has_missing:
        keys.append(None if col.mark == "none" else np.nan)
        values = np.vstack([values, table.missing[:, wanted]])
    found, known = lines(graph, col, keys, values, other)
    if refuses and not categories.strict(context, step, col, keys):
        graph.refuse(graph.op("Not", known))
    elif table.missing is None and not has_missing and any(root.lacks for root in col.roots) and col.kind != "bool":
        graph.refuse(graph.op("IsNaN", alone(graph, col)))
    if np.isnan(np.vstack([values, other])).any():
        graph.gaps = True
    return [Col(found, at, "number", None, col.roots) for at in range(len(wanted))]


def _varies(table: _Table, base: Floats, at: int) -> bool:
    rows = [table.values, *(one for one in (table.unknown, table.missing) if one is not None)]
    whole = np.vstack(rows)[:, at]
    same = (whole == base[0, at]) | (np.isnan(whole) & np.isnan(base[0, at]))
    return not bool(same.all())


def _tried(varied: Any, known: Any, value: Any) -> Floats | None:
    """The step's answers to a value beside a known one: pandas maps a column otherwise that is nothing but None."""
    try:
        found: Floats = varied([known, value])[1:]
        return found
    except _Refuses:
        return None


def _said(step: Any, labels: list[Any], cols: list[Col], rows: list[list[Any]]) -> tuple[list[Any], Floats]:
    """The names of the step's columns, and its answers to rows."""
    frame = pd.DataFrame({label: _series([row[place] for row in rows], cols[place]) for place, label in enumerate(labels)}, columns=labels)
    step = copy.copy(step)
    vars(step).pop("_sklearn_output_config", None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            made = step.transform(frame, override_return_df=True)
        except Exception as error:
            raise _Refuses from error
    return list(made.columns), made.apply(_numbers).to_numpy(dtype=np.float64)


def _numbers(column: pd.Series) -> pd.Series:
    """Of a column that the step hands on a number, whatever it holds."""
    return pd.to_numeric(column.astype(object), errors="coerce").astype(np.float64)


def _series(values: list[Any], col: Col) -> pd.Series:
    """Values of a column as a frame of the training has them, as far as they go into its type."""
    kinds = {"str": "str", "string": "string", "Int64": "Int64", "bool": "bool"}
    dtype = kinds.get(col.dtype, object if col.kind == "category" or col.numeral else None)
    if col.dtype == "category":
        return pd.Series(pd.Categorical(values, categories=list(dict.fromkeys([*_categories(col), *(v for v in values if not _lost(v))]))))
    return pd.Series(values, dtype=dtype)


def _lost(value: Any) -> bool:
    return value is None or is_nan(value)


def _categories(col: Col) -> list[Any]:
    return [value for root in col.roots for value in root.categories]


def _unknown(col: Col, known: list[Any]) -> Any:
    """A value of the column's type that is none of the training's."""
    if col.kind == "category" or col.numeral:
        return UNKNOWN
    largest = max((float(value) for value in known if not _lost(value)), default=0.0)
    return int(largest) + 1 if all(isinstance(value, (int, np.integer)) for value in known) else largest + 1.5


def _other(col: Col) -> Any:
    """A value of a column that the step hands on."""
    if col.kind == "category":
        return UNKNOWN
    if col.kind == "date":
        return pd.Timestamp(0)
    return False if col.kind == "bool" else 1


def _known(step: Any, label: Any, col: Col) -> list[Any]:
    """The values of the training, of what the step holds of them."""
    found: dict[Any, None] = {}
    for value in _held(step, label):
        if not (_lost(value) or isinstance(value, (bool, np.bool_))) or (col.kind == "bool" and isinstance(value, (bool, np.bool_))):
            found[value.item() if isinstance(value, np.generic) else value] = None
    text = col.kind == "category" or bool(col.numeral)
    return [value for value in found if isinstance(value, str) == text and (text or isinstance(value, (int, float)))]


def _held(step: Any, label: Any) -> list[Any]:
    """The indices of the tables that a step and those within it have for a column."""
    values: list[Any] = []
    for inner in [step, *(getattr(step, "encoder_list", None) or []), getattr(step, "ordinal_encoder", None)]:
        if inner is None:
            continue
        if inner is not step:
            values += _held(inner, label)
        mapping = getattr(inner, "mapping", None)
        lumped = getattr(inner, "min_group_lumping_", None)
        values += list((lumped or {}).get(label, {}))
        if isinstance(mapping, dict) and hasattr(mapping.get(label), "index") and not hasattr(inner, "ordinal_encoder"):
            values += list(mapping[label].index)
        elif isinstance(mapping, list) and type(inner).__name__ == "OrdinalEncoder":
            values += [value for entry in mapping if entry.get("col") == label for value in pd.Series(entry["mapping"]).index]
    return values
