"""`export`: from a fitted pipeline to a bundle that was checked against it."""

import os
import time
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from . import folder, probe, reference
from .compare import Comparison, Exported, answer
from .errors import CannotExport
from .features import Feature, blocks, plain
from .frame import datatype, rows, spread
from .functions import Kind
from .model import Answers, Model, answers, convert, encodes, found, in_graph, run
from .model import datatypes as model_datatypes
from .walk import walk

GENERATED_ROWS = 4_000
"""Rows that are made of the sample's columns, and again beside the values that the model compares with."""

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
    first: int = 1,
) -> Exported:
    """Writes the bundle of a fitted pipeline into the folder `out`, and reports what it compared.

    The report stands for the folder's path wherever a path is taken.

    `sample_frame` has rows as the pipeline takes them: they give the columns' types, the golden
    examples (`examples` of them, evenly spaced, the first row first) and the rows on which the
    export is compared with scikit-learn. `name` is the folder's if left out. `limits` are those of
    modules/BUNDLE.md. `tolerance` is how far an answer may be from scikit-learn's, for single
    precision. `overwrite` replaces a bundle that is there. The `first` rows are golden examples in
    any case. A search over parameters (`GridSearchCV` and its like) is exported as its best
    estimator, which is what answers for it.

    Raises `CannotExport` if a request could be answered otherwise than by the pipeline.
    """
    begun = time.monotonic()
    path = Path(out)
    name = path.resolve().name if name is None else name
    folder.checked(name, version, description, limits or {})
    folder.available(path, overwrite)
    if examples < 1:
        raise ValueError("examples must be at least 1: the first one is shown in /docs")
    check_is_fitted(pipeline)

    frame = _frame(pipeline, sample_frame)
    frame = frame.iloc[spread(len(frame), CHECKED_ROWS)].reset_index(drop=True)
    datatypes, odd = _datatypes(_named(frame))
    features, walked = _walk(pipeline, datatypes, odd)
    estimator, step = _rest(pipeline, walked)
    said = answers(pipeline, frame)
    made = _Made(pipeline, walked, frame, features, datatypes, name, said, tolerance)
    tried = [made.tried(kind) for kind in model_datatypes(estimator)]
    best = _best(tried, tolerance)
    chosen = _chosen(best.compared.agreed, said, examples, first)

    files = {
        "model.onnx": best.model.onnx,
        "preprocess.json": folder.readable(best.tabular),
        "predict.json": folder.readable({"outputs": best.model.outputs}),
        "golden.json": folder.readable(_golden(best.cells, said, chosen, tolerance)),
    }
    taken = {entry["name"] for entry in best.tabular["inputs"]}
    ignored = [column for column in frame.columns if isinstance(column, str) and column not in taken]
    manifest = folder.manifest(name, version, description, limits or {}, files, ignored)
    folder.write(path, {"bundle.toml": manifest.encode(), **files}, overwrite)
    return Exported(path, best.compared, best.model.datatype, len(chosen), time.monotonic() - begun)


@dataclass(frozen=True)
class _Try:
    """An export in one precision that agrees with the pipeline."""

    tabular: dict[str, Any]
    cells: list[dict[str, Any]]
    model: Model
    compared: Comparison


@dataclass(frozen=True)
class _Made:
    """What is exported, and what it is compared with."""

    pipeline: Any
    walked: int
    frame: pd.DataFrame
    features: list[Feature]
    datatypes: dict[str, str]
    name: str
    said: Answers
    tolerance: float

    def tried(self, datatype: str) -> _Try | CannotExport:
        """The export with a matrix of that datatype, or why it differs."""
        try:
            return self._tried(datatype)
        except CannotExport as error:
            return error

    def _tried(self, datatype: str) -> _Try:
        named = _named(self.frame)
        tabular = _tabular(self.features, named, self.datatypes, datatype)
        kinds = {entry["name"]: entry["datatype"] for entry in tabular["inputs"]}
        cells = rows(named, kinds)
        matrix = _matrix(self.pipeline, self.walked, self.frame, tabular, cells)
        estimator, step = _rest(self.pipeline, self.walked)
        missing = any(entry.get("nullable", False) for entry in tabular["inputs"])
        model = convert(estimator, step, matrix.shape[1], self.name, self.said, missing, datatype)
        compared = Comparison()

        def compare(said: Answers, of: npt.NDArray[Any], what: str, is_sample: bool) -> None:
            compared.add(said, run(model, of), self.tolerance, step, what, is_sample)

        compare(self.said, matrix, "the sample", True)
        made = probe.frame(self.frame, tabular, GENERATED_ROWS)
        said = answers(self.pipeline, made)
        of = _matrix(self.pipeline, self.walked, made, tabular, rows(_named(made), kinds), "generated row")
        compare(said, of, "the generated rows", False)
        near = probe.matrix(estimator, matrix, GENERATED_ROWS)
        said_near = probe.said(answers, estimator, near)
        if said_near is not None:
            compare(said_near, near, "the rows beside thresholds", False)
        return _Try(tabular, cells, model, compared)


def _best(tried: list[_Try | CannotExport], tolerance: float) -> _Try:
    """The first export whose differences are far from the tolerance, else the one with the smallest.

    Raises the first one's `CannotExport` where none agrees.
    """
    good = [one for one in tried if isinstance(one, _Try)]
    if not good:
        raise next(one for one in tried if isinstance(one, CannotExport))
    for one in good:
        if one.compared.largest <= tolerance / 4:
            return one
    return min(good, key=lambda one: one.compared.largest)


def _named(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with its columns' names as text, as requests have them."""
    return frame.set_axis([str(column) for column in frame.columns], axis=1)


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


def _datatypes(frame: pd.DataFrame) -> tuple[dict[str, str], dict[str, CannotExport]]:
    """Each column's datatype, and what is wrong with those that no request can carry."""
    datatypes: dict[str, str] = {}
    odd: dict[str, CannotExport] = {}
    for column in frame.columns:
        try:
            datatypes[column] = datatype(frame[column], column)
        except CannotExport as error:
            datatypes[column], odd[column] = "bytes", error
    return datatypes, odd


def _steps(pipeline: Any) -> list[tuple[str, Any]]:
    """The steps of a pipeline, of which the last may be a pipeline itself, or a search for one."""
    pipeline = found(pipeline)
    if not isinstance(pipeline, Pipeline):
        return [("", pipeline)]
    *others, (name, last) = pipeline.steps
    last = found(last)
    if isinstance(last, Pipeline):
        return [*others, *((f"{name} → {inner}", step) for inner, step in _steps(last))]
    return [*others, (name, last)]


def _walk(
    pipeline: Any, datatypes: Mapping[str, str], odd: Mapping[str, CannotExport]
) -> tuple[list[Feature], int]:
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
    final = steps[-1][1]
    if walked == len(steps) - 1 and encodes(final):
        # The estimator encodes categories itself, before its trees.
        features = walk(final._preprocessor, features, (steps[-1][0],))
    for feature in features:
        if feature.column in odd:
            raise odd[feature.column]
    if text := _text(features):
        raise CannotExport(
            f"cannot export column '{text[0]}': its text reaches the model without an encoder; "
            "add OneHotEncoder or OrdinalEncoder, or drop the column"
        )
    return features, walked


def _text(features: list[Feature]) -> list[str]:
    return [feature.column for feature in features if feature.kind == "text"]


def _tabular(
    features: list[Feature],
    frame: pd.DataFrame,
    datatypes: Mapping[str, str],
    output: str = "f32",
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
        "output": {"name": "X", "datatype": output},
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
    what: str = "row",
) -> npt.NDArray[Any]:
    """The config's matrix of the rows, once it is known to be scikit-learn's."""
    ours: npt.NDArray[Any] = reference.transform(tabular, cells)
    raw = _head(pipeline, walked, frame)
    theirs = np.asarray(raw.toarray() if hasattr(raw, "toarray") else raw)
    if theirs.shape != ours.shape:
        raise CannotExport(
            f"the export would be wrong: its matrix is {ours.shape[1]} columns wide, "
            f"scikit-learn's {theirs.shape[1]}; please report this pipeline"
        )
    single = ours.dtype == np.float32 or theirs.dtype.kind != "f" or theirs.dtype.itemsize < 8
    theirs = theirs.astype(np.float64)
    # Twice the rounding of single precision: scikit-learn computes float32 columns in float32.
    rtol, atol = (2.5e-7, 1e-6) if single else (1e-13, 1e-13)
    differ = ~np.isclose(ours, theirs, rtol=rtol, atol=atol, equal_nan=True)
    if differ.any():
        row, place = (int(at) for at in np.argwhere(differ)[0])
        column = reference.sources(tabular)[place]
        raise CannotExport(
            f"the export would be wrong on column '{column}': in {what} {row} "
            f"({cells[row][column]!r}) its matrix column {place} is {ours[row, place]}, "
            f"scikit-learn's {theirs[row, place]}; please report this pipeline"
        )
    return ours


def _head(pipeline: Any, walked: int, frame: pd.DataFrame) -> Any:
    """What the steps that the tabular module does make of the rows."""
    steps = _steps(pipeline)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        raw: Any = Pipeline(steps[:walked]).transform(frame) if walked else frame
        final = steps[-1][1]
        if walked == len(steps) - 1 and encodes(final):
            raw = final._preprocessor.transform(raw)
    return raw


def _rest(pipeline: Any, walked: int) -> tuple[Any, tuple[str, ...]]:
    """What the ONNX graph computes: the estimator, or the steps the tabular module has not."""
    steps = _steps(pipeline)[walked:]
    if len(steps) == 1:
        name, estimator = steps[0]
        return estimator, (name,) if name else ()
    return Pipeline(steps), tuple(name for name, _ in steps)


def _chosen(agreed: list[int], said: Answers, wanted: int, first: int = 1) -> list[int]:
    """Rows for golden examples: the first ones, then each class in turn, or spread evenly for
    other estimators."""
    if said.probabilities is None:
        head = [row for row in agreed if row < min(first, wanted)] if first > 1 else []
        rest = agreed[len(head) :]
        return head + [rest[place] for place in spread(len(rest), wanted - len(head))]
    seen: Counter[Any] = Counter()
    turns = []
    for row in agreed:
        label = answer(said.prediction[row])
        turns.append((row >= first, seen[label], row))
        seen[label] += 1
    return [row for _, _, row in sorted(turns)[:wanted]]


def _golden(
    cells: list[dict[str, Any]], said: Answers, chosen: list[int], tolerance: float
) -> dict[str, Any]:
    """golden.json: rows of the sample with scikit-learn's own answers."""
    examples = []
    for row in chosen:
        output = {"prediction": answer(said.prediction[row])}
        if said.probabilities is not None:
            output["probabilities"] = [float(value) for value in said.probabilities[row]]
        examples.append({"input": cells[row], "output": output})
    return {"tolerance": tolerance, "examples": examples}
