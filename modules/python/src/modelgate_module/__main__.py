"""The command `modelgate-module`, which `modelgate module` calls for modules in Python."""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
from pathlib import Path

from .build import BuildError, build


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(prog="modelgate-module", description="Modules for modelgate in Python")
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("build", help="make the component of a Python file")
    make.add_argument("file", help="the Python file, or FILE:NAME where it has several modules")
    make.add_argument("-o", "--out", type=Path, help="the component [default: the file's name with .wasm]")
    test = commands.add_parser("test", help="run the tests beside a module with pytest, without a gateway")
    test.add_argument("path", nargs="?", default=".", help="a file or folder [default: this one]")
    arguments = parser.parse_args()
    if arguments.command == "test":
        sys.exit(_test(arguments.path))
    file, _, name = arguments.file.partition(":")
    source = Path(file)
    out = arguments.out or source.with_suffix(".wasm")
    try:
        built = build(source, out, name or None)
    except BuildError as error:
        sys.exit(f"error: {error}")
    for note in built.notes:
        print(f"note: {note}")
    brought = f", with {', '.join(built.packages)}" if built.packages else ""
    digest = hashlib.sha256(out.read_bytes()).hexdigest()
    print(f"{out}: {built.size / 1e6:.1f} MB{brought}\nsha256 = \"{digest}\"")


def _test(path: str) -> int:
    try:
        import pytest  # noqa: F401
    except ImportError:
        print(f"error: pytest is missing: {sys.executable} -m pip install pytest", file=sys.stderr)
        return 1
    return subprocess.run([sys.executable, "-m", "pytest", path]).returncode


if __name__ == "__main__":
    main()
