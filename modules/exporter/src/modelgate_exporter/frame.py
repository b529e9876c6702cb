"""The sample frame: which datatype each input column has, and its rows as JSON."""

import math
from typing import Any

import numpy as np
import pandas as pd

from .errors import CannotExport

Json = Any


def datatype(column: pd.Series, name: str, dates: bool = False) -> str:
    """The contract's datatype for a column's values: `bool`, `i64`, `f32`, `f64` or `bytes`.

    With `dates`, a column of dates is `i64`: milliseconds since 1970, as pandas' own JSON has them.
    """
    dtype = column.dtype
    if dates and pd.api.types.is_datetime64_any_dtype(dtype):
        if getattr(dtype, "tz", None) is not None:
            raise CannotExport(
                f"cannot export column '{name}': its dates have a time zone; make them UTC without one "
                "before the pipeline (.dt.tz_convert(None))"
            )
        return "i64"
    if isinstance(dtype, pd.CategoricalDtype):
        return datatype(pd.Series(dtype.categories), name)
    if pd.api.types.is_bool_dtype(dtype):
        return "bool"
    if pd.api.types.is_integer_dtype(dtype):
        return "i64"
    if pd.api.types.is_float_dtype(dtype):
        return "f32" if column.to_numpy(dtype=None).dtype.itemsize <= 4 else "f64"
    if isinstance(dtype, pd.StringDtype):
        return "bytes"
    if pd.api.types.is_object_dtype(dtype):
        kinds = {type(value) for value in column if not is_missing(value)}
        if kinds <= {str, np.str_}:
            return "bytes"
        if kinds <= {bool, np.bool_}:
            return "bool"
        if all(issubclass(kind, (int, np.integer)) and kind is not bool for kind in kinds):
            return "i64"
        if all(
            issubclass(kind, (int, float, np.integer, np.floating)) and kind is not bool
            for kind in kinds
        ):
            return "f64"
        names = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise CannotExport(
            f"cannot export column '{name}': it mixes values of {names}; "
            "give it one type in the sample frame"
        )
    raise CannotExport(
        f"cannot export column '{name}': it holds {dtype}, and a request has numbers, booleans "
        "and strings only; make it one of these before the pipeline"
    )


def of_polars(frame: Any) -> Any:
    """A frame of polars as one of pandas; anything else as it is."""
    if type(frame).__module__.partition(".")[0] != "polars" or type(frame).__name__ != "DataFrame":
        return frame
    return pd.DataFrame({column.name: _of_polars(column) for column in frame.get_columns()})


def _of_polars(column: Any) -> pd.Series:
    # A column at a time, so that pyarrow is not needed; missing values as pandas has them.
    kind = column.dtype
    if kind.is_numeric() and not kind.is_decimal():
        return pd.Series(column.to_numpy())
    if str(kind) == "Boolean" and not column.null_count():
        return pd.Series(column.to_numpy())
    if kind.is_temporal():
        return pd.Series(pd.to_datetime(column.to_list()))
    return pd.Series(column.to_list(), dtype=object)


def is_missing(value: object) -> bool:
    """None, NaN, or pandas' NA and NaT."""
    return value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and math.isnan(value))


def to_json(value: Any, kind: str) -> Json:
    """One cell as a request carries it: whole numbers without a point, missing ones as null."""
    if is_missing(value):
        return None
    if kind == "bytes":
        return str(value)
    if kind == "bool":
        return bool(value)
    if isinstance(value, pd.Timestamp):
        return value.value // 1_000_000 if value.unit == "ns" else int(value.as_unit("ns").value // 1_000_000)
    if kind == "i64":
        return int(value)
    number = float(value)
    if number.is_integer() and abs(number) < 2**53:
        return int(number)
    return number


def rows(frame: pd.DataFrame, datatypes: dict[str, str]) -> list[dict[str, Json]]:
    """The columns named in `datatypes`, row by row."""
    columns = {
        name: [to_json(value, kind) for value in frame[name].astype(object)]
        for name, kind in datatypes.items()
    }
    return [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]


def spread(count: int, wanted: int) -> list[int]:
    """At most `wanted` places of `count`, evenly spaced, the first one always among them."""
    if count <= wanted:
        return list(range(count))
    return sorted({int(place) for place in np.linspace(0, count - 1, wanted)})
