"""One column of a caller's frame, read from pandas, polars, numpy or plain Python, and made a tensor's values."""

from __future__ import annotations

import datetime
import decimal
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import InvalidInput

Array = npt.NDArray[Any]

NUMPY: dict[str, str] = {
    "BOOL": "?",
    "UINT8": "u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
"""numpy's name of each datatype of the protocol but BYTES."""

WORDS = {"BOOL": "true or false", "BYTES": "text"}
"""How an error calls a datatype; the others are whole numbers, or numbers."""


@dataclass(frozen=True)
class Cells:
    """The values of a column, one a row: numbers and booleans as such, anything else as objects."""

    values: Array
    missing: npt.NDArray[np.bool_] | None
    """Where the frame has no value (None, NaN, NA, NaT, null); `None` if it has all."""
    dtype: str
    """The column's type as the caller knows it."""

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True)
class Tensor:
    """A column as a request carries it."""

    name: str
    datatype: str
    values: Array
    """Of numpy's type for the datatype; objects (`bytes`) for BYTES."""
    missing: npt.NDArray[np.bool_] | None = None
    """Rows that are null; only JSON has a sign for these."""


def pandas(series: Any, name: str) -> Cells:
    """A column of a pandas frame."""
    dtype = series.dtype
    told = str(dtype)
    missing = _mask(series.isna().to_numpy(dtype=bool))
    kind = getattr(dtype, "kind", "O")
    if told.startswith("datetime64"):
        if getattr(dtype, "tz", None) is not None:
            raise _zoned(name, told)
        milliseconds = series.to_numpy().astype("datetime64[ms]").astype("<i8")
        return Cells(milliseconds if missing is None else np.where(missing, 0, milliseconds), missing, told)
    if kind in "biuf":
        if missing is None:
            return Cells(series.to_numpy(dtype=_base(dtype)), None, told)
        blank = False if kind == "b" else 0
        filled = series if kind == "f" and isinstance(dtype, np.dtype) else series.fillna(blank)
        values = filled.to_numpy(dtype=_base(dtype))
        return Cells(np.where(missing, np.nan, values) if kind == "f" else values, missing, told)
    return Cells(series.to_numpy(dtype=object), missing, told)


def _base(dtype: Any) -> Any:
    """The numpy type under a nullable or an Arrow one."""
    if isinstance(dtype, np.dtype):
        return dtype
    return getattr(dtype, "numpy_dtype", None) or object


def polars(series: Any, name: str) -> Cells:
    """A column of a polars frame."""
    import polars as pl

    told = str(series.dtype)
    missing = _mask(series.is_null().to_numpy())
    if isinstance(series.dtype, (pl.Categorical, pl.Enum)):
        series = series.cast(pl.String)
    elif isinstance(series.dtype, (pl.Datetime, pl.Date)):
        if getattr(series.dtype, "time_zone", None):
            raise _zoned(name, told)
        series = series.cast(pl.Datetime("ms")).cast(pl.Int64)
    elif isinstance(series.dtype, pl.Decimal):
        series = series.cast(pl.Float64)
    if series.dtype.is_numeric() or series.dtype == pl.Boolean:
        if missing is not None:
            series = series.fill_null(False if series.dtype == pl.Boolean else 0)
        values = series.to_numpy()
        if values.dtype.kind == "f":
            values = np.where(missing, np.nan, values) if missing is not None else values
            missing = _mask(np.isnan(values))
        return Cells(values, missing, told)
    return Cells(_objects(series.to_list()), missing, told)


def plain(values: Sequence[Any] | Array, name: str) -> Cells:
    """A column of values of Python, or a numpy array of one dimension."""
    array = values if isinstance(values, np.ndarray) else None
    if array is not None and array.dtype.kind in "biuf":
        return Cells(array, _mask(np.isnan(array)) if array.dtype.kind == "f" else None, str(array.dtype))
    if array is not None and array.dtype.kind == "M":
        empty = np.isnat(array)
        return Cells(np.where(empty, 0, array.astype("datetime64[ms]").astype("<i8")), _mask(empty), str(array.dtype))
    objects = _objects(list(values) if array is None else array.tolist())
    missing = _mask(np.fromiter((is_missing(value) for value in objects), bool, len(objects)))
    kinds = sorted({type(value).__name__ for value in objects if not is_missing(value)})
    if not kinds:
        kinds = ["nothing but missing values"]
    return Cells(objects, missing, " and ".join(kinds[:4]))


def is_missing(value: Any) -> bool:
    """None, NaN, or what pandas calls NA and NaT."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, (float, np.floating)) and math.isnan(value)


def tensor(cells: Cells, name: str, datatype: str) -> Tensor:
    """The column as the model takes it, without loss. Raises `InvalidInput` for a value that is something else."""
    if datatype == "BYTES":
        return _texts(cells, name)
    target = np.dtype(NUMPY[datatype])
    if cells.values.dtype.kind == "O":
        cells = _numbers(cells, name, datatype)
    values = cells.values
    if target.kind == "f":
        if cells.missing is not None:
            values = np.where(cells.missing, np.nan, values)
        return Tensor(name, datatype, values.astype(target))
    present = ~cells.missing if cells.missing is not None else np.ones(len(values), bool)
    with np.errstate(invalid="ignore"):
        cast = np.where(present, values, 0).astype(target)
        exact = (cast == values) & ((cast >= 0) == (values >= 0))
    if not (exact | ~present).all():
        row = int(np.argmax(~exact & present))
        raise InvalidInput(
            f"column '{name}' takes {_word(datatype)} ({datatype}); row {row} has {values[row]!s}: "
            "round the column, or fit the pipeline on a sample that has such values"
        )
    return Tensor(name, datatype, cast, cells.missing)


def _texts(cells: Cells, name: str) -> Tensor:
    if cells.values.dtype.kind != "O" and not (cells.missing is not None and cells.missing.all()):
        raise _wrong(name, "BYTES", cells, f"make it text first: frame['{name}'].astype(str)")
    texts = np.empty(len(cells), dtype=object)
    missing = cells.missing
    for row, value in enumerate(cells.values.tolist()):
        if isinstance(value, str):
            texts[row] = value.encode()
        elif isinstance(value, bytes):
            texts[row] = value
        elif missing is not None and missing[row]:
            texts[row] = b""
        else:
            raise _odd(name, "BYTES", row, value)
    return Tensor(name, "BYTES", texts, missing)


def _numbers(cells: Cells, name: str, datatype: str) -> Cells:
    """Objects as numbers of one type."""
    missing = cells.missing if cells.missing is not None else np.zeros(len(cells), bool)
    values = cells.values.tolist()
    for row, value in enumerate(values):
        if missing[row]:
            values[row] = 0
        elif isinstance(value, (datetime.date, np.datetime64)):
            if getattr(value, "tzinfo", None) is not None:
                raise _zoned(name, "datetime with a time zone")
            values[row] = int(np.array(value, "datetime64[ms]").astype("<i8"))
        elif isinstance(value, decimal.Decimal):
            values[row] = float(value)
        elif not isinstance(value, (bool, int, float, np.bool_, np.integer, np.floating)):
            raise _odd(name, datatype, row, value)
    try:
        array = np.array(values)
        if array.dtype.kind not in "biuf":
            raise OverflowError
    except OverflowError:
        raise InvalidInput(f"column '{name}' takes {_word(datatype)} ({datatype}); it has larger numbers") from None
    whole = np.dtype(NUMPY[datatype]).kind in "iu"
    if whole and array.dtype.kind == "f" and any(isinstance(value, int) and abs(value) > 2**53 for value in values):
        raise InvalidInput(f"column '{name}' mixes whole numbers beyond 2**53 with others; give it one type")
    return Cells(array, cells.missing, cells.dtype)


def _word(datatype: str) -> str:
    return WORDS.get(datatype, "numbers" if datatype.startswith("FP") else "whole numbers")


def _wrong(name: str, datatype: str, cells: Cells, advice: str = "") -> InvalidInput:
    advice = f": {advice}" if advice else ""
    return InvalidInput(
        f"column '{name}' takes {_word(datatype)} ({datatype}), and the frame has {cells.dtype}{advice}"
    )


def _odd(name: str, datatype: str, row: int, value: Any) -> InvalidInput:
    told = repr(value)
    told = told if len(told) <= 80 else told[:77] + "..."
    return InvalidInput(
        f"column '{name}' takes {_word(datatype)} ({datatype}); row {row} has {told} ({type(value).__name__})"
    )


def _zoned(name: str, dtype: str) -> InvalidInput:
    return InvalidInput(
        f"column '{name}' has dates with a time zone ({dtype}), and the model takes dates without one: "
        "make them what the pipeline was fitted on, for instance .dt.tz_convert('UTC').dt.tz_localize(None)"
    )


def _mask(missing: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_] | None:
    return missing if missing.any() else None


def _objects(values: list[Any]) -> Array:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array
