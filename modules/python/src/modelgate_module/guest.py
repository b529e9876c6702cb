"""The module inside the sandbox: the contract's two functions, and a Python that says what it cannot do.

Imported by the file that `build` generates, and nowhere else. All that is imported when the component is made is kept in
it, with its state; there is no file to import anything from later, no clock and no standard output.
"""

from __future__ import annotations

import builtins
import io
import linecache
import os
import sys
import time
from array import array
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import componentize_py_types as results
import wit_world
from wit_world.imports import log as host_log
from wit_world.imports import model as host_model
from wit_world.imports import types

from . import log, model
from .datatypes import NAMES, Column, Type
from .errors import Invalid, ModelError, Problem
from .stage import Module, Stage

_DATATYPES = {name: types.Datatype(index) for index, name in enumerate(NAMES)}
#: The lines of files that error messages quote.
_SOURCES: dict[str, list[str]] = {}

#: Lines of one traceback: a function that calls itself has a thousand frames.
_MAX_LINES = 60

_LEVELS = {
    "debug": host_log.Level.DEBUG,
    "info": host_log.Level.INFO,
    "warn": host_log.Level.WARN,
    "error": host_log.Level.ERROR,
}


class _Gateway:
    """The model behind the contract's import."""

    def __init__(self) -> None:
        self._described: tuple[Sequence[Column], Sequence[Column]] | None = None

    def describe(self) -> tuple[Sequence[Column], Sequence[Column]]:
        if self._described is None:
            signature = host_model.describe()
            self._described = (_columns(signature.inputs), _columns(signature.outputs))
        return self._described

    def compute(self, rows: int, inputs: bytes) -> bytes:
        try:
            answer = host_model.compute(rows, list(memoryview(inputs).cast("Q")))
        except results.Err as error:
            raise _raised(error.value) from None
        return array("Q", answer).tobytes()


def _columns(columns: Any) -> tuple[Column, ...]:
    return tuple(
        # A model's strings are texts, as they are in a table.
        Column(c.name, Type(NAMES[c.datatype.value], c.datatype is types.Datatype.BYTES, c.nullable, tuple(c.shape[1:])))
        for c in columns
    )


def _raised(error: Any) -> Exception:
    if isinstance(error, types.Error_InvalidInput):
        return Invalid.of([Problem(p.message, p.column, p.row) for p in error.value])
    return ModelError(error.value)


def _failed(error: BaseException) -> results.Err[Any]:
    if isinstance(error, Invalid):
        return results.Err(types.Error_InvalidInput([types.Problem(p.column, p.row, p.message) for p in error.problems]))
    if isinstance(error, ModelError):
        return results.Err(types.Error_Model(str(error)))
    return results.Err(types.Error_Internal(_told(error)))


def _told(error: BaseException) -> str:
    """The traceback of an error, its causes first. The library's own looks for more than the component holds."""
    before = ""
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        before = f"{_told(cause)}\n\nwhich led to:\n\n"
    lines = ["Traceback (most recent call last):"]
    step = error.__traceback__
    while step is not None and len(lines) < _MAX_LINES:
        code = step.tb_frame.f_code
        lines.append(f'  File "{code.co_filename}", line {step.tb_lineno}, in {code.co_name}')
        text = _SOURCES.get(code.co_filename, [])[step.tb_lineno - 1 : step.tb_lineno]
        lines.extend(f"    {line.strip()}" for line in text)
        step = step.tb_next
    lines.append(f"{type(error).__name__}: {error}")
    lines.extend(map(str, getattr(error, "__notes__", ())))
    return before + "\n".join(lines)


def world(module: Module) -> type:
    """The class that componentize-py looks for, of this module."""

    # componentize-py makes an object for each call, so what stays between calls is here.
    stage: Stage

    class WitWorld(wit_world.WitWorld):  # type: ignore[misc] # generated
        def init(self, config: bytes) -> Any:
            nonlocal stage
            seal()
            try:
                stage = module.start(config)
                return types.Signature(_described(stage.inputs), _described(stage.outputs))
            except Exception as error:
                raise _failed(error) from None

        def process(self, rows: int, inputs: list[int]) -> list[int]:
            try:
                return stage.process(rows, inputs)
            except BaseException as error:
                # `sys.exit`, too, would end the instance.
                raise _failed(error) from None

    return WitWorld


def _described(columns: Sequence[Column]) -> list[Any]:
    return [
        types.Column(
            c.name, _DATATYPES[c.type.datatype], [-1, *c.type.shape], c.type.nullable, list(c.type.categories)
        )
        for c in columns
    ]


class _Log(io.TextIOBase):
    """Standard output and error: whole lines to the gateway's log."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._line = ""
        self._write = write

    def write(self, text: str) -> int:
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            self._write(line)
        # A line without an end must not grow from call to call.
        if len(self._line) > 4096:
            self._write(self._line)
            self._line = ""
        return len(text)

    def writable(self) -> bool:
        return True


class _NoMore:
    """The last of the finders: an import that nothing in the component answers."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> NoReturn:
        raise ModuleNotFoundError(
            f"'{name}' is not in the component: a module has no files to import from once it is built, so import it at "
            "the top of the module",
            name=name,
        )


def _refuses(what: str) -> Callable[..., NoReturn]:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise OSError(what)

    return refuse


#: What the standard library imports when it is first used: parsing dates, decoding, finding the names of characters.
_LATER = (
    "_strptime", "copy", "encodings.ascii", "encodings.cp1252", "encodings.idna", "encodings.latin_1",
    "encodings.utf_16", "encodings.utf_8_sig", "unicodedata",
)  # fmt: skip

_CLOCKS = ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "process_time", "sleep")


def _to_log(logging: Any) -> None:
    """Has the standard library's `logging` write to the gateway's log, whose lines bring the time."""
    clock = type("time", (), {"time_ns": staticmethod(lambda: 0), "time": staticmethod(lambda: 0.0)})
    logging.time = clock

    class Handler(logging.Handler):  # type: ignore[misc] # imported by the author, if at all
        def emit(self, record: Any) -> None:
            level = record.levelno
            name = "error" if level >= 40 else "warn" if level >= 30 else "info" if level >= 20 else "debug"
            log.sink(name, self.format(record))

    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(Handler())


def keep(sources: dict[str, str]) -> None:
    """Imports what will be wanted later, and keeps the files that error messages quote. Called when the component is made."""
    for name in _LATER:
        __import__(name)
    _SOURCES.update((file, text.splitlines()) for file, text in sources.items())


def seal() -> None:
    """Takes away what the sandbox does not have, so that using it raises an error where it would end the instance.

    Called first in an instance: while the component is made, all of it is there and is used.
    """
    # Both would look at the disk.
    linecache.checkcache = lambda *_: None
    linecache.updatecache = lambda *_: []
    # The finder of files goes; what is built in or frozen stays.
    sys.meta_path[:] = [finder for finder in sys.meta_path if getattr(finder, "__name__", "") != "PathFinder"]
    sys.meta_path.append(_NoMore)
    log.sink = lambda level, message: host_log.log(_LEVELS[level], message)
    model.host = _Gateway()
    sys.stdout = _Log(log.info)
    sys.stderr = _Log(log.warn)
    no_clock = _refuses("a module has no clock: let the caller send the time as a column")
    for name in _CLOCKS:
        setattr(time, name, no_clock)
    if logging := sys.modules.get("logging"):
        _to_log(logging)
    builtins.open = io.open = _refuses("a module has no files: read them at the top of the module, when it is built")
    os.urandom = _refuses("a module has no randomness: its answers depend on the rows alone")
