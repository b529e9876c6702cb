"""The decorator that makes a function a module."""

from __future__ import annotations

import inspect
import json
import struct
from array import array
from collections.abc import Callable, Mapping
from typing import Any

from .datatypes import Column, Columns, side
from .errors import Invalid, Problem
from .packed import read, write
from .single import reader, writer

#: Problems of one batch that are told; a caller mends a few and sends again.
MAX_PROBLEMS = 100

Function = Callable[..., Any]
Side = Columns | Callable[[Any], Columns]


class Module:
    """A function with its signature. Calling it calls the function itself, so a test may."""

    def __init__(self, function: Function, inputs: Side, outputs: Side, config: Function | None, per_row: bool) -> None:
        self.function = function
        self.per_row = per_row
        self.__doc__ = function.__doc__
        self.__name__ = getattr(function, "__name__", "module")
        self.__wrapped__ = function
        self._sides = (inputs, outputs)
        self._config = config
        self._takes_config = _takes_config(function)
        # What does not depend on a configuration is wrong now, where the author sees it.
        for given, name in zip(self._sides, ("inputs", "outputs"), strict=True):
            if not callable(given):
                side(given, name)

    def __call__(self, *args: Any, **named: Any) -> Any:
        """The author's function."""
        return self.function(*args, **named)

    def start(self, config: bytes = b"") -> Stage:
        """The module with the bytes of its configuration file. Raises `Invalid` where they are not what it takes."""
        try:
            parsed = json.loads(config) if config.strip() else {}
        except ValueError as error:
            raise Invalid(f"the configuration is not JSON: {error}") from None
        given = parsed
        if self._config is not None:
            try:
                given = self._config(parsed)
            except (KeyError, TypeError, ValueError) as error:
                raise Invalid(f"the configuration: {type(error).__name__}: {error}") from None
        inputs, outputs = (
            side(given_side(given) if callable(given_side) else given_side, name)
            for given_side, name in zip(self._sides, ("inputs", "outputs"), strict=True)
        )
        return Stage(self, inputs, outputs, given)


def _takes_config(function: Function) -> bool:
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = [p for p in inspect.signature(function).parameters.values() if p.kind in positional]
    if len(parameters) not in (1, 2):
        raise TypeError(f"expected {function.__name__}(columns) or {function.__name__}(columns, config)")
    return len(parameters) == 2


class Stage:
    """A module with its configuration: packed batches go in and come out."""

    def __init__(self, module: Module, inputs: tuple[Column, ...], outputs: tuple[Column, ...], config: Any) -> None:
        self.inputs = inputs
        self.outputs = outputs
        self.config = config
        self._call: Callable[[Any], Any] = module.function
        if module._takes_config:
            self._call = lambda given: module.function(given, config)
        self._names = tuple(column.name for column in outputs)
        self._run = self._rows if module.per_row else self._columns
        self._read_one = reader(inputs) if module.per_row else None
        self._write_one = writer(outputs)

    def process(self, rows: int, words: list[int]) -> list[int]:
        """One packed batch. Raises `Invalid` where the caller's data is at fault, anything else where the module is."""
        if rows == 1 and self._read_one is not None:
            return self._one(self._read_one(words))
        answer = self._run(rows, read(self.inputs, rows, memoryview(array("Q", words)).cast("B")))
        return memoryview(answer).cast("Q").tolist()

    def _one(self, row: dict[str, Any]) -> list[int]:
        try:
            answer = self._call(row)
        except Invalid as error:
            raise Invalid.of([_in_row(problem, 0) for problem in error.problems]) from None
        except Exception as error:
            error.add_note("in row 0 of 1")
            raise
        if self._write_one is not None:
            try:
                if type(answer) is tuple:
                    return self._write_one(*answer)
                if type(answer) is not dict:
                    return self._write_one(answer)
                if len(answer) == len(self._names):
                    return self._write_one(*map(answer.__getitem__, self._names))
            except (KeyError, TypeError, ValueError, OverflowError, struct.error):
                # Said below, with the column.
                pass
        return memoryview(self._write(1, self._turned([answer]))).cast("Q").tolist()

    def _columns(self, rows: int, columns: dict[str, Any]) -> bytes:
        answer = self._call(columns)
        if len(self._names) == 1 and not isinstance(answer, Mapping):
            answer = {self._names[0]: answer}
        return self._write(rows, answer)

    def _rows(self, rows: int, columns: dict[str, Any]) -> bytes:
        names = tuple(columns)
        answers: list[Any] = []
        problems: list[Problem] = []
        values = zip(*columns.values(), strict=True) if columns else (() for _ in range(rows))
        for index, row in enumerate(values):
            try:
                answers.append(self._call(dict(zip(names, row, strict=True))))
            except Invalid as error:
                problems += (_in_row(problem, index) for problem in error.problems)
                if len(problems) >= MAX_PROBLEMS:
                    break
            except Exception as error:
                error.add_note(f"in row {index} of {rows}")
                raise
        if problems:
            raise Invalid.of(problems[:MAX_PROBLEMS])
        return self._write(rows, self._turned(answers))

    def _turned(self, answers: list[Any]) -> dict[str, list[Any]]:
        """Answers of rows to columns."""
        names = self._names
        if len(names) == 1:
            (name,) = names
            return {name: [answer[name] if _is_row(answer, name) else answer for answer in answers]}
        columns: dict[str, list[Any]] = {name: [] for name in names}
        lists = tuple(columns.values())
        for index, answer in enumerate(answers):
            if isinstance(answer, Mapping):
                if len(answer) != len(names) or any(name not in answer for name in names):
                    raise ValueError(f"row {index}: expected the columns {_listed(names)}, got {_listed(answer)}")
                for name, values in columns.items():
                    values.append(answer[name])
            elif isinstance(answer, tuple) and len(answer) == len(names):
                for value, values in zip(answer, lists, strict=True):
                    values.append(value)
            else:
                raise ValueError(f"row {index}: expected a dict or a tuple of {_listed(names)}, got {answer!r:.80}")
        return columns

    def _write(self, rows: int, answer: Any) -> bytes:
        try:
            return write(self.outputs, rows, answer)
        except ValueError as error:
            raise ValueError(f"the answer: {error}") from None


def _in_row(problem: Problem, row: int) -> Problem:
    return Problem(problem.message, problem.column, row if problem.row is None else problem.row)


def _is_row(answer: Any, name: str) -> bool:
    return isinstance(answer, Mapping) and len(answer) == 1 and name in answer


def _listed(names: Any) -> str:
    return ", ".join(map(repr, names))


def module(
    *, inputs: Side, outputs: Side, config: Function | None = None, per: str | None = None
) -> Callable[[Function], Module]:
    """Makes a function a module.

    `process(columns, config)` gets a dict of columns and gives one; `row(r, config)` gets one row as a dict and gives a
    dict, a tuple in the order of the outputs, or the value if there is one output. `per="row"` or `per="batch"` says
    which it is; without it, a function called `row` is for rows. `config` may be left out of either.

    - `inputs`, `outputs`: names and types, or a function of the configuration that gives them.
    - `config`: turns the parsed JSON of the stage's configuration file into what the function gets, once for each
      instance; a `KeyError`, `TypeError` or `ValueError` of it keeps the bundle from going live.
    """
    if per not in (None, "row", "batch"):
        raise ValueError(f"per: expected 'row' or 'batch', got {per!r}")

    def decorate(function: Function) -> Module:
        per_row = per == "row" or (per is None and function.__name__ == "row")
        return Module(function, inputs, outputs, config, per_row)

    return decorate
