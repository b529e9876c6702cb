"""One row in and out, without a column in between.

Most requests have one row, and then making a view of each column costs several times what the author's function does. In
one row every value of fixed size is one word, and every text is a word with its length and then the text. So a function
that reads the row in one go is written for the signature, as `dataclasses` writes its methods, when the module starts.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Sequence
from typing import Any

from .datatypes import FORMATS, Column
from .errors import Invalid

Reader = Callable[[list[int]], dict[str, Any]]
Writer = Callable[..., list[int]]


def reader(columns: Sequence[Column]) -> Reader | None:
    """A function from the words of one row to the row; none where a column has several values in a row."""
    if not columns or any(column.type.shape for column in columns):
        return None
    lines = ["def read(words):", " data = array('Q', words).tobytes()", " at = 0"]
    names: dict[str, Any] = {"array": array, "decode": _decode}
    run: list[int] = []

    def unpack() -> None:
        """Reads the columns of fixed size that stand together."""
        if run:
            code = "<" + "".join(_code(columns[index]) for index in run)
            targets = "".join(f"p{i}, v{i}, " if columns[i].type.nullable else f"v{i}, " for i in run)
            names[f"unpack{run[0]}"] = struct.Struct(code).unpack_from
            lines.append(f" {targets}= unpack{run[0]}(data, at * 8)")
            lines.extend(f" if not p{i}: v{i} = None" for i in run if columns[i].type.nullable)
            lines.append(f" at += {struct.calcsize(code) // 8}")
            run.clear()

    for index, column in enumerate(columns):
        if column.type.datatype != "bytes":
            run.append(index)
            continue
        unpack()
        if column.type.nullable:
            lines.append(f" p{index} = words[at]; at += 1")
        # The first offset is 0, the second, in the upper half, is where the only text ends.
        lines.append(f" size = words[at] >> 32; v{index} = data[at * 8 + 8 : at * 8 + 8 + size]")
        lines.append(" at += 1 + (size + 7 >> 3)")
        if column.type.is_text:
            lines += [" try:", f"  v{index} = v{index}.decode()", " except UnicodeDecodeError:", f"  decode({column.name!r})"]
        if column.type.nullable:
            lines.append(f" if not p{index}: v{index} = None")
    unpack()
    lines.append(" return {" + ", ".join(f"{column.name!r}: v{i}" for i, column in enumerate(columns)) + "}")
    made: Reader = _made(lines, names, "read")
    return made


def _decode(name: str) -> None:
    raise Invalid("expected UTF-8 text, got other bytes", column=name, row=0)


def writer(columns: Sequence[Column]) -> Writer | None:
    """A function from the values of one row to its words; none where a value is not one of fixed size.

    It raises `TypeError`, `OverflowError` or `struct.error` where a value is not of its column's type; `packed.write`
    says then which it is.
    """
    if not columns or any(column.type.shape or column.type.datatype == "bytes" for column in columns):
        return None
    code = "<" + "".join(_code(column) for column in columns)
    words = struct.calcsize(code) // 8
    names = {"pack": struct.Struct(code).pack, "unpack": struct.Struct(f"<{words}Q").unpack, "bool_": _bool}
    given = []
    for i, column in enumerate(columns):
        value = f"bool_(v{i})" if column.type.datatype == "bool" else f"v{i}"
        given.append(f"v{i} is not None, 0 if v{i} is None else {value}" if column.type.nullable else value)
    arguments = ", ".join(f"v{i}" for i in range(len(columns)))
    made: Writer = _made([f"def write({arguments}):", f" return list(unpack(pack({', '.join(given)})))"], names, "write")
    return made


def _bool(value: Any) -> bool:
    if value is True or value is False:
        return value
    raise TypeError("not a bool")


def _code(column: Column) -> str:
    """The `struct` format of a column's words in one row."""
    code = FORMATS[column.type.datatype]
    value = f"{code}{8 - struct.calcsize('<' + code)}x"
    return f"?7x{value}" if column.type.nullable else value


def _made(lines: list[str], names: dict[str, Any], name: str) -> Any:
    exec("\n".join(lines), names)  # of names and types that the author declared, quoted by `repr`
    return names[name]
