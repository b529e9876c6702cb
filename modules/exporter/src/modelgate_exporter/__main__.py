"""`python -m modelgate_exporter pipeline.pkl sample.csv out/ --name churn`."""

import argparse
import sys
from collections.abc import Sequence

import joblib
import pandas as pd

from .errors import CannotExport
from .export import export


def main(arguments: Sequence[str] | None = None) -> int:
    """Exports a pickled pipeline; the exit status is 1 if that cannot be done."""
    parser = argparse.ArgumentParser(
        prog="python -m modelgate_exporter",
        description="Turn a fitted scikit-learn pipeline into a modelgate bundle.",
        epilog="A pickle runs code when it is read: open only your own.",
    )
    parser.add_argument("pipeline", help="fitted pipeline, written by pickle or joblib")
    parser.add_argument("sample", help="CSV of rows as the pipeline takes them")
    parser.add_argument("out", help="folder of the bundle")
    parser.add_argument("--name", help="what requests call it (default: the folder's name)")
    parser.add_argument("--version", default="1")
    parser.add_argument("--description", help="one line, shown in /docs")
    parser.add_argument("--examples", type=int, default=20, help="golden examples (default: 20)")
    parser.add_argument("--tolerance", type=float, default=1e-5, help="of answers (default: 1e-5)")
    parser.add_argument(
        "--text",
        action="append",
        default=[],
        metavar="COLUMN",
        help="read this CSV column as text though it looks like numbers; may be repeated",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the bundle that is there")
    given = parser.parse_args(arguments)
    try:
        done = export(
            joblib.load(given.pipeline),
            pd.read_csv(given.sample, dtype=dict.fromkeys(given.text, str)),
            given.out,
            name=given.name,
            version=given.version,
            description=given.description,
            examples=given.examples,
            tolerance=given.tolerance,
            overwrite=given.overwrite,
        )
    except (CannotExport, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"wrote {done}\ntry it with: modelgate check {done.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
