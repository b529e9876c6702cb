"""Whether an export answers as its pipeline, and by how much it differs."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import CannotExport, step_name
from .model import Answers


@dataclass
class Comparison:
    """Rows compared, and the largest difference found in them."""

    sample: int = 0
    """Rows of the sample."""
    generated: int = 0
    """Rows made around thresholds, categories, ends of ranges and missing values."""
    largest: float = 0.0
    """The largest difference of a float, divided by max(1, the expected one's magnitude)."""
    ties: int = 0
    """Rows whose two likeliest classes are equally likely within the tolerance, told apart otherwise."""
    agreed: list[int] = field(default_factory=list)
    """The places of the sample's rows that are answered alike, ties left out."""

    def add(
        self,
        said: Answers,
        exported: Answers,
        tolerance: float,
        step: Sequence[str],
        what: str,
        is_sample: bool,
    ) -> None:
        """Compares some rows.

        A classifier in single precision may take the other one of two classes that are as likely as
        each other within the tolerance. Raises `CannotExport` for any other difference.
        """
        count = len(said.prediction)
        if is_sample:
            self.sample += count
        else:
            self.generated += count
        if count == 0:
            return
        apart = _apart(exported.prediction, said.prediction)
        near = apart <= tolerance
        same, tied = near, np.zeros(count, bool)
        if said.prediction.dtype.kind == "f":
            self.largest = max(self.largest, float(apart.max()))
        if said.probabilities is not None and exported.probabilities is not None:
            best = np.sort(said.probabilities, axis=1)
            tied = best[:, -1] - best[:, -2:].min(axis=1) <= 2 * tolerance
            differ = _apart(exported.probabilities, said.probabilities)
            self.largest = max(self.largest, float(differ.max()))
            same = differ <= tolerance
            wrong = ~same | (~near & ~tied)
        else:
            wrong = ~near
        for name, expected in said.others.items():
            if name not in exported.others:
                raise CannotExport(f"cannot export {step_name(step)}: the graph lacks the output {name}")
            differ = _apart(exported.others[name].reshape(expected.shape), expected)
            self.largest = max(self.largest, float(differ.max()))
            if said.prediction.dtype.kind != "f" and expected.ndim == 1:
                # Of two classes the score is next to its limit: either may be meant.
                on_limit = np.abs(expected) <= tolerance
                tied |= on_limit
                wrong &= ~on_limit
            wrong |= differ > tolerance
            same = same & (differ <= tolerance)
        if wrong.any():
            row = int(np.argmax(wrong))
            raise CannotExport(
                f"cannot export {step_name(step)}: to row {row} of {what} the ONNX graph answers "
                f"{_shown(exported, row)}, the pipeline {_shown(said, row)} ({int(wrong.sum())} of "
                f"{count} rows differ by more than {tolerance:g}); use another estimator, "
                "or allow more with tolerance="
            )
        self.ties += int((~near & tied).sum())
        if is_sample:
            self.agreed = [int(row) for row in np.flatnonzero(near & same)]

    def __str__(self) -> str:
        rows = f"{self.sample} row{'s' if self.sample != 1 else ''} of the sample"
        text = f"compared on {rows} and {self.generated} generated ones"
        if self.sample == 1:
            text += " (a sample of one row shows neither the columns' ranges nor missing values)"
        text += f"; the largest difference is {self.largest:.2g}"
        return text + (f"; {self.ties} ties between two classes were decided otherwise" if self.ties else "")


@dataclass(frozen=True)
class Exported(os.PathLike[str]):
    """A bundle that was written. Wherever a path is taken it is the path of its folder."""

    folder: Path
    compared: Comparison
    """What the export was compared on, and the largest difference."""
    datatype: str
    """The precision of the model's matrix: `f32` or `f64`."""
    examples: int
    """Golden examples written."""
    seconds: float
    """Seconds that the export took."""
    inputs: list[str] = field(default_factory=list)
    """The columns of a request, with their datatypes; `?` where a value may be missing."""
    outputs: list[str] = field(default_factory=list)
    runs: str = ""
    """What runs where."""

    def report(self) -> str:
        """Some lines for people."""
        shown = self.inputs[:12] + ([f"and {len(self.inputs) - 12} more"] if len(self.inputs) > 12 else [])
        examples = f"{self.examples} golden example{'s' if self.examples != 1 else ''}"
        lines = {
            "bundle": f"{self.folder}, {examples}, in {self.seconds:.1f} s",
            "inputs": ", ".join(shown) + (" (? may be null)" if any("?" in text for text in shown) else ""),
            "outputs": ", ".join(self.outputs),
            "runs": f"{self.runs} ({self.datatype})",
            "compared": str(self.compared),
        }
        return "\n".join(f"{name + ':':10}{text}" for name, text in lines.items())

    def __fspath__(self) -> str:
        return str(self.folder)

    def __str__(self) -> str:
        examples = f"{self.examples} golden example{'s' if self.examples != 1 else ''}"
        return f"{self.folder}: {self.compared}; {examples}; {self.seconds:.1f} s"


def _apart(ours: npt.NDArray[Any], theirs: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """For each row the largest difference; infinite where labels, or NaN and a number, differ."""
    if ours.size != theirs.size:
        # A conversion by another package may give something else than the pipeline does.
        raise CannotExport(
            f"cannot export the pipeline: the ONNX graph gives {_sizes(ours)} a row, the pipeline {_sizes(theirs)}; please report this pipeline"
        )
    ours = ours.reshape(theirs.shape)
    if theirs.dtype.kind == "f":
        ours, theirs = np.broadcast_arrays(np.asarray(ours, np.float64), np.asarray(theirs, np.float64))
        with np.errstate(invalid="ignore"):
            differ = np.abs(ours - theirs) / np.maximum(1, np.abs(theirs))
        alike = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
        differ = np.where(alike, 0.0, np.where(np.isnan(differ), np.inf, differ))
    else:
        differ = np.where(np.asarray(ours == theirs), 0.0, np.inf)
    return np.asarray(differ.reshape(len(theirs), -1).max(axis=1, initial=0.0))


def _sizes(values: npt.NDArray[Any]) -> str:
    count = values.size // max(1, len(values))
    return f"{count} value{'s' if count != 1 else ''}"


def _shown(answers: Answers, row: int) -> str:
    told = repr(answer(answers.prediction[row]))
    if answers.probabilities is not None:
        told += f" with {np.round(answers.probabilities[row], 6).tolist()}"
    return told


def answer(value: Any) -> Any:
    """One answer as JSON has it."""
    if isinstance(value, np.ndarray):
        return [answer(inner) for inner in value]
    return value.item() if hasattr(value, "item") else value
