"""`export`: from a fitted pipeline to a bundle that was checked against it."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from . import folder
from .compare import Exported, answer
from .errors import CannotExport
from .frame import of_polars, spread
from .job import Job, OfArrays, OfRecords, OfSeries, Progress, Try
from .missing import may_lack
from .model import Answers, Names, answers, found
from .route import by_graph, by_tabular

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
    classes: Sequence[Any] | Any = None,
    targets: Sequence[str] | None = None,
    quiet: bool = False,
) -> Exported:
    """Writes the bundle of a fitted pipeline into the folder `out`, reports what it compared, and prints that.

    The report stands for the folder's path wherever a path is taken.

    `sample_frame` has rows as the pipeline takes them, dictionaries of a DictVectorizer included: they give the columns' types, the golden
    examples (`examples` of them, evenly spaced, the first row first) and the rows on which the
    export is compared with scikit-learn. `name` is the folder's if left out. `limits` are those of
    modules/BUNDLE.md. `tolerance` is how far an answer may be from scikit-learn's, for single
    precision. `overwrite` replaces a bundle that is there. The `first` rows are golden examples in
    any case. A search over parameters (`GridSearchCV` and its like) is exported as its best
    estimator, which is what answers for it.

    `classes` are the names that a LabelEncoder has for the numbers that the pipeline predicts (its
    `classes_`, or the encoder itself): answers have the names. `targets` names the targets of a
    pipeline that has several. `quiet` prints nothing.

    Raises `CannotExport` if a request could be answered otherwise than by the pipeline.
    """
    begun = time.monotonic()
    sample_frame = of_polars(sample_frame)
    records = isinstance(sample_frame, list) and all(isinstance(row, dict) for row in sample_frame)
    if records:
        sample_frame = pd.DataFrame.from_records(sample_frame)
    path = Path(out)
    name = path.resolve().name if name is None else name
    folder.checked(name, version, description, limits or {})
    folder.available(path, overwrite)
    if examples < 1:
        raise ValueError("examples must be at least 1: the first one is shown in /docs")
    check_is_fitted(pipeline)
    found(pipeline)  # a search without its best estimator is refused by name

    names = _names(pipeline, classes, targets)
    frame = _frame(pipeline, sample_frame)
    frame = frame.iloc[spread(len(frame), CHECKED_ROWS)].reset_index(drop=True)
    asked = pipeline if isinstance(sample_frame, pd.DataFrame) else OfArrays(pipeline)
    if records:
        asked = OfRecords(pipeline)
    elif np.ndim(sample_frame) == 1:
        asked = OfSeries(pipeline)
    progress = Progress(quiet)
    progress.say(f"asking the pipeline about {len(frame)} rows")
    job = Job(asked, frame, name, _asked(asked, frame, names), tolerance, names, progress)
    best = _made(replace(job, may_lack=frozenset(may_lack(asked, frame))))
    chosen = _chosen(best.compared.agreed, job.said, examples, first)

    files = {"model.onnx": best.model.onnx}
    beside: dict[str, bytes] = {}
    if best.component:
        files["features.wasm"] = best.component
        beside["features.py"] = best.source.encode()
    if best.tabular is not None:
        files["preprocess.json"] = folder.readable(best.tabular)
    files["predict.json"] = folder.readable({"outputs": best.model.outputs})
    files["golden.json"] = folder.readable(_golden(best.cells, job.said, chosen, tolerance))
    taken = {entry["name"] for entry in best.inputs}
    ignored = [column for column in frame.columns if isinstance(column, str) and column not in taken]
    manifest = folder.manifest(name, version, description, limits or {}, files, ignored)
    folder.write(path, {"bundle.toml": manifest.encode(), **files, **beside}, overwrite)
    done = Exported(
        path,
        best.compared,
        best.model.datatype,
        len(chosen),
        time.monotonic() - begun,
        [f"{entry['name']} ({entry['datatype']}{'?' if entry.get('nullable') else ''})" for entry in best.inputs],
        [str(output["name"]) for output in best.model.outputs],
        best.route,
    )
    if not quiet:
        print(done.report())
    return done


def _asked(pipeline: Any, frame: pd.DataFrame, names: Names) -> Answers:
    """The pipeline's answers to the sample."""
    try:
        return answers(pipeline, frame, names)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CannotExport(
            f"the pipeline fails on the sample frame ({type(error).__name__}: {reason}); give rows that it takes, "
            "such as those it was fitted on"
        ) from error


def _names(pipeline: Any, classes: Any, targets: Sequence[str] | None) -> Names:
    """The names of classes and targets, once they are known to fit."""
    known = None
    if classes is not None:
        known = [str(value) for value in getattr(classes, "classes_", classes)]
        own = getattr(found(pipeline), "classes_", None)
        if own is None or isinstance(own, list):
            raise ValueError("classes= is for a classifier of one target")
        if not all(isinstance(value, (int, np.integer)) and 0 <= value < len(known) for value in own):
            raise ValueError(
                f"classes= names {len(known)} classes by their places, and the pipeline's own are {list(own)[:10]}"
            )
    return Names(None if targets is None else [str(target) for target in targets], known)


def _made(job: Job) -> Try:
    """The export: by the tabular module as far as that goes, else by operators of the graph.

    Where the export cannot take missing values that the pipeline would take, though the sample has none, requests may not
    have them.
    """
    reasons: list[CannotExport] = []
    plain = replace(job, may_lack=frozenset())
    # The tabular module's steps tell by themselves what they take.
    for route, each in ((by_tabular, plain), (by_graph, job), *([(by_graph, plain)] if job.may_lack else [])):
        try:
            return route(each)
        except CannotExport as error:
            reasons.append(error)
    # The graph knows more: its reason is the one that nothing gets around.
    raise reasons[-1]


def _frame(pipeline: Any, sample: Any) -> pd.DataFrame:
    """The sample with the columns the pipeline was fitted on, in that order."""
    if np.ndim(sample) == 1:
        # What a text vectorizer takes by itself.
        texts = pd.Series(sample).reset_index(drop=True)
        sample = texts.to_frame("text" if texts.name is None else texts.name)
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
    lgbm = type(pipeline).__module__.partition(".")[0] == "lightgbm"
    if lgbm and len(fitted) == len(sample.columns) and not set(fitted) <= set(sample.columns):
        return pd.DataFrame(sample)  # LightGBM writes other signs for spaces
    if lacking := [column for column in fitted if column not in sample.columns]:
        raise ValueError(f"the sample frame lacks columns of the fit: {', '.join(lacking)}")
    return pd.DataFrame(sample[list(fitted)])


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
        label = str(answer(said.prediction[row]))
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
        output |= {name: answer(values[row]) for name, values in said.others.items()}
        if said.probabilities is not None:
            output["probabilities"] = [float(value) for value in said.probabilities[row]]
        examples.append({"input": cells[row], "output": output})
    return {"tolerance": tolerance, "examples": examples}
