"""From a caller's rows to tensors, and from outputs back to rows of the same kind."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from . import cells
from .cells import Array, Cells, Tensor
from .errors import InvalidInput
from .schema import Column, Model

KINDS = "a pandas or polars frame, a numpy array, a list of dicts, or a dict (one row)"


@dataclass(frozen=True)
class Rows:
    """The rows that a caller gave."""

    given: Any
    kind: str
    """`pandas`, `polars`, `series` (pandas), `array`, `dicts`, `dict` or `values`."""
    count: int
    names: list[Any] | None
    """Names of columns; `None` where columns have places alone."""
    column: Callable[[Any, str], Cells]
    """Reads the column of a name, or place, for an input of that name."""


def rows(given: Any) -> Rows:
    """Tells what was given. Raises `InvalidInput` for anything but the kinds above."""
    library, kind = type(given).__module__.partition(".")[0], type(given).__name__
    if library == "pandas" and kind == "DataFrame":
        names = list(given.columns)
        _once(names)
        return Rows(given, "pandas", len(given), names, lambda key, name: cells.pandas(given[key], name))
    if library == "polars" and kind == "DataFrame":
        return Rows(given, "polars", given.height, given.columns, lambda key, name: cells.polars(given[key], name))
    if library == "pandas" and kind == "Series":
        return Rows(given, "series", len(given), None, lambda _, name: cells.pandas(given, name))
    if isinstance(given, np.ndarray) and given.ndim:
        flat = given.ndim == 1
        return Rows(
            given, "array", len(given), None, lambda at, name: cells.plain(given if flat else given[:, at], name)
        )
    if isinstance(given, Mapping):
        return _dicts([given], given, "dict")
    if isinstance(given, Sequence) and not isinstance(given, (str, bytes)):
        if given and all(isinstance(row, Mapping) for row in given):
            return _dicts(given, given, "dicts")
        if given and all(isinstance(row, (list, tuple, np.ndarray)) for row in given):
            raise InvalidInput(f"rows that are lists have no names of columns; give {KINDS}")
        return Rows(given, "values", len(given), None, lambda _, name: cells.plain(given, name))
    raise InvalidInput(f"rows are {KINDS}, not {type(given).__name__}")


def _dicts(records: Sequence[Mapping[str, Any]], given: Any, kind: str) -> Rows:
    names = list(dict.fromkeys(key for record in records for key in record))
    return Rows(
        given,
        kind,
        len(records),
        names,
        lambda key, name: cells.plain([record.get(key) for record in records], name),
    )


def _once(names: list[Any]) -> None:
    if twice := [name for place, name in enumerate(names) if name in names[:place]]:
        raise InvalidInput(f"the frame has several columns {twice[0]!r}; names of columns must differ")


def tensors(model: Model, given: Rows) -> list[Tensor]:
    """The model's inputs, each with all rows. Raises `InvalidInput` where the rows are not what it takes."""
    if model.matrix is not None:
        return [_matrix(model.matrix, given)]
    array = given.given if given.kind == "array" else None
    if len(model.inputs) == 1 and array is not None and array.ndim == len(model.inputs[0].shape):
        only = model.inputs[0]
        if array.ndim > 1:
            return [Tensor(only.name, only.datatype, np.ascontiguousarray(array, cells.NUMPY[only.datatype]))]
    places = _places(model, given)
    return [_tensor(entry, given, key) for entry, key in zip(model.inputs, places, strict=True)]


def _tensor(entry: Column, given: Rows, key: Any) -> Tensor:
    lacking = key is LACKING
    column = cells.plain([None] * given.count, entry.name) if lacking else given.column(key, entry.name)
    alone = entry.shape[1:] == (1,) and not (len(column) and isinstance(column.values[0], (list, tuple, np.ndarray)))
    if len(entry.shape) > 1 and not alone:
        return _nested(entry, column)
    made = cells.tensor(column, entry.name, entry.datatype)
    if alone:
        made = replace(made, values=made.values[:, None])
    if made.missing is not None and not entry.optional:
        row = int(np.argmax(made.missing))
        raise InvalidInput(
            f"column '{entry.name}' has no value in row {row}, and the model takes no missing ones there: "
            "fill it, or fit the pipeline with a step that does (SimpleImputer) on a sample with missing values"
        )
    return made


LACKING = object()


def _places(model: Model, given: Rows) -> list[Any]:
    """For each input the caller's column."""
    wanted = [entry.name for entry in model.inputs]
    if given.names is None:
        return _by_place(wanted, given)
    have = set(given.names)
    records = given.kind in ("dict", "dicts")
    absent = [entry.name for entry in model.inputs if entry.name not in have]
    # A frame may have more columns than the model takes, as for the pipeline itself.
    odd = [str(name) for name in given.names if name not in wanted]
    meant = _near(absent, odd)
    # A dict may leave out what may be missing, unless it has a name that looks like a mistake for it.
    lacking = (
        absent
        if meant or not records
        else [entry.name for entry in model.inputs if entry.name in absent and not entry.optional]
    )
    if lacking:
        shown = ", ".join(f"'{name}'" for name in lacking[:10]) + (" and more" if len(lacking) > 10 else "")
        many = "s" if len(lacking) > 1 else ""
        raise InvalidInput(
            f"the rows lack column{many} {shown} of model '{model.name}'{meant}; they have {_told(given.names)}"
        )
    return [name if name in have else LACKING for name in wanted]


def _near(lacking: list[str], odd: list[str]) -> str:
    pairs = [(name, close[0]) for name in lacking if (close := difflib.get_close_matches(name, odd, 1, 0.75))]
    return f" (is '{pairs[0][1]}' meant to be '{pairs[0][0]}'?)" if pairs else ""


def _told(names: Sequence[Any]) -> str:
    if not names:
        return "none"
    return ", ".join(f"'{name}'" for name in names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def _by_place(wanted: list[str], given: Rows) -> list[int]:
    array = given.given if given.kind == "array" else None
    width = array.shape[1] if array is not None and array.ndim == 2 else 1
    if width == len(wanted):
        return list(range(width))
    # The exporter calls the columns of an array so; those that the pipeline drops are not among the inputs.
    numbered = [re.fullmatch(r"x(\d+)", name) for name in wanted]
    places = [int(match[1]) for match in numbered if match]
    if len(places) == len(wanted) and max(places) < width:
        return places
    one = array is not None and array.ndim == 1 and array.size == len(wanted)
    raise InvalidInput(
        f"the model takes {len(wanted)} column{'s' if len(wanted) > 1 else ''} ({_told(wanted)}), the rows have {width}"
        + ("; give one row as array.reshape(1, -1)" if one else "; give a frame with names of columns")
    )


def _matrix(entry: Column, given: Rows) -> Tensor:
    """The one input that has a whole row."""
    width = entry.shape[1]
    if given.kind == "array" and given.given.ndim == 2:
        values = given.given
        if values.dtype.kind not in "biuf":
            made = [
                cells.tensor(cells.plain(values[:, at], f"{at}"), f"{at}", entry.datatype)
                for at in range(values.shape[1])
            ]
            values = np.stack([tensor.values for tensor in made], axis=1)
    elif given.names is not None and given.names != [entry.name]:
        keys = given.names
        columns = [cells.tensor(given.column(key, str(key)), str(key), entry.datatype) for key in keys]
        values = np.stack([column.values for column in columns], axis=1) if columns else np.empty((given.count, 0))
    else:
        return _nested(entry, given.column(entry.name, entry.name))
    if width not in (-1, values.shape[1]):
        raise InvalidInput(f"input '{entry.name}' takes {width} numbers a row, the rows have {values.shape[1]}")
    return Tensor(entry.name, entry.datatype, _exact(values, entry.name, entry.datatype))


def _exact(values: Array, name: str, datatype: str) -> Array:
    flat = cells.tensor(cells.plain(values.ravel(), name), name, datatype)
    if flat.missing is not None:
        raise InvalidInput(f"input '{name}' takes whole numbers, and has missing ones")
    return flat.values.reshape(values.shape)


def _nested(entry: Column, column: Cells) -> Tensor:
    """A column whose values are lists or arrays."""
    try:
        values = np.stack([np.asarray(value) for value in column.values.tolist()]) if len(column) else column.values
    except ValueError:
        values = np.empty(0)
    fits = values.ndim == len(entry.shape) and all(
        size in (-1, have) for size, have in zip(entry.shape[1:], values.shape[1:], strict=True)
    )
    if not fits:
        shape = " by ".join("any" if size < 0 else str(size) for size in entry.shape[1:])
        raise InvalidInput(f"column '{entry.name}' takes a list of {shape} values in each row, all of one length")
    if entry.datatype == "BYTES":
        flat = cells.tensor(cells.plain(list(values.ravel()), entry.name), entry.name, "BYTES")
        return Tensor(entry.name, "BYTES", flat.values.reshape(values.shape))
    return Tensor(entry.name, entry.datatype, _exact(values, entry.name, entry.datatype))


def back(given: Rows, model: Model, outputs: Mapping[str, Array]) -> Any:
    """The outputs as rows of the kind that came: all outputs for frames and dicts, the first one for arrays."""
    first = outputs[model.outputs[0].name]
    if given.kind == "array":
        return first
    if given.kind == "values":
        return first.tolist()
    if given.kind in ("dict", "dicts"):
        records = [dict(zip(outputs, values, strict=True)) for values in zip(*_records(model, outputs), strict=True)]
        return records[0] if given.kind == "dict" else records
    if given.kind == "series":
        import pandas as pd

        return pd.Series(list(first) if first.ndim > 1 else first, index=given.given.index, name=model.outputs[0].name)
    return _frame(given, dict(_columns(model, outputs)))


def probabilities(given: Rows, model: Model, values: Array) -> Any:
    """One column for each class."""
    if given.kind not in ("pandas", "polars"):
        return values
    return _frame(given, {name: values[:, at] for at, name in enumerate(labels(model, values.shape[1]))})


def _frame(given: Rows, columns: dict[str, Array]) -> Any:
    if given.kind == "polars":
        import polars as pl

        return pl.DataFrame(
            {name: values.tolist() if values.dtype == object else values for name, values in columns.items()}
        )
    import pandas as pd

    nested: dict[str, Any] = {name: list(values) if values.ndim > 1 else values for name, values in columns.items()}
    return pd.DataFrame(nested, index=given.given.index if given.kind == "pandas" else None)


def labels(model: Model, width: int) -> list[str]:
    """The names of `width` values of a row: the classes where they are known, else places."""
    named = model.classes if len(model.classes) == width else range(width)
    return [str(value) for value in named]


def _columns(model: Model, outputs: Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
    for name, values in outputs.items():
        if values.ndim != 2:
            yield name, values
            continue
        for at, label in enumerate(labels(model, values.shape[1])):
            yield f"{name}_{label}", values[:, at]


def _records(model: Model, outputs: Mapping[str, Array]) -> Iterator[list[Any]]:
    for values in outputs.values():
        if values.ndim == 2 and len(model.classes) == values.shape[1]:
            keys = labels(model, values.shape[1])
            yield [dict(zip(keys, row, strict=True)) for row in values.tolist()]
        else:
            yield values.tolist()
