"""Columns, as a function sees them.

One value in each row, none missing: a `memoryview` of numbers that borrows from the batch, or a list of texts. For
others: `Nullable` and `Rows`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, overload


class Nullable(Sequence[Any]):
    """Values of which some may be missing: reads as a sequence of values and `None`.

    `values` and `present` are the parts, without copies: where `present[i]` is 0, `values[i]` means nothing.
    """

    __slots__ = ("present", "values")

    def __init__(self, values: Sequence[Any], present: Sequence[int]) -> None:
        self.values = values
        self.present = present

    def __len__(self) -> int:
        return len(self.present)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Nullable: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return Nullable(self.values[index], self.present[index])
        return self.values[index] if self.present[index] else None

    def __iter__(self) -> Iterator[Any]:
        return (value if present else None for value, present in zip(self.values, self.present, strict=True))

    def __repr__(self) -> str:
        return f"Nullable({list(self)})"


class Rows(Sequence[Any]):
    """A column with several values in each row. `rows[i]` is the row's values, in order, as a slice of `flat`."""

    __slots__ = ("flat", "shape", "size")

    def __init__(self, flat: Sequence[Any], shape: tuple[int, ...]) -> None:
        #: All values, row after row.
        self.flat = flat
        #: The number of rows, and the sizes within each.
        self.shape = shape
        size = 1
        for dim in shape[1:]:
            size *= dim
        #: Values in each row.
        self.size = size

    def __len__(self) -> int:
        return self.shape[0]

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Rows: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step != 1:
                raise ValueError("rows are taken in order: a slice may not have a step")
            stop = max(start, stop)
            return Rows(self.flat[start * self.size : stop * self.size], (stop - start, *self.shape[1:]))
        if not -len(self) <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        start = index % len(self) * self.size
        return self.flat[start : start + self.size]

    def __repr__(self) -> str:
        return f"Rows({[list(row) for row in self]}, shape={self.shape})"
