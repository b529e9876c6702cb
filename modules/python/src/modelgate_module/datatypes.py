"""The types of columns: `f64`, `text | None`, `f32[54]`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

#: Names of the contract's `enum datatype`, in its order.
NAMES = ("bool", "u8", "u16", "u32", "u64", "i8", "i16", "i32", "i64", "f16", "f32", "f64", "bytes")

#: The `memoryview` format of each type of fixed size. On every platform that Python runs on, these are 1, 2, 4 or 8
#: bytes as the contract has them.
FORMATS = {
    "bool": "?", "u8": "B", "u16": "H", "u32": "I", "u64": "Q", "i8": "b", "i16": "h", "i32": "i", "i64": "q",
    "f16": "e", "f32": "f", "f64": "d",
}  # fmt: skip


@dataclass(frozen=True)
class Type:
    """The type of each value of a column. Made from the names of this module: `f64`, `text | None`, `f32[3, -1]`."""

    #: One of `NAMES`.
    datatype: str
    #: Whether `bytes` are text, and come as `str`.
    is_text: bool = False
    #: Whether values may be missing; they come as `None`.
    nullable: bool = False
    #: Sizes within a row; -1 for one that each batch brings. Empty for one value in each row.
    shape: tuple[int, ...] = ()
    #: The values that the column is known to take, for people and documents; empty if it may take any.
    categories: tuple[str, ...] = ()

    def __or__(self, other: None) -> Type:
        """`text | None`: values may be missing."""
        if other is not None:
            raise TypeError(f"a column's type may be `{self} | None`, not `{self} | {other!r}`")
        return replace(self, nullable=True)

    __ror__ = __or__

    def __getitem__(self, shape: int | tuple[int, ...]) -> Type:
        """`f32[54]`: 54 values in each row; -1 for a size that each batch brings."""
        shape = shape if isinstance(shape, tuple) else (shape,)
        if self.shape:
            raise TypeError(f"{self} has a shape already")
        if not shape or any(type(size) is not int or size < -1 for size in shape):
            raise TypeError(f"expected sizes, or -1 for one that each batch brings, got {list(shape)}")
        return replace(self, shape=shape)

    def among(self, *categories: str) -> Type:
        """The values that a text is known to take: shown to callers, not enforced."""
        if not self.is_text:
            raise TypeError(f"only a text has known values, {self} does not")
        return replace(self, categories=categories)

    def __str__(self) -> str:
        name = "text" if self.is_text else "blob" if self.datatype == "bytes" else self.datatype
        shape = f"[{', '.join(map(str, self.shape))}]" if self.shape else ""
        return f"{name}{shape}{' | None' if self.nullable else ''}"


@dataclass(frozen=True)
class Column:
    """A named column of a signature."""

    name: str
    type: Type


#: Named columns, in order.
Columns = Mapping[str, Type]

bool_ = Type("bool")
u8 = Type("u8")
u16 = Type("u16")
u32 = Type("u32")
u64 = Type("u64")
i8 = Type("i8")
i16 = Type("i16")
i32 = Type("i32")
i64 = Type("i64")
f16 = Type("f16")
f32 = Type("f32")
f64 = Type("f64")
#: A string. It comes as `str`, and goes out from one.
text = Type("bytes", is_text=True)
#: A string of bytes. It comes as `bytes`, and goes out from them.
blob = Type("bytes")


def side(columns: object, name: str) -> tuple[Column, ...]:
    """The columns of a signature's side, checked."""
    if not isinstance(columns, Mapping):
        raise TypeError(f"{name}: expected a dict of names and types, as in {{'age': f64}}, got {columns!r}")
    for column, of in columns.items():
        if not isinstance(column, str) or not column:
            raise TypeError(f"{name}: expected a column's name, got {column!r}")
        if not isinstance(of, Type):
            raise TypeError(f"{name}: column '{column}': expected a type like f64 or text | None, got {of!r}")
    return tuple(Column(column, of) for column, of in columns.items())
