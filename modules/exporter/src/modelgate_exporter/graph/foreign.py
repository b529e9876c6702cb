"""Functions of one value, or of one row, that no operator does: a stage in Python ahead of the others runs them.

Each makes a column of a request's own columns. The stage is written with the functions' source, run here on the sample, and
made a component that the gateway runs in its sandbox.
"""

from __future__ import annotations

import sys
import tempfile
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..errors import CannotExport
from ..frame import datatype, is_missing, to_json
from ..source import Source, Uncarried
from .columns import Col
from .elementwise import Untraceable

FILE = "features"
"""The stage's name, that of its module, and that of its source beside it."""

TYPES = {"bool": "bool_", "i64": "i64", "f32": "f32", "f64": "f64", "bytes": "text"}

ROW = '''
class Row(dict):
    """A row of a frame: values by name, as items and as attributes."""

    __getattr__ = dict.__getitem__
'''


@dataclass
class Made:
    """A column that a function makes."""

    name: str
    expression: str
    """Of the row `r`."""


@dataclass
class Foreign:
    """The functions of a pipeline that stand outside of its graph."""

    frame: pd.DataFrame
    """The sample, with the columns that were made of it."""
    datatypes: dict[str, str]
    column: Callable[[str, pd.Series, str, bool], Col]
    """Makes the stand-in of a column, behind those that there are."""
    may_lack: frozenset[str]
    """Columns that have no missing value in the sample, and may in a request."""
    source: Source = field(default_factory=Source)
    made: list[Made] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    """Columns of a request that the functions take."""
    nullable: set[str] = field(default_factory=set)
    """Columns made that may have no value."""

    def value(self, function: Callable[[Any], Any], col: Col, before: str = "{}", around: str = "{}") -> Col:
        """A column of what a function makes of each value, with expressions `before` it and `around` it."""
        return self._add(function, [col], None, around, before)

    def row(self, function: Callable[[Any], Any], cols: list[Col]) -> Col:
        """A column of what a function makes of each row."""
        return self._add(function, cols, [col.label for col in cols], "{}")

    def _add(self, function: Callable[[Any], Any], cols: list[Col], labels: list[Any] | None, around: str, before: str = "{}") -> Col:
        if not installed():
            raise Untraceable(INSTALL)
        for col in cols:
            if not col.raw or len(col.roots) != 1 or col.numeral or col.filled is not None or col.kind not in ("number", "bool", "category"):
                raise Untraceable(f"a stage in Python takes a request's own columns, and '{col.label}' was changed before")
        try:
            called = self.source.add(function)
        except Uncarried as error:
            raise Untraceable(str(error)) from error
        given = [self._given(col, cols, labels is not None) for col in cols]
        if labels is None:
            inner = before.format(given[0])
        else:
            self.source.functions.setdefault("Row", ROW.strip())
            inner = "Row({" + ", ".join(f"{label!r}: {text}" for label, text in zip(labels, given, strict=True)) + "})"
        name = self._name(cols, called)
        self.made.append(Made(name, around.format(f"{called}({inner})")))
        self.inputs += [col.names[0] for col in cols if col.names[0] not in self.inputs]
        try:
            values = self._ran(name)
        except Untraceable:
            self.made.pop()
            raise
        self.frame = self.frame.assign(**{name: values})
        self.datatypes[name] = datatype(self.frame[name], name)
        if bool(values.isna().any()) or any(map(self._lacks, cols)):
            self.nullable.add(name)
        return self.column(name, self.frame[name], self.datatypes[name], name in self.nullable)

    def _given(self, col: Col, cols: list[Col], in_row: bool) -> str:
        """A value as the function gets it from pandas: a row of numbers alone has one type."""
        own = f"r[{col.names[0]!r}]"
        numbers = in_row and all(one.kind == "number" for one in cols)
        if numbers and any(self.datatypes[one.names[0]] in ("f32", "f64") for one in cols):
            own = f"number({own})"
        elif col.mark == "nan":
            own = f"marked({own})" if self._lacks(col) else own
        return own

    def _lacks(self, col: Col) -> bool:
        name = col.names[0]
        return name in self.may_lack or bool(self.frame[name].isna().to_numpy().any())

    def _name(self, cols: list[Col], called: str) -> str:
        stem = f"{cols[0].names[0] if len(cols) == 1 else 'row'}: {called}"
        name, at = stem, 2
        while name in self.datatypes:
            name, at = f"{stem} {at}", at + 1
        return name

    def _ran(self, name: str) -> pd.Series:
        """The values of a new column for the sample, by the written code."""
        scope = types.ModuleType(FILE)
        try:
            exec(compile(self.helpers() + self.source.text(), f"{FILE}.py", "exec"), vars(scope))
            made = next(one for one in self.made if one.name == name)
            call = eval(compile(f"lambda r: {made.expression}", f"{FILE}.py", "eval"), vars(scope))
            values = [call(row) for row in self.cells()]
        except Exception as error:
            reason = " ".join(str(error).split())[:120]
            raise Untraceable(f"by itself, in Python alone, it fails ({type(error).__name__}: {reason})") from error
        missing = [is_missing(value) for value in values]
        known = {type(value) for value, lost in zip(values, missing, strict=True) if not lost}
        if known <= {bool} and not any(missing):
            return pd.Series(values, dtype=bool)
        if known <= {int} and not any(missing):
            return pd.Series(values, dtype="int64")
        if known <= {int, float, bool}:
            return pd.Series([np.nan if lost else float(value) for value, lost in zip(values, missing, strict=True)], dtype="float64")
        if known <= {str}:
            return pd.Series([None if lost else value for value, lost in zip(values, missing, strict=True)], dtype=object)
        raise Untraceable(f"it gives {', '.join(sorted(kind.__name__ for kind in known))}, and a column has numbers, texts or truths")

    def cells(self) -> list[dict[str, Any]]:
        """The sample's own rows, as the stage gets them."""
        columns = {name: [to_json(value, self.datatypes[name]) for value in self.frame[name].astype(object)] for name in self.inputs}
        return [typed(dict(zip(columns, row, strict=True)), self.datatypes) for row in zip(*columns.values(), strict=True)]

    def helpers(self) -> str:
        """The code before the functions."""
        return HELPERS

    def stage(self, outputs: list[dict[str, Any]], made: list[str]) -> Stage:
        """The stage that gives the columns `outputs`, of which some are `made` here."""
        own = {one.name for one in self.made}
        given = {entry["name"]: entry for entry in outputs if entry["name"] not in own}
        inputs = []
        for name in self.frame.columns:
            if name in given:
                inputs.append(given[name])
            elif name in self.inputs:
                lacks = name in self.may_lack or bool(self.frame[name].isna().to_numpy().any())
                inputs.append({"name": name, "datatype": self.datatypes[name], **({"nullable": True} if lacks else {})})
        functions = [one.name.rpartition(": ")[2] for one in self.made if one.name in made]
        return Stage(self.file(inputs, outputs), inputs, functions)

    def file(self, inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> str:
        """The whole module: its inputs are a request's columns, its outputs those of the next stage."""
        kinds = sorted({TYPES[entry["datatype"]] for entry in [*inputs, *outputs]})
        made = {one.name: one.expression for one in self.made}
        given = ", ".join(f"{entry['name']!r}: {_type(entry)}" for entry in inputs)
        back = ", ".join(f"{entry['name']!r}: {_type(entry)}" for entry in outputs)
        lines = []
        for entry in outputs:
            own = made.get(entry["name"], f"r[{entry['name']!r}]")
            lines.append(f"        {entry['name']!r}: {f'told({own})' if entry['name'] in made else own},")
        row = "\n".join(["    return {", *lines, "    }"])
        return (
            f'"""Functions of a pipeline, as they were written for it; modelgate_exporter put them together."""\n\n'
            f"from modelgate_module import {', '.join(kinds)}, module\n{HELPERS}\n{self.source.text()}\n\n"
            f"@module(inputs={{{given}}}, outputs={{{back}}}, per=\"row\")\ndef features(r):\n{row}\n"
        )


def _type(entry: dict[str, Any]) -> str:
    return TYPES[entry["datatype"]] + (" | None" if entry.get("nullable") else "")


HELPERS = '''
def marked(value):
    """A missing value, as a frame has it."""
    return float("nan") if value is None else value


def number(value):
    """A number of a row that has numbers alone."""
    return float("nan") if value is None else float(value)


def told(value):
    """NaN as a missing value."""
    return None if value is None or value != value else value

'''


INSTALL = (
    "a stage in Python could run it, for which this environment lacks modelgate_module and componentize-py "
    "(pip install ./modules/python from a copy of modelgate)"
)


def installed() -> bool:
    """Whether a component can be made of a file of Python."""
    from importlib.util import find_spec

    return find_spec("modelgate_module") is not None and find_spec("componentize_py") is not None and sys.version_info >= (3, 11)


def typed(row: dict[str, Any], datatypes: dict[str, str]) -> dict[str, Any]:
    """A row of JSON with the types that the stage has: whole numbers of a column of floats are floats."""
    floats = ("f32", "f64")
    return {name: float(value) if value is not None and datatypes.get(name) in floats else value for name, value in row.items()}


@dataclass(frozen=True)
class Stage:
    """The stage, as its file."""

    text: str
    inputs: list[dict[str, Any]]
    functions: list[str]

    def rows(self, cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The rows behind the stage."""
        scope = types.ModuleType(FILE)
        exec(compile(self.text, f"{FILE}.py", "exec"), vars(scope))
        datatypes = {entry["name"]: entry["datatype"] for entry in self.inputs}
        return [scope.features(typed(row, datatypes)) for row in cells]

    def component(self) -> bytes:
        """The module of the gateway. Raises `CannotExport` where none can be made."""
        from modelgate_module.build import BuildError, build

        with tempfile.TemporaryDirectory() as folder:
            file, out = Path(folder) / f"{FILE}.py", Path(folder) / f"{FILE}.wasm"
            file.write_text(self.text)
            try:
                build(file, out)
            except BuildError as error:
                reason = " ".join(str(error).split())[:300]
                raise CannotExport(f"cannot export the pipeline: its functions could not be made a stage in Python: {reason}") from error
            return out.read_bytes()
