"""Looks at an author's file in a process of its own: its module, and what comes with it into the component.

`python -m modelgate_module.inspect_file FILE [NAME]` prints JSON, or an error on standard error.
"""

from __future__ import annotations

import ast
import importlib
import importlib.machinery
import importlib.util
import json
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

#: Of the standard library: what needs threads, processes, sockets or C libraries that the sandbox does not have.
UNAVAILABLE = {
    "bz2", "ctypes", "curses", "dbm", "fcntl", "grp", "lzma", "mmap", "multiprocessing", "pwd", "readline", "resource",
    "select", "socket", "sqlite3", "ssl", "subprocess", "termios", "tkinter",
}  # fmt: skip


def main() -> None:
    """Prints what was found."""
    before = set(sys.modules)
    path = Path(sys.argv[1]).resolve()
    wanted = sys.argv[2] if len(sys.argv) > 2 else None
    sys.path.insert(0, str(path.parent))
    try:
        loaded = importlib.import_module(path.stem)
    except Exception as error:
        # Our own frames, and those of the import machinery, are of no interest.
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
        told = "".join(traceback.format_list(frames[1:]) + traceback.format_exception_only(error))
        sys.exit(f"{path.name} cannot be imported:\n{told.rstrip()}")
    print(json.dumps({"attribute": found(loaded, wanted), **brought(before), "imports": imports(path)}))


def found(loaded: ModuleType, wanted: str | None) -> str:
    """The name of the one module in the file."""
    from . import Module

    names = [name for name, value in vars(loaded).items() if isinstance(value, Module)]
    if wanted is not None:
        if wanted not in names:
            sys.exit(f"there is no module '{wanted}': the file has {', '.join(names) or 'none'}")
        return wanted
    if not names:
        sys.exit("there is no module: a function is made one by the decorator `@module(inputs={…}, outputs={…})`")
    if len(names) > 1:
        sys.exit(f"there is more than one module ({', '.join(names)}): say which with FILE:NAME")
    return names[0]


def brought(before: set[str]) -> dict[str, Any]:
    """The imports that do not belong to Python: packages by their folder or file, and those with compiled parts."""
    roots: dict[str, str] = {}
    compiled: dict[str, str] = {}
    for name, loaded in list(sys.modules.items()):
        spec = getattr(loaded, "__spec__", None)
        top = name.partition(".")[0]
        if name in before or spec is None or top in sys.stdlib_module_names or top == "modelgate_module":
            continue
        if spec.origin and spec.origin.endswith(tuple(importlib.machinery.EXTENSION_SUFFIXES)):
            if not _is_standard(spec.origin):
                compiled.setdefault(top, spec.origin)
        elif name == top:
            places = list(spec.submodule_search_locations or ())
            if places or spec.origin:
                roots[top] = places[0] if places else spec.origin or ""
    return {"roots": roots, "compiled": compiled}


def _is_standard(origin: str) -> bool:
    places = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}
    return any(Path(origin).is_relative_to(place) and "site-packages" not in origin for place in places if place)


def imports(path: Path) -> list[dict[str, Any]]:
    """The imports of a file, with the line, and whether they are within a function."""
    tree = ast.parse(path.read_text(), str(path))

    def walk(node: ast.AST, within: bool) -> Iterator[tuple[str, int, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from ((alias.name, child.lineno, within) for alias in child.names)
            elif isinstance(child, ast.ImportFrom) and child.module and not child.level:
                yield child.module, child.lineno, within
            yield from walk(child, within or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda))

    return [{"name": name, "line": line, "within": within} for name, line, within in walk(tree, False)]


if __name__ == "__main__":
    main()
