"""The source of a function of the user's own, with all that it needs, as a file of Python by itself."""

from __future__ import annotations

import ast
import builtins
import inspect
import re
import sys
import textwrap
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

PLAIN = (bool, int, float, str, bytes, type(None))
ELSEWHERE = {
    "asyncio", "ctypes", "glob", "io", "multiprocessing", "os", "pathlib", "random", "secrets", "shutil", "signal", "socket", "sqlite3",
    "ssl", "subprocess", "tempfile", "threading", "time", "urllib.request", "uuid",
}  # fmt: skip
"""Modules of Python that need what the sandbox does not have, or answer otherwise each time."""


STANDINS = {
    "pandas": '''
"""Of pandas: whether a value is missing."""

NA = NaT = None

@staticmethod
def isna(value):
    return value is None or value != value

@staticmethod
def notna(value):
    return value is not None and value == value

isnull, notnull = isna, notna
''',
    "numpy": '''
"""Of numpy: functions of one number."""

nan, inf, pi, e = math.nan, math.inf, math.pi, math.e

@staticmethod
def isnan(value):
    return value != value

@staticmethod
def log(value):
    return math.log(value) if value > 0 else -math.inf if value == 0 else math.nan

@staticmethod
def log1p(value):
    return math.log1p(value) if value > -1 else -math.inf if value == -1 else math.nan

@staticmethod
def sqrt(value):
    return math.sqrt(value) if value >= 0 else math.nan

@staticmethod
def exp(value):
    return math.exp(value) if value < 709 else math.inf

@staticmethod
def floor(value):
    return float(math.floor(value)) if math.isfinite(value) else value

@staticmethod
def ceil(value):
    return float(math.ceil(value)) if math.isfinite(value) else value

@staticmethod
def abs(value):
    return value if value >= 0 else -value

sin, cos, tan, tanh = math.sin, math.cos, math.tan, math.tanh
''',
}
"""The little that functions of one value use of these, which the sandbox has not."""


class Uncarried(Exception):
    """Something that cannot stand in a file by itself; the text says what."""


@dataclass
class Source:
    """The parts of the file so far."""

    imports: dict[str, str] = field(default_factory=dict)
    """Each name's line."""
    constants: dict[str, str] = field(default_factory=dict)
    functions: dict[str, str] = field(default_factory=dict)
    lambdas: int = 0

    def add(self, function: Callable[..., Any]) -> str:
        """Adds a function; gives its name in the file."""
        if not isinstance(function, types.FunctionType):
            return self._builtin(function)
        text, name = self._text(function)
        if name in self.functions:
            if self.functions[name] != text:
                raise Uncarried(f"it uses two functions called {name}")
            return name
        self.functions[name] = text
        for used in sorted(_names(function.__code__)):
            if used == function.__name__:
                continue
            self._value(used, function)
        return name

    def text(self) -> str:
        """The whole file."""
        parts = ["\n".join(dict.fromkeys(self.imports.values())), "\n".join(f"{name} = {value}" for name, value in self.constants.items())]
        return "\n\n".join([part for part in parts if part] + list(self.functions.values())) + "\n"

    def _builtin(self, function: Any) -> str:
        name, module = getattr(function, "__name__", ""), getattr(function, "__module__", None)
        if getattr(builtins, name, None) is function:
            return str(name)
        owner = getattr(function, "__objclass__", None)
        if owner is str:
            return f"str.{name}"
        if module in sys.stdlib_module_names and getattr(sys.modules.get(module), name, None) is function:
            self._imported(name, module)
            return str(name)
        raise Uncarried(f"{name or type(function).__name__} is no function in Python")

    def _text(self, function: types.FunctionType) -> tuple[str, str]:
        try:
            text = textwrap.dedent(inspect.getsource(function))
        except (OSError, TypeError):
            raise Uncarried(f"the source of {function.__name__} is not at hand") from None
        if function.__name__ != "<lambda>":
            tree = ast.parse(text)
            (made,) = tree.body
            if not isinstance(made, ast.FunctionDef):
                raise Uncarried(f"{function.__name__} is no plain function")
            made.decorator_list = []
            _without_types(made)
            return ast.unparse(made), function.__name__
        self.lambdas += 1
        name = f"lambda_{self.lambdas}"
        return f"{name} = {_lambda(function, text)}", name

    def _value(self, name: str, function: types.FunctionType) -> None:
        held = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
        if name in held:
            value = held[name].cell_contents
        elif name in function.__globals__:
            value = function.__globals__[name]
        elif hasattr(builtins, name):
            return
        else:
            return  # an attribute, or a name that only another way through it has
        if str(getattr(value, "__module__", "")).startswith(f"{__package__}."):
            return  # Python's own, as the exporter has it while it follows a function
        if name in ("open", "input", "eval", "exec", "__import__"):
            raise Uncarried(f"it calls {name}")
        if isinstance(value, types.ModuleType):
            self._module(name, value)
        elif isinstance(value, types.FunctionType):
            given = self.add(value)
            if given != name:
                self._once(self.constants, name, given)
        elif isinstance(value, type) or callable(value):
            module = getattr(value, "__module__", None)
            own = getattr(value, "__name__", name)
            if module is None or module.partition(".")[0] not in sys.stdlib_module_names or getattr(sys.modules.get(module), own, None) is not value:
                raise Uncarried(f"it uses {name}, which is not Python's own")
            self._imported(own, module, name)
        else:
            self._once(self.constants, name, self._written(name, value))

    def _module(self, name: str, value: types.ModuleType) -> None:
        full = value.__name__
        if full in STANDINS:
            self._once(self.imports, "math", "import math")
            self._once(self.functions, name, f"class {name}:\n{textwrap.indent(STANDINS[full].strip(), '    ')}")
            return
        if full.partition(".")[0] not in sys.stdlib_module_names or full in ELSEWHERE or full.partition(".")[0] in ELSEWHERE:
            raise Uncarried(f"it uses the module {full}, which the sandbox has not")
        self._once(self.imports, name, f"import {full} as {name}" if name != full else f"import {full}")

    def _imported(self, own: str, module: str, name: str | None = None) -> None:
        if module.partition(".")[0] in ELSEWHERE:
            raise Uncarried(f"it uses the module {module}, which the sandbox has not")
        also = f" as {name}" if name and name != own else ""
        self._once(self.imports, name or own, f"from {module} import {own}{also}")

    def _once(self, table: dict[str, str], name: str, text: str) -> None:
        if table.setdefault(name, text) != text:
            raise Uncarried(f"it uses two different things called {name}")

    def _written(self, name: str, value: Any) -> str:
        if isinstance(value, re.Pattern):
            self._once(self.imports, "re", "import re")
            return f"re.compile({value.pattern!r}, {int(value.flags & ~re.UNICODE)})"
        if isinstance(value, np.generic):
            value = value.item()
        if type(value) is float and (value != value or value in (float("inf"), float("-inf"))):
            return f"float({str(value)!r})"
        if type(value) in PLAIN:
            return repr(value)
        if type(value) in (list, tuple, set, frozenset):
            inner = ", ".join(self._written(name, part) for part in (sorted(value, key=repr) if isinstance(value, (set, frozenset)) else value))
            return {list: f"[{inner}]", tuple: f"({inner},)" if inner else "()", set: f"set([{inner}])", frozenset: f"frozenset([{inner}])"}[type(value)]
        if isinstance(value, dict):
            inner = ", ".join(f"{self._written(name, key)}: {self._written(name, part)}" for key, part in value.items())
            return f"{{{inner}}}"
        raise Uncarried(f"it uses {name}, which is of type {type(value).__name__}")


def _names(code: types.CodeType) -> set[str]:
    """The names that a function and those within it look up."""
    found = set(code.co_names) | set(code.co_freevars)
    for part in code.co_consts:
        if isinstance(part, types.CodeType):
            found |= _names(part)
    return found


def _without_types(made: ast.FunctionDef) -> None:
    """Annotations may name what the sandbox has not."""
    for inner in ast.walk(made):
        if isinstance(inner, (ast.FunctionDef, ast.AsyncFunctionDef)):
            inner.returns = None
        elif isinstance(inner, ast.arg):
            inner.annotation = None


def _lambda(function: types.FunctionType, text: str) -> str:
    """The one lambda of a statement that has this code."""
    tree = None
    # The lines of a lambda may begin or end within a longer expression.
    for start in range(len(text)):
        if not text.startswith("lambda", start):
            continue
        for end in range(len(text), start, -1):
            try:
                tree = ast.parse(text[start:end].strip(), mode="eval")
            except SyntaxError:
                continue
            body = tree.body
            if isinstance(body, ast.Tuple) and body.elts and isinstance(body.elts[0], ast.Lambda):
                body = body.elts[0]
            if isinstance(body, ast.Lambda):
                written = ast.unparse(body)
                made = next(part for part in compile(written, "<lambda>", "eval").co_consts if isinstance(part, types.CodeType))
                same = made.co_names == function.__code__.co_names and made.co_varnames == function.__code__.co_varnames
                if same and _constants(made) == _constants(function.__code__):
                    return written
            break
    raise Uncarried("the source of its lambda is not certain (write it as a function with a name)")


def _constants(code: types.CodeType) -> list[Any]:
    return [part for part in code.co_consts if not isinstance(part, types.CodeType)]
