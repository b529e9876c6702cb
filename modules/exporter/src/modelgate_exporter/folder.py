"""Writes a bundle's folder: all of it or nothing."""

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

LIMITS = {"memory": str, "deadline_ms": int, "rows": int, "host_call_bytes": str}


def checked(
    name: str, version: str, description: str | None, limits: Mapping[str, int | str]
) -> None:
    """Raises `ValueError` for what the gateway would refuse in a manifest."""
    for what, value, most in (("name", name, 128), ("version", version, 64)):
        if not re.fullmatch(r"[A-Za-z0-9._-]+", value) or len(value) > most:
            raise ValueError(
                f"{what} {value!r} must be 1 to {most} letters, digits, '.', '_' or '-'"
            )
    if description is not None and not description.isprintable():
        raise ValueError("description must be one line of printable text")
    for key, limit in limits.items():
        if key not in LIMITS:
            raise ValueError(f"no such limit: {key!r}; there are {', '.join(LIMITS)}")
        if not isinstance(limit, LIMITS[key]) or isinstance(limit, bool):
            example = "5000" if LIMITS[key] is int else '"64MiB"'
            raise ValueError(f"limit {key} must be like {example}, not {limit!r}")


def manifest(
    name: str,
    version: str,
    description: str | None,
    limits: Mapping[str, int | str],
    files: Mapping[str, bytes],
    ignored: Sequence[str] = (),
) -> str:
    """`bundle.toml` for the files of an exported bundle. Requests may have the `ignored` columns too."""

    def digest(file: str) -> str:
        return hashlib.sha256(files[file]).hexdigest()

    head = ["format = 1", f"name = {_toml(name)}", f"version = {_toml(version)}"]
    if description:
        head.append(f"description = {_toml(description)}")
    if ignored:
        head.append(f"ignored_columns = [{', '.join(_toml(column) for column in ignored)}]")
    tables = [
        ["[model]", 'file = "model.onnx"', f'sha256 = "{digest("model.onnx")}"'],
        *(
            [["[[stage]]", 'name = "features"', 'module = "features.wasm"', f'sha256 = "{digest("features.wasm")}"']]
            if "features.wasm" in files
            else []
        ),
        *(
            [
                "[[stage]]",
                f'name = "{stage}"',
                f'module = "builtin:{module}"',
                f'config = "{stage}.json"',
                f'config_sha256 = "{digest(f"{stage}.json")}"',
            ]
            for stage, module in (("preprocess", "tabular"), ("predict", "predict"))
            if f"{stage}.json" in files
        ),
        ["[golden]", 'file = "golden.json"', f'sha256 = "{digest("golden.json")}"'],
    ]
    if limits:
        tables.append(["[limits]", *(f"{key} = {_toml(value)}" for key, value in limits.items())])
    return "\n\n".join("\n".join(table) for table in [head, *tables]) + "\n"


def _toml(value: int | str) -> str:
    # For printable text a JSON string is a TOML string.
    return json.dumps(value, ensure_ascii=False)


def readable(value: Any) -> bytes:
    """JSON over lines, but for what fits on one and for rows of plain values."""
    return (_lines(value, "") + "\n").encode()


def _lines(value: Any, indent: str) -> str:
    line = json.dumps(value, ensure_ascii=False, allow_nan=False)
    inner = value.values() if isinstance(value, dict) else value
    if not isinstance(value, dict | list) or len(indent) + len(line) <= 100:
        return line
    if not any(isinstance(part, dict | list) for part in inner):
        return line
    deeper = indent + "  "
    parts = [_lines(part, deeper) for part in inner]
    if isinstance(value, dict):
        keys = [json.dumps(key, ensure_ascii=False) for key in value]
        parts = [f"{key}: {part}" for key, part in zip(keys, parts, strict=True)]
    first, last = ("{", "}") if isinstance(value, dict) else ("[", "]")
    body = ",\n".join(deeper + part for part in parts)
    return f"{first}\n{body}\n{indent}{last}"


def write(out: Path, files: Mapping[str, bytes], overwrite: bool) -> None:
    """Puts the files into a new folder beside `out` and renames it, so that no one sees half."""
    available(out, overwrite)
    out.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        made.chmod(0o755)  # mkdtemp's 0700 would keep a gateway of another user out
        for name, content in files.items():
            (made / name).write_bytes(content)
        if out.exists():
            old = made.with_name(made.name + ".old")
            os.rename(out, old)
            os.rename(made, out)
            shutil.rmtree(old)
        else:
            os.rename(made, out)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise


def available(out: Path, overwrite: bool) -> None:
    """Raises `FileExistsError` where `out` holds what `write` must not replace."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not overwrite:
        raise FileExistsError(f"{out} exists; overwrite=True replaces a bundle")
    if not (out / "bundle.toml").is_file():
        raise FileExistsError(f"{out} is not a bundle (no bundle.toml), so it is not replaced")
