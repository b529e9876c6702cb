"""`export`: from a fitted pipeline to a bundle that was checked against it."""

import os
import warnings
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from . import folder, reference
from .errors import CannotExport, step_name
from .features import Feature, blocks, plain
from .frame import datatype, rows, spread
from .functions import Kind
from .model import Answers, answers, convert, in_graph, run
from .walk import walk

CHECKED_ROWS = 10_000
"""The most rows of the sample that are compared: enough for every category, done in seconds."""


def export(
    pipeline: Any,
    sample_frame: pd.DataFrame,
    out: str | os.PathLike[str],
    *,
    name: str | None = None,
    version: str = "1",
    description: str | None = None,
    examples: int = 20,
    limits: Mapping[str, int | str] | None = None,
    tolerance: float = 1e-5,
    overwrite: bool = False,
) -> Path:
    """Writes the bundle of a fitted pipeline into the folder `out`, and returns its path.

    `sample_frame` has rows as the pipeline takes them: they give the columns' types, the golden
    examples (`examples` of them, evenly spaced, the first row first) and the rows on which the
    export is compared with scikit-learn. `name` is the folder's if left out. `limits` are those of
    modules/BUNDLE.md. `tolerance` is how far an answer may be from scikit-learn's, for single
    precision. `overwrite` replaces a bundle that is there.

    Raises `CannotExport` if a request could be answered otherwise than by the pipeline.
    """
    path = Path(out)
    name = path.resolve().name if name is None else name
    folder.checked(name, version, description, limits or {})
    folder.available(path, overwrite)
    if examples < 1:
        raise ValueError("examples must be at least 1: the first one is shown in /docs")
    check_is_fitted(pipeline)

    frame = _frame(pipeline, sample_frame)
    frame = frame.iloc[spread(len(frame), CHECKED_ROWS)].reset_index(drop=True)
    datatypes = {str(column): datatype(frame[column], str(column)) for column in frame.columns}
    features, walked = _walk(pipeline, datatypes)
    tabular = _tabular(features, frame, datatypes)
    used = {entry["name"]: entry["datatype"] for entry in tabular["inputs"]}
    cells = rows(frame.set_axis([str(column) for column in frame.columns], axis=1), used)
    matrix = _matrix(pipeline, walked, frame, tabular, cells)

    said = answers(pipeline, frame)
    estimator, step = _rest(pipeline, walked)
    model = convert(estimator, step, matrix.shape[1], name, said)
    agreed = _agreed(said, run(model, matrix), tolerance, step)
    chosen = _chosen(agreed, said, examples)

    files = {
        "model.onnx": model.onnx,
        "preprocess.json": folder.readable(tabular),
        "predict.json": folder.readable({"outputs": model.outputs}),
        "golden.json": folder.readable(_golden(cells, said, chosen, tolerance)),
    }
    manifest = folder.manifest(name, version, description, limits or {}, files)
    folder.write(path, {"bundle.toml": manifest.encode(), **files}, overwrite)
    return path


def _frame(pipeline: Any, sample: Any) -> pd.DataFrame:
    """The sample with the columns the pipeline was fitted on, in that order."""
    if not isinstance(sample, pd.DataFrame):
        array = np.asarray(sample)
        sample = pd.DataFrame(array, columns=[f"x{place}" for place in range(array.shape[1])])
    if len(sample) == 0:
        raise ValueError("the sample frame has no rows")
    fitted = getattr(pipeline, "feature_names_in_", None)
    if fitted is None:
        width = getattr(pipeline, "n_features_in_", len(sample.columns))
        if width != len(sample.columns):
            raise ValueError(
                f"the sample frame has {len(sample.columns)} columns, the pipeline takes {width}"
            )
        return pd.DataFrame(sample)
    if lacking := [column for column in fitted if column not in sample.columns]:
        raise ValueError(f"the sample frame lacks columns of the fit: {', '.join(lacking)}")
    return pd.DataFrame(sample[list(fitted)])


def _steps(pipeline: Any) -> list[tuple[str, Any]]:
    return list(pipeline.steps) if isinstance(pipeline, Pipeline) else [("", pipeline)]


def _walk(pipeline: Any, datatypes: Mapping[str, str]) -> tuple[list[Feature], int]:
    """What the tabular module does, and how many of the pipeline's steps that covers."""
    kinds: dict[str, Kind] = {"bytes": "text", "bool": "bool"}
    features = [Feature(column, kinds.get(kind, "number")) for column, kind in datatypes.items()]
    steps = _steps(pipeline)
    walked = 0
    for name, step in steps[:-1]:
        try:
            features = walk(step, features, (name,))
        except CannotExport:
            # A step over a whole matrix of numbers, as PCA, can be part of the ONNX graph.
            if not in_graph(step) or _text(features):
                raise
            break
        walked += 1
    if text := _text(features):
        raise CannotExport(
            f"cannot export column '{text[0]}': its text reaches the model without an encoder; "
            "add OneHotEncoder or OrdinalEncoder, or drop the column"
        )
    return features, walked


def _text(features: list[Feature]) -> list[str]:
    return [feature.column for feature in features if feature.kind == "text"]


def _tabular(
    features: list[Feature], frame: pd.DataFrame, datatypes: Mapping[str, str]
) -> dict[str, Any]:
    """The tabular module's config."""
    inputs = []
    for column, kind in datatypes.items():
        uses = [feature for feature in features if feature.column == column]
        if not uses:
            continue  # what the pipeline drops, callers need not send
        entry: dict[str, Any] = {"name": column, "datatype": kind}
        if kind == "i64" and any(map(_truncated, uses)):
            entry["datatype"] = "f64"  # the pipeline truncates, so fractions are welcome
        if bool(frame[column].isna().to_numpy().any()) or all(map(_takes_missing, uses)):
            entry["nullable"] = True
        inputs.append(entry)
    return {
        "inputs": inputs,
        "output": {"name": "X", "datatype": "f32"},
        "blocks": [plain(block) for block in blocks(features)],
    }


def _truncated(feature: Feature) -> bool:
    return any(step.shared.get("to") == "i64" for step in feature.steps)


def _takes_missing(feature: Feature) -> bool:
    return any(
        step.op in ("impute", "missing") or None in step.own.get("categories", [])
        for step in feature.steps
    )


def _matrix(
    pipeline: Any,
    walked: int,
    frame: pd.DataFrame,
    tabular: dict[str, Any],
    cells: list[dict[str, Any]],
) -> npt.NDArray[np.float32]:
    """The config's matrix of the sample, once it is known to be scikit-learn's."""
    ours: npt.NDArray[np.float32] = reference.transform(tabular, cells)
    head = Pipeline(pipeline.steps[:walked]) if walked else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        raw: Any = frame if head is None else head.transform(frame)
    theirs = np.asarray(raw.toarray() if hasattr(raw, "toarray") else raw)
    if theirs.shape != ours.shape:
        raise CannotExport(
            f"the export would be wrong: its matrix is {ours.shape[1]} columns wide, "
            f"scikit-learn's {theirs.shape[1]}; please report this pipeline"
        )
    theirs = theirs.astype(np.float64)
    # Twice the rounding of single precision: scikit-learn computes float32 columns in float32.
    differ = ~np.isclose(ours, theirs, rtol=2.5e-7, atol=1e-6, equal_nan=True)
    if differ.any():
        row, place = (int(found) for found in np.argwhere(differ)[0])
        column = reference.sources(tabular)[place]
        raise CannotExport(
            f"the export would be wrong on column '{column}': in row {row} of the sample "
            f"({cells[row][column]!r}) its matrix column {place} is {ours[row, place]}, "
            f"scikit-learn's {theirs[row, place]}; please report this pipeline"
        )
    return ours


def _rest(pipeline: Any, walked: int) -> tuple[Any, tuple[str, ...]]:
    """What the ONNX graph computes: the estimator, or the steps the tabular module has not."""
    steps = _steps(pipeline)[walked:]
    if len(steps) == 1:
        name, estimator = steps[0]
        return estimator, (name,) if name else ()
    return Pipeline(steps), tuple(name for name, _ in steps)


def _agreed(
    said: Answers, exported: Answers | None, tolerance: float, step: tuple[str, ...]
) -> list[int]:
    """The rows on which the ONNX graph answers as scikit-learn: all, but for ties.

    A classifier in single precision may take the other one of two classes that are as likely as
    each other within the tolerance; any other difference is refused.
    """
    count = len(said.prediction)
    if exported is None:
        return list(range(count))
    near = _near(exported.prediction, said.prediction, tolerance)
    if said.probabilities is not None and exported.probabilities is not None:
        best = np.sort(said.probabilities, axis=1)
        tied = best[:, -1] - best[:, -2:].min(axis=1) <= 2 * tolerance
        same = _near(exported.probabilities, said.probabilities, tolerance)
        wrong = ~same | (~near & ~tied)
    else:
        same, wrong = near, ~near
    if wrong.any():
        row = int(np.argmax(wrong))
        raise CannotExport(
            f"cannot export {step_name(step)}: to row {row} of the sample skl2onnx's graph answers "
            f"{_shown(exported, row)}, scikit-learn {_shown(said, row)} ({int(wrong.sum())} of "
            f"{count} rows differ by more than {tolerance:g}); use another estimator, "
            "or allow more with tolerance="
        )
    return [int(row) for row in np.flatnonzero(near & same)]


def _near(ours: npt.NDArray[Any], theirs: npt.NDArray[Any], tolerance: float) -> npt.NDArray[Any]:
    if theirs.dtype.kind == "f":
        near = np.abs(ours - theirs) <= tolerance * np.maximum(1, np.abs(theirs))
    else:
        near = np.asarray(ours == theirs)
    return np.asarray(near.reshape(len(theirs), -1).all(axis=1))


def _shown(answers: Answers, row: int) -> str:
    told = repr(_answer(answers.prediction[row]))
    if answers.probabilities is not None:
        told += f" with {np.round(answers.probabilities[row], 6).tolist()}"
    return told


def _chosen(agreed: list[int], said: Answers, wanted: int) -> list[int]:
    """Rows for golden examples: each class in turn, or spread evenly for other estimators."""
    if said.probabilities is None:
        return [agreed[place] for place in spread(len(agreed), wanted)]
    seen: Counter[Any] = Counter()
    turns = []
    for row in agreed:
        label = _answer(said.prediction[row])
        turns.append((seen[label], row))
        seen[label] += 1
    return [row for _, row in sorted(turns)[:wanted]]


def _golden(
    cells: list[dict[str, Any]], said: Answers, chosen: list[int], tolerance: float
) -> dict[str, Any]:
    """golden.json: rows of the sample with scikit-learn's own answers."""
    examples = []
    for row in chosen:
        output = {"prediction": _answer(said.prediction[row])}
        if said.probabilities is not None:
            output["probabilities"] = [float(value) for value in said.probabilities[row]]
        examples.append({"input": cells[row], "output": output})
    return {"tolerance": tolerance, "examples": examples}


def _answer(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [_answer(inner) for inner in value]
    return value.item() if hasattr(value, "item") else value
