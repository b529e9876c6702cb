"""Where the gateway's binary is."""

from __future__ import annotations

import os
import shutil
import sysconfig
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from .errors import CannotServe

DISTRIBUTION = "modelgate-serving"


def find() -> Path:
    """The binary that `MODELGATE_BINARY` names, else the wheel's own, else the one on `PATH`.

    Raises `CannotServe` where there is none.
    """
    if named := os.environ.get("MODELGATE_BINARY"):
        path = Path(named)
        if not os.access(path, os.X_OK) or path.is_dir():
            raise CannotServe(f"MODELGATE_BINARY names {named}, which is no program; let it name the gateway's binary")
        return path.resolve()
    for path in _installed():
        if os.access(path, os.X_OK):
            return path
    if on_path := shutil.which("modelgate"):
        return Path(on_path)
    raise CannotServe(
        "the gateway's binary is not installed: this package is not from the wheel; install the wheel "
        "(`make wheel` builds it), or let MODELGATE_BINARY name the binary (target/release/modelgate)"
    )


def _installed() -> list[Path]:
    """Where an installer puts the wheel's scripts: what it wrote down, then the environment's folder."""
    try:
        listed = files(DISTRIBUTION) or []
    except PackageNotFoundError:
        return []
    found = [Path(str(entry.locate())).resolve() for entry in listed if entry.name == "modelgate"]
    return [*found, Path(sysconfig.get_path("scripts")) / "modelgate"]
