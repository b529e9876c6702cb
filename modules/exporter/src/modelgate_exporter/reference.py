"""The tabular module's config, run by numpy: what the exporter compares with scikit-learn.

Written from `modules/tabular/README.md`, not from the module, so that a mistake
in one of them shows.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Json = Any
Floats = npt.NDArray[np.float64]
Cells = npt.NDArray[Any]


class Refused(ValueError):
    """A row the module answers 422 to."""


def transform(config: Json, rows: Sequence[dict[str, Json]]) -> npt.NDArray[Any]:
    """The matrix of the rows, given as a request gives them."""
    columns = {entry["name"]: _read(entry, rows) for entry in config["inputs"]}
    parts: list[Floats] = []
    for block in config["blocks"]:
        parts += _block(block, [columns[name] for name in block["columns"]])
    matrix = np.hstack(parts) if parts else np.zeros((len(rows), 0))
    return matrix.astype({"f32": np.float32, "f64": np.float64}[config["output"]["datatype"]])


def fed(config: Json, rows: Sequence[dict[str, Json]]) -> dict[str, npt.NDArray[Any]]:
    """The outputs of the module by name: the matrix, and the texts behind it."""
    made = {config["output"]["name"]: transform(config, rows)}
    for text in config.get("texts", []):
        values = [row[text["column"]] for row in rows]
        made[text["column"]] = np.array([[text["missing"] if value is None else value] for value in values], object)
    return made


def sources(config: Json) -> list[str]:
    """The input column that each column of the matrix comes from."""
    names: list[str] = []
    for block in config["blocks"]:
        last = block["steps"][-1] if block["steps"] else {}
        for place, name in enumerate(block["columns"]):
            names += [name] * (len(_kept(last, place)) if last.get("op") == "one_hot" else 1)
        for step in block["steps"]:
            names += [block["columns"][place] for place in step.get("indicator", [])]
    return names


def _read(entry: Json, rows: Sequence[dict[str, Json]]) -> Cells:
    values = [row[entry["name"]] for row in rows]
    if any(value is None for value in values) and not entry.get("nullable", False):
        raise Refused(f"column '{entry['name']}' has a missing value")
    if entry["datatype"] == "bytes":
        return np.array(values, dtype=object)
    cells = np.array([np.nan if value is None else float(value) for value in values])
    return cells.astype(np.float32).astype(np.float64) if entry["datatype"] == "f32" else cells


def _missing(cells: Cells) -> npt.NDArray[np.bool_]:
    if cells.dtype == object:
        return np.array([value is None for value in cells], dtype=bool)
    return np.isnan(cells)


def _block(block: Json, columns: list[Cells]) -> list[Floats]:
    behind: list[Floats] = []
    for step in block["steps"]:
        for place in step.get("indicator", []):
            behind.append(_missing(columns[place]).astype(np.float64)[:, None])
        columns = [_step(step, place, cells) for place, cells in enumerate(columns)]
    return [cells.reshape(len(cells), -1).astype(np.float64) for cells in columns] + behind


def _step(step: Json, place: int, cells: Cells) -> Cells:
    def own(key: str, default: float = 0.0) -> float:
        return default if step.get(key) is None else float(step[key][place])

    match step["op"]:
        case "cast":
            return np.trunc(cells) if step["to"] == "i64" else cells.astype(np.float32) * 1.0
        case "impute":
            filled = cells.copy()
            filled[_missing(cells)] = step["values"][place]
            return filled
        case "missing":
            return _missing(cells).astype(np.float64)
        case "standard":
            return np.divide(cells - own("mean"), own("scale", 1.0))
        case "min_max":
            moved: Cells = cells * own("scale") + own("min")
            return np.clip(moved, *step["clip"]) if step.get("clip") else moved
        case "max_abs":
            return np.divide(cells, own("scale"))
        case "robust":
            return np.divide(cells - own("center"), own("scale", 1.0))
        case "one_hot":
            return _one_hot(step, place, cells)
        case "ordinal":
            return _ordinal(step, place, cells)
    raise ValueError(f"no such operation: {step['op']}")


def _place(categories: list[Json], value: Any) -> int | None:
    """Where the value is among the categories; a boolean is the number 0 or 1."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return categories.index(None) if None in categories else None
    return categories.index(value) if value in categories else None


def _kept(step: Json, place: int) -> list[int]:
    """The groups of a one-hot column that get a matrix column: those not dropped."""
    groups = _groups(step, place)
    drop = (step.get("drop") or {place: None})[place]
    dropped = None if drop is None else groups[drop]
    return [group for group in range(max(groups) + 1) if group != dropped]


def _groups(step: Json, place: int) -> list[int]:
    """For each category its column before `drop`: infrequent ones share the last."""
    infrequent = set((step.get("infrequent") or {place: []})[place])
    size = len(step["categories"][place])
    frequent = [category for category in range(size) if category not in infrequent]
    return [
        len(frequent) if category in infrequent else frequent.index(category)
        for category in range(size)
    ]


def _one_hot(step: Json, place: int, cells: Cells) -> Floats:
    categories, groups = step["categories"][place], _groups(step, place)
    infrequent = (step.get("infrequent") or {place: []})[place]
    out = np.zeros((len(cells), max(groups) + 1))
    for row, value in enumerate(cells):
        found = _place(categories, value)
        if found is not None:
            out[row, groups[found]] = 1.0
        elif step["unknown"] == "error":
            raise Refused(f"row {row}: unknown category {value!r}")
        elif step["unknown"] == "infrequent" and infrequent:
            out[row, groups[infrequent[0]]] = 1.0
    return out[:, _kept(step, place)]


def _ordinal(step: Json, place: int, cells: Cells) -> Floats:
    categories = step["categories"][place]
    out = np.zeros(len(cells))
    for row, value in enumerate(cells):
        found = _place(categories, value)
        if found is None:
            if step["unknown"] == "error":
                raise Refused(f"row {row}: unknown category {value!r}")
            unknown = step["unknown_value"]
            out[row] = np.nan if unknown is None else unknown
        elif categories[found] is None and "missing_value" in step:
            missing = step["missing_value"]
            out[row] = np.nan if missing is None else missing
        else:
            out[row] = found
    return out
