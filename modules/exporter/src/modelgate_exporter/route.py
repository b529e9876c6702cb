"""The two ways to a bundle: by the tabular module, and by a graph that does it all."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.pipeline import Pipeline

from . import probe, reference
from .compare import Comparison
from .errors import CannotExport
from .features import Feature, blocks, plain
from .frame import datatype, rows
from .functions import Kind
from .graph.compile import Compiled, Given, compiled
from .job import Job, Try
from .model import Answers, Model, answers, convert, encodes, found, in_graph, run, wanted
from .model import datatypes as model_datatypes
from .walk import walk

GENERATED_ROWS = 4_000
"""Rows that are made of the sample's columns, and again beside the values that the model compares with."""


def by_tabular(job: Job) -> Try:
    """The preprocessing by the tabular module, the estimator by a graph over its matrix."""
    datatypes, odd = _datatypes(named(job.frame))
    features, walked = _walk(job.fitted, job.frame, datatypes, odd)
    estimator, _ = _rest(job.fitted, walked)
    tried: list[Try | CannotExport] = []
    kinds = model_datatypes(estimator)
    # The votes of many classes are counted in single precision, which is much quicker; ties may then go either way.
    even = "f64" not in kinds and len(getattr(estimator, "classes_", ())) > 2
    for kind in kinds:
        try:
            tried.append(_tried(job, features, walked, datatypes, kind))
        except CannotExport as error:
            tried.append(error)
        if _fits(tried[-1], job.tolerance, even):
            break
    return _best(tried, even)


def _fits(one: Try | CannotExport, tolerance: float, even: bool) -> bool:
    """Whether an export's differences are far from the tolerance."""
    return isinstance(one, Try) and one.compared.largest <= tolerance / 4 and (even or not one.compared.ties)


def _best(tried: list[Try | CannotExport], even: bool) -> Try:
    """The export with the fewest ties and the smallest differences. Raises the last one's `CannotExport` where none agrees."""
    good = [one for one in tried if isinstance(one, Try)]
    if not good:
        raise next(one for one in reversed(tried) if isinstance(one, CannotExport))
    return min(good, key=lambda one: (0 if even else one.compared.ties, one.compared.largest))


def _tried(job: Job, features: list[Feature], walked: int, datatypes: dict[str, str], kind: str) -> Try:
    matrix_kind = "f64" if kind == "own" else kind
    frame = named(job.frame)
    tabular = _config(features, frame, datatypes, matrix_kind)
    kinds = {entry["name"]: entry["datatype"] for entry in tabular["inputs"]}
    cells = rows(frame, kinds)
    matrix = _matrix(job, walked, job.frame, tabular, cells)
    estimator, step = _rest(job.fitted, walked)
    missing = any(entry.get("nullable", False) for entry in tabular["inputs"])
    job.progress.say(f"writing the graph of {type(estimator).__name__}")
    model = convert(estimator, step, matrix.shape[1], job.name, job.said, missing, kind, job.names)
    compared = Comparison()

    def compare(said: Answers, of: npt.NDArray[Any], what: str, is_sample: bool) -> None:
        job.progress.say(f"comparing the graph on {what}")
        compared.add(said, run(model, of), job.tolerance, step, what, is_sample)

    compare(job.said, matrix, "the sample", True)
    made, said = _generated(job, tabular, set())
    if said is not None:
        of = _matrix(job, walked, made, tabular, rows(named(made), kinds), "generated row")
        compare(said, of, "the generated rows", False)
    near = probe.matrix(estimator, matrix, GENERATED_ROWS)
    said_near = probe.said(lambda *given: answers(*given, job.names), estimator, near)
    if said_near is not None:
        compare(said_near, near, "the rows beside thresholds", False)
    how = "the preprocessing in the tabular module (wasm), the estimator in the ONNX graph"
    return Try(tabular, tabular["inputs"], cells, model, compared, how)


def _generated(job: Job, tabular: dict[str, Any], texts: set[str]) -> tuple[pd.DataFrame, Answers | None]:
    """Rows that the sample does not have, as the pipeline takes them, and its answers."""
    none: set[str] = set()
    for unknown, missing, mixed in ((True, True, texts), (False, True, texts), (False, False, texts), (False, True, none), (False, False, none)):
        made = probe.frame(job.frame, tabular, GENERATED_ROWS, unknown=unknown, missing=missing, texts=mixed)
        try:
            said = answers(job.pipeline, made, job.names)
        except (ValueError, TypeError, KeyError):
            continue  # the pipeline refuses such values, as it would in a request
        if job.may_lack and not missing:
            break
        return made, said
    if job.may_lack:
        raise CannotExport("cannot export the pipeline: it takes no row in which several columns have no value")
    return job.frame.head(0), None


def by_graph(job: Job) -> Try:
    """The whole pipeline by operators; the tabular module gives each text its code, and refuses what encoders do."""
    frame = named(job.frame)
    datatypes = {str(column): datatype(frame[column], str(column), dates=True) for column in _wanted(job, frame)}
    for column in frame.columns:
        datatypes.setdefault(column, "f64")
    datatypes = {column: datatypes[column] for column in frame.columns}
    job.progress.say("writing the graph of the whole pipeline")
    form = Given(job.framed, job.single, job.records, job.may_lack)
    made = compiled(job.fitted, job.frame, datatypes, form, wanted(job.said, job.names))
    model = Model(made.onnx, made.outputs, "f64")
    kinds = {entry["name"]: entry["datatype"] for entry in made.inputs}
    compared = Comparison()

    def compare(said: Answers, cells: list[dict[str, Any]], what: str, is_sample: bool) -> None:
        job.progress.say(f"comparing the graph on {what}")
        given = run(model, fed(made, cells))
        try:
            compared.add(said, given, job.tolerance, (), what, is_sample)
        except CannotExport as error:
            raise CannotExport(f"{made.doubts[0]} ({_counted(error)})") if made.doubts else error from error

    cells = rows(frame, kinds)
    compare(job.said, cells, "the sample", True)
    config = {**(made.tabular or {"blocks": []}), "inputs": made.inputs}
    texts = {entry["column"] for entry in config["texts"]} if "texts" in config else set() if made.tabular else set(kinds)
    more, said = _generated(job, config, texts)
    if said is not None:
        compare(said, rows(named(more), kinds), "the generated rows", False)
    how = "the whole pipeline in the ONNX graph, in double precision"
    if made.tabular is not None:
        how += "; the tabular module (wasm) reads the columns"
    if made.foreign is not None:
        job.progress.say("making a stage in Python of the pipeline's own functions")
        how = f"{', '.join(dict.fromkeys(made.foreign.functions))} in a stage in Python (wasm); {how}"
        return Try(made.tabular, made.inputs, cells, model, compared, how, made.foreign.text, made.foreign.component())
    return Try(made.tabular, made.inputs, cells, model, compared, how)


def _counted(error: CannotExport) -> str:
    """The number of rows that differ, of a comparison's sentence."""
    found = re.search(r"(\d+ of \d+ rows)", str(error))
    return f"{found.group(1)} that were compared are such" if found else "some rows are such"


def _wanted(job: Job, frame: pd.DataFrame) -> list[str]:
    """The columns whose types a request can carry; of others only those that are not used may be there."""
    good = []
    for column in frame.columns:
        try:
            datatype(frame[column], column, dates=True)
        except CannotExport:
            if _uses(job, column):
                raise
            continue
        good.append(column)
    return good


def _uses(job: Job, column: str) -> bool:
    """Whether the answers change with a column: its values are put in another order."""
    place = [str(name) for name in job.frame.columns].index(column)
    other = job.frame.head(200).copy()
    other.isetitem(place, other.iloc[::-1, place].to_numpy())
    try:
        one, two = (job.pipeline.predict(rows_) for rows_ in (job.frame.head(200), other))
    except Exception:
        return True
    return not np.array_equal(np.asarray(one), np.asarray(two))


def fed(made: Compiled, cells: list[dict[str, Any]]) -> Any:
    """The inputs of the graph for some requests."""
    if made.foreign is not None:
        cells = made.foreign.rows(cells)
    if made.tabular is not None:
        return reference.fed(made.tabular, cells)
    return {entry["name"]: np.array([[row[entry["name"]]] for row in cells], object) for entry in made.inputs}


def named(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with its columns' names as text, as requests have them."""
    return frame.set_axis([str(column) for column in frame.columns], axis=1)


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
    pipeline: Any, frame: pd.DataFrame, datatypes: Mapping[str, str], odd: Mapping[str, CannotExport]
) -> tuple[list[Feature], int]:
    """The part of the tabular module, and the number of the pipeline's steps that it covers."""
    kinds: dict[str, Kind] = {"bytes": "text", "bool": "bool"}
    features = [
        Feature(column, kinds.get(kind, "number"), none=_none(frame.iloc[:, place]))
        for place, (column, kind) in enumerate(datatypes.items())
    ]
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


def _none(values: pd.Series) -> bool:
    """Whether missing values are None, which most steps take for a value like others."""
    return values.dtype == object and any(value is None for value in values)


def _text(features: list[Feature]) -> list[str]:
    return [feature.column for feature in features if feature.kind == "text"]


def _config(
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
    job: Job,
    walked: int,
    frame: pd.DataFrame,
    tabular: dict[str, Any],
    cells: list[dict[str, Any]],
    what: str = "row",
) -> npt.NDArray[Any]:
    """The config's matrix of the rows, once it is known to be scikit-learn's."""
    ours: npt.NDArray[Any] = reference.transform(tabular, cells)
    raw = _head(job.fitted, walked, frame if job.framed else frame.to_numpy())
    theirs = np.asarray(raw.toarray() if hasattr(raw, "toarray") else raw)
    if theirs.dtype == object:  # nullable types
        theirs = np.where(pd.isna(theirs), np.nan, theirs)
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


def _head(pipeline: Any, walked: int, frame: Any) -> Any:
    """The rows after the steps that the tabular module does."""
    steps = _steps(pipeline)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        raw: Any = Pipeline(steps[:walked]).transform(frame) if walked else frame
        final = steps[-1][1]
        if walked == len(steps) - 1 and encodes(final):
            raw = final._preprocessor.transform(raw)
    return raw


def _rest(pipeline: Any, walked: int) -> tuple[Any, tuple[str, ...]]:
    """The part of the ONNX graph: the estimator, or the steps the tabular module has not."""
    steps = _steps(pipeline)[walked:]
    if len(steps) == 1:
        name, estimator = steps[0]
        return estimator, (name,) if name else ()
    return Pipeline(steps), tuple(name for name, _ in steps)
