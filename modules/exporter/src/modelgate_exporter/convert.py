"""A saved model as a bundle: `python -m modelgate_exporter.convert JOB` is run in a process of its own.

`JOB/model` holds the version's files and `JOB/job.json` what is asked for; the bundle goes to
`JOB/out/bundle`, and `JOB/out/report.json` says what became of it.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from .errors import CannotExport


def bundle(
    saved_folder: Path, out: Path, name: str, version: str, description: str | None
) -> dict[str, Any]:
    """Writes the bundle of a folder with an `MLmodel`; gives what people want to know of it."""
    began = time.monotonic()
    from . import pickles
    from .export import export
    from .model import found as best
    from .sample import sample
    from .saved import Saved

    saved = Saved.open(saved_folder)
    progress("reading the fitted object")
    fitted = saved.load()
    pickles.complete(best(fitted))
    if not hasattr(fitted, "predict"):
        raise CannotExport(f"{type(fitted).__name__} has no predict: there is nothing to serve")
    if isinstance(fitted, pickles.Placeholder):
        raise CannotExport(f"it is {fitted.stands_for}, which is not installed here")
    frame, first, origin = sample(saved, best(fitted))
    progress(f"exporting {type(best(fitted)).__name__}, compared on {origin}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        done = export(
            _answering(fitted),
            frame,
            out,
            name=name,
            version=version,
            description=description,
            examples=max(20, min(first, 100)),
            first=first,
            overwrite=True,
            quiet=True,
        )
    seconds = round(time.monotonic() - began, 1)
    return {"rows": origin, "compared": str(done.compared), "seconds": seconds}


def _answering(fitted: Any) -> Any:
    """The object itself, so that its own `predict` is compared; what a search refers to beside its
    best estimator may not have been read."""
    from . import pickles
    from .model import found as best

    try:
        pickles.complete(fitted)
    except CannotExport:
        return best(fitted)
    return fitted


def progress(line: str) -> None:
    """One line for people; standard output is for results."""
    print(line, file=sys.stderr, flush=True)


def main(job: Path) -> int:
    """Does what `job.json` asks for; the report is written in any case."""
    asked = json.loads((job / "job.json").read_text())
    report: dict[str, Any]
    try:
        # The output of a pickle is not for the readers of ours.
        with contextlib.redirect_stdout(sys.stderr):
            told = bundle(
                job / "model",
                job / "out" / "bundle",
                asked["name"],
                asked["version"],
                asked.get("description"),
            )
        report = {"state": "converted", **told}
    except CannotExport as error:
        report = {"state": "refused", "reason": str(error)}
    except MemoryError:
        report = {"state": "failed", "reason": "it needs more memory than a conversion may take"}
    except Exception as error:
        words = " ".join(f"{type(error).__name__}: {error}".split())
        report = {"state": "failed", "reason": words[:800]}
    (job / "out" / "report.json").write_text(json.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
