"""Packed columns to Python values and back. `modules/columns` describes the layout; `testing` and the sandbox share this."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

from .columns import Nullable, Rows
from .datatypes import FORMATS, Column, Type
from .errors import Invalid

#: Bytes of a word. Every part of a column begins at one.
WORD = 8

_SIZES = {name: struct.calcsize("<" + code) for name, code in FORMATS.items()}


def read(columns: Sequence[Column], rows: int, raw: memoryview) -> dict[str, Any]:
    """The columns of a batch by name. `raw` is bytes, and numbers borrow from it."""
    found: dict[str, Any] = {}
    at = 0
    for column in columns:
        found[column.name], at = _read(column, rows, raw, at)
    return found


def _read(column: Column, rows: int, raw: memoryview, at: int) -> tuple[Any, int]:
    of = column.type
    count = rows
    shape: tuple[int, ...] = (rows,)
    if of.shape:
        shape, at = _shape(of, rows, raw, at)
        for size in shape[1:]:
            count *= size
    present: memoryview | None = None
    if of.nullable:
        present, at = raw[at : at + count], _aligned(at + count)
    values: Any
    if of.datatype == "bytes":
        values, at = _strings(column, count, raw, at, present, shape)
        # Missing texts are None in the list already.
        return (Rows(values, shape) if of.shape else values), at
    end = at + count * _SIZES[of.datatype]
    if of.datatype == "f16":
        # Python before 3.12 cannot read such a view; `f32` holds every value of `f16`.
        values = memoryview(array("f", struct.unpack(f"<{count}e", raw[at:end])))
    else:
        values = raw[at:end].cast(FORMATS[of.datatype])  # type: ignore[call-overload] # a format of one letter
    if present is not None:
        values = Nullable(values, present)
    return (Rows(values, shape) if of.shape else values), _aligned(end)


def _shape(of: Type, rows: int, raw: memoryview, at: int) -> tuple[tuple[int, ...], int]:
    shape = [rows]
    for size in of.shape:
        if size < 0:
            size, at = raw[at : at + WORD].cast("Q")[0], at + WORD
        shape.append(size)
    return tuple(shape), at


def _strings(
    column: Column, count: int, raw: memoryview, at: int, present: memoryview | None, shape: tuple[int, ...]
) -> tuple[list[Any], int]:
    offsets = raw[at : at + 4 * (count + 1)].cast("I").tolist()
    at = _aligned(at + 4 * (count + 1))
    data = raw[at : at + offsets[-1]]
    values: list[Any]
    if column.type.is_text:
        try:
            values = [str(data[start:end], "utf-8") for start, end in pairwise(offsets)]
        except UnicodeDecodeError:
            raise _not_text(column, offsets, data, shape) from None
    else:
        values = [bytes(data[start:end]) for start, end in pairwise(offsets)]
    if present is not None:
        values = [value if there else None for value, there in zip(values, present, strict=True)]
    return values, _aligned(at + offsets[-1])


def _not_text(column: Column, offsets: list[int], data: memoryview, shape: tuple[int, ...]) -> Invalid:
    for index, (start, end) in enumerate(pairwise(offsets)):
        try:
            str(data[start:end], "utf-8")
        except UnicodeDecodeError:
            row = index * shape[0] // max(len(offsets) - 1, 1)
            return Invalid("expected UTF-8 text, got other bytes", column=column.name, row=row)
    raise AssertionError("one of them is not text")


def write(columns: Sequence[Column], rows: int, values: Mapping[str, Any]) -> bytes:
    """Packs a batch. Raises `ValueError` that names the column and the row where a value is not of its column's type."""
    if not isinstance(values, Mapping):
        raise ValueError(f"expected a dict of columns, got {_told(values)}")
    parts: list[bytes] = []
    for column in columns:
        try:
            value = values[column.name]
        except KeyError:
            given = ", ".join(map(repr, values)) or "none"
            raise ValueError(f"column '{column.name}' is missing: got {given}") from None
        _write(column, rows, value, parts)
    if len(values) != len(columns):
        names = {column.name for column in columns}
        extra = ", ".join(repr(name) for name in values if name not in names)
        raise ValueError(f"the signature has no column {extra}")
    return b"".join(parts)


def _write(column: Column, rows: int, value: Any, parts: list[bytes]) -> None:
    of = column.type
    if isinstance(value, str | bytes | bytearray | Mapping) or not hasattr(value, "__len__"):
        raise ValueError(f"column '{column.name}': expected a sequence of {rows} values, got {_told(value)}")
    if len(value) != rows:
        raise ValueError(f"column '{column.name}': expected {rows} values, one for each row, got {len(value)}")
    size = 1
    if of.shape:
        shape, value = _flat(column, rows, value)
        parts.extend(
            struct.pack("<Q", given) for wanted, given in zip(of.shape, shape[1:], strict=True) if wanted < 0
        )
        for dim in shape[1:]:
            size *= dim
    if of.nullable:
        present, value = _present(of, value)
        _pad(parts, present)
    if of.datatype == "bytes":
        _write_strings(column, value, size, parts)
    else:
        _pad(parts, _fixed(column, value, size))


def _flat(column: Column, rows: int, value: Any) -> tuple[tuple[int, ...], Any]:
    """The shape of a column with several values in each row, and all its values in order."""
    sizes = column.type.shape
    if isinstance(value, Rows):
        shape, flat = value.shape, value.flat
    else:
        shape, flat = (rows,), value
        for depth in range(len(sizes)):
            try:
                lengths = {len(part) for part in flat}
                inner: list[Any] = []
                for part in flat:
                    inner.extend(part)
            except TypeError:
                raise ValueError(f"column '{column.name}': expected {column.type}, so {_nested(sizes)} a row") from None
            if len(lengths) > 1:
                index, length = next((i, len(part)) for i, part in enumerate(flat) if len(part) != len(flat[0]))
                row = index * rows // max(len(flat), 1)
                raise ValueError(
                    f"column '{column.name}', row {row}: expected {len(flat[0])} values as before, got {length}"
                )
            shape = (*shape, lengths.pop() if lengths else max(sizes[depth], 0))
            flat = inner
    if len(shape) != len(sizes) + 1 or any(w not in (-1, g) for w, g in zip(sizes, shape[1:], strict=True)):
        raise ValueError(f"column '{column.name}': expected {_nested(sizes)} a row, got {_nested(shape[1:])}")
    return shape, flat


def _nested(sizes: Sequence[int]) -> str:
    return "×".join("any number" if size < 0 else str(size) for size in sizes) + " values"


def _present(of: Type, values: Any) -> tuple[bytes, Any]:
    """The validity of a column's values, and the values with something in place of the missing ones."""
    if isinstance(values, Nullable):
        return bytes(values.present), values.values
    present = bytes([value is not None for value in values])
    if 0 not in present:
        return present, values
    filler: Any = "" if of.is_text else b"" if of.datatype == "bytes" else 0
    return present, [filler if value is None else value for value in values]


def _fixed(column: Column, values: Any, size: int) -> bytes:
    code = FORMATS[column.type.datatype]
    if isinstance(values, memoryview | array):
        view = memoryview(values)
        if view.format == code and view.ndim == 1:
            return view.tobytes()
    try:
        return _numbers(code, values)
    except (TypeError, ValueError, OverflowError, struct.error):
        for index, value in enumerate(values):
            try:
                _numbers(code, [value])
            except (TypeError, ValueError, OverflowError, struct.error):
                raise _wrong(column, index // max(size, 1), value) from None
        raise


def _numbers(code: str, values: Any) -> bytes:
    if code == "?":
        data = bytes(values)
        if data and max(data) > 1:
            raise ValueError("not a bool")
        return data
    if code == "e":
        return struct.pack(f"<{len(values)}e", *values)
    return array(code, values).tobytes()


def _write_strings(column: Column, values: Any, size: int, parts: list[bytes]) -> None:
    if column.type.is_text:
        try:
            encoded = [value.encode() for value in values]
        except (AttributeError, TypeError, UnicodeEncodeError):
            encoded = None
    else:
        encoded = [value for value in values if isinstance(value, bytes | bytearray | memoryview)]
    kind = str if column.type.is_text else bytes | bytearray | memoryview
    if encoded is None or len(encoded) != len(values):
        index, value = next(
            (i, v) for i, v in enumerate(values) if not isinstance(v, kind) or (isinstance(v, str) and not _encodes(v))
        )
        raise _wrong(column, index // max(size, 1), value)
    offsets = array("I", accumulate(map(len, encoded), initial=0))
    _pad(parts, offsets.tobytes())
    _pad(parts, b"".join(encoded))


def _encodes(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _wrong(column: Column, row: int, value: Any) -> ValueError:
    return ValueError(f"column '{column.name}', row {row}: expected {column.type}, got {_told(value)}")


def _told(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def _pad(parts: list[bytes], data: bytes) -> None:
    parts.append(data)
    rest = -len(data) % WORD
    if rest:
        parts.append(bytes(rest))


def _aligned(at: int) -> int:
    return at + (-at % WORD)
