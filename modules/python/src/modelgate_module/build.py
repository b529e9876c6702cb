"""From a Python file to a WebAssembly component."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .inspect_file import UNAVAILABLE

_HERE = Path(__file__).resolve().parent

#: The file that componentize-py starts from.
_APP = '''\
from {stem} import {attribute} as found
{imports}
from modelgate_module.guest import keep, world

WitWorld = world(found)
keep({sources!r})
'''

_ALTERNATIVES = {
    "numpy": "columns come as memoryviews and lists, which plain Python, `array`, `math` and `statistics` compute with",
    "pandas": "columns come by name as memoryviews and lists already",
    "scipy": "put the computation into the model's ONNX graph, or write the module in Rust",
    "sklearn": "export the fitted pipeline with modelgate_exporter: it needs no module",
    "orjson": "use `json`",
    "regex": "use `re`",
}
_OTHERWISE = "use a package in pure Python, put the computation into the model's ONNX graph, or write the module in Rust"

#: Files that no component needs.
_LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", "*.so", "*.pyd", "tests", "test", ".*", "*.dist-info")


class BuildError(Exception):
    """Why there is no component; for the author."""


@dataclass(frozen=True)
class Built:
    """The result of a build."""

    path: Path
    size: int
    #: Packages that came with it.
    packages: tuple[str, ...]
    #: What the author should know.
    notes: tuple[str, ...]


def build(source: Path, out: Path, name: str | None = None) -> Built:
    """Makes the component `out` of the module in `source` (the one called `name`, if there are several).

    Raises `BuildError` with what stands in the way, and what to do.
    """
    if not source.is_file():
        raise BuildError(f"{source}: there is no such file")
    if not source.stem.isidentifier():
        raise BuildError(f"{source}: Python cannot import a file of this name: use letters, digits and _")
    found = _inspected(source, name)
    _refuse_compiled(source, found)
    _refuse_unavailable(source, found)
    with tempfile.TemporaryDirectory(prefix="modelgate-module-") as folder:
        place = Path(folder)
        _gather(place / "app", source, found)
        _componentize(place, out.resolve())
    packages = tuple(sorted(set(found["roots"]) - {source.stem}))
    return Built(out, out.stat().st_size, packages, tuple(_notes(source, found)))


def _inspected(source: Path, name: str | None) -> Any:
    command = [sys.executable, "-m", "modelgate_module.inspect_file", str(source), *([name] if name else [])]
    path = os.pathsep.join(filter(None, [str(_HERE.parent), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    )
    if done.returncode:
        raise BuildError(f"{source}: {done.stderr.strip()}")
    # The author's file may print, too.
    return json.loads(done.stdout.splitlines()[-1])


def _refuse_compiled(source: Path, found: Any) -> None:
    lines = {imported["name"].partition(".")[0]: imported["line"] for imported in found["imports"]}
    problems = []
    for package in sorted(found["compiled"]):
        # What an author's import brings along is told by the import that they can change.
        where = f"{source}:{lines[package]}" if package in lines else f"{source} (through another import)"
        problems.append(
            f"{where}: '{package}' has compiled parts, which cannot run in the sandbox: "
            f"{_ALTERNATIVES.get(package, _OTHERWISE)}"
        )
    if problems:
        raise BuildError("\n".join(problems))


def _refuse_unavailable(source: Path, found: Any) -> None:
    problems = [
        f"{source}:{imported['line']}: '{imported['name']}' is not in the sandbox, which has no files, network, processes "
        "or threads"
        for imported in found["imports"]
        if imported["name"].partition(".")[0] in UNAVAILABLE
    ]
    if problems:
        raise BuildError("\n".join(problems))


def _notes(source: Path, found: Any) -> list[str]:
    return [
        f"{source}:{imported['line']}: '{imported['name']}' is imported within a function; the component holds it, since "
        "nothing can be imported later"
        for imported in found["imports"]
        if imported["within"]
    ]


def _gather(app: Path, source: Path, found: Any) -> None:
    """Puts what was imported into one folder: the file itself, its packages, this one, and where to start."""
    app.mkdir()
    for name, root in {**found["roots"], source.stem: str(source), "modelgate_module": str(_HERE)}.items():
        if Path(root).is_dir():
            shutil.copytree(root, app / name, ignore=_LEFT_OUT, dirs_exist_ok=True)
        else:
            shutil.copyfile(root, app / Path(root).name)
    within = sorted({imported["name"] for imported in found["imports"] if imported["within"]})
    sources = {f"/0/{source.name}": source.read_text()}
    (app / "modelgate_app.py").write_text(
        _APP.format(
            stem=source.stem,
            attribute=found["attribute"],
            imports="\n".join(f"import {name}" for name in within),
            sources=sources,
        )
    )


def _componentize(place: Path, out: Path) -> None:
    if find_spec("componentize_py") is None:
        raise BuildError(
            f"componentize-py is missing, which makes the component: {sys.executable} -m pip install "
            "'componentize-py>=0.25.1,<0.26'"
        )
    contract = next((p for p in (_HERE / "wit", _HERE.parents[2] / "wit") if p.is_dir()), None)
    if contract is None:
        raise BuildError("the contract (module.wit) is missing: install modelgate-module again")
    # It would look for packages in an environment by itself; all that is needed is in the folder.
    (place / "none" / "site-packages").mkdir(parents=True)
    command = [
        sys.executable, "-c", "import componentize_py; componentize_py.script()", "--quiet", "--wit-path", str(contract),
        "--world", "module", "componentize", "--stub-wasi", "--python-path", str(place / "app"),
        "modelgate_app", "--output", str(place / "out.wasm"),
    ]  # fmt: skip
    environment = {**os.environ, "VIRTUAL_ENV": str(place / "none")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=place)
    if done.returncode:
        raise BuildError(_failure(done.stderr + done.stdout))
    out.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(place / "out.wasm", out)


def _failure(text: str) -> str:
    missing = re.search(r"ModuleNotFoundError: No module named '([\w.]+)'", text)
    if missing:
        return (
            f"'{missing[1]}' is not in the sandbox's Python, though it is in this one: it may need a C library, files or "
            "the network. Leave it out, or import it where it is missing in `try: … except ImportError:`"
        )
    return f"componentize-py failed:\n{text.strip()[-4000:]}"
