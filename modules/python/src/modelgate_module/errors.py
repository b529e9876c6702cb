"""Whose fault it is that there is no answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing wrong with the caller's data."""

    message: str
    #: The input column at fault, if it is one.
    column: str | None = None
    #: The row at fault, counted from 0, if it is one.
    row: int | None = None

    def __str__(self) -> str:
        row = "" if self.row is None else f"row {self.row}: "
        column = "" if self.column is None else f"column '{self.column}': "
        return f"{row}{column}{self.message}"


class Invalid(Exception):
    """The caller's data is at fault: answered with status 422, which names the column and the row.

    `raise Invalid("expected at most 130 years, got 200", column="age", row=3)`. A function over one row leaves `row` out.
    """

    def __init__(self, message: str = "", column: str | None = None, row: int | None = None) -> None:
        self.problems: Sequence[Problem] = [Problem(str(message), column, row)]
        super().__init__(str(self.problems[0]))

    @classmethod
    def of(cls, problems: Sequence[Problem]) -> Invalid:
        """Several problems at once."""
        error = cls("\n".join(map(str, problems)))
        error.problems = list(problems)
        return error


class ModelError(Exception):
    """The model refused or failed: answered with status 500; the text goes to the log."""
