"""A gateway for the tests, and data that they share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from modelgate_serving import Served, serve

ROOT = Path(__file__).parents[3]

# The binary that `make test` has built, unless another one is named.
os.environ.setdefault("MODELGATE_BINARY", str(ROOT / "target/debug/modelgate"))


def customers(rows: int = 600, seed: int = 1) -> pd.DataFrame:
    """A frame with numbers, texts and missing values."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": rng.integers(18, 80, rows),
            "income": rng.gamma(4, 700, rows).round(2),
            "plan": rng.choice(["basic", "family", "premium"], rows),
        }
    )
    frame.loc[rng.random(rows) < 0.1, "income"] = np.nan
    return frame


def leaves(frame: pd.DataFrame) -> np.ndarray:
    return np.where((frame["age"] < 30) & (frame["plan"] == "basic"), "leaves", "stays")


def pipeline(trees: int = 20) -> Pipeline:
    """Fitted on `customers`."""
    prepare = ColumnTransformer(
        [
            ("plan", OneHotEncoder(handle_unknown="ignore"), ["plan"]),
            ("money", make_pipeline(SimpleImputer(), StandardScaler()), ["income"]),
        ],
        remainder="passthrough",
    )
    made = Pipeline([("prepare", prepare), ("forest", RandomForestClassifier(trees, max_depth=6, random_state=1))])
    frame = customers()
    return made.fit(frame, leaves(frame))


@pytest.fixture(scope="session")
def fitted() -> Pipeline:
    return pipeline()


@pytest.fixture(scope="session")
def served(fitted: Pipeline) -> Iterator[Served]:
    """A handle that the tests leave as it is."""
    with serve(fitted, customers(), name="churn") as handle:
        yield handle


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gateways(folder: str) -> list[int]:
    """The processes that serve from a handle's folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"serve" in command and any(folder.encode() in part for part in command) and alive(int(entry.name)):
                found.append(int(entry.name))
    return found
