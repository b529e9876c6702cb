"""Frames and helpers that the tests share."""

import hashlib
import importlib
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tomllib
from sklearn.pipeline import Pipeline
from sklearn.tree import DecisionTreeClassifier

from modelgate_exporter import export, reference
from modelgate_exporter.features import plain
from modelgate_exporter.frame import rows as requests

route_module = importlib.import_module("modelgate_exporter.route")
CASES: list[dict[str, Any]] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--cases", help="write what `prepare` proved to this file, for other tests")


def pytest_sessionfinish(session: pytest.Session) -> None:
    if file := session.config.getoption("--cases"):
        lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in CASES)
        Path(file).write_text(f"[\n{lines}\n]\n")


class Bundle:
    """An exported folder, read as the gateway reads it."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = folder = Path(folder)
        self.manifest = tomllib.loads((folder / "bundle.toml").read_text())
        self.tabular = self.json("preprocess.json")
        self.predict = self.json("predict.json")
        self.golden = self.json("golden.json")

    def json(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text())

    def digest(self, name: str) -> str:
        return hashlib.sha256((self.folder / name).read_bytes()).hexdigest()

    def inputs(self) -> dict[str, dict[str, Any]]:
        return {entry["name"]: entry for entry in self.tabular["inputs"]}

    def ops(self) -> list[tuple[list[str], list[str]]]:
        return [
            (block["columns"], [step["op"] for step in block["steps"]])
            for block in self.tabular["blocks"]
        ]

    def matrix(self, rows: list[dict[str, Any]]) -> np.ndarray:
        return reference.transform(self.tabular, rows)


@pytest.fixture(autouse=True)
def few_generated_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of tests compare on a few generated rows each; test_precision.py takes them all."""
    monkeypatch.setattr(route_module, "GENERATED_ROWS", 300)


@pytest.fixture
def frame() -> pd.DataFrame:
    """Columns of every kind, with missing values in some."""
    rng = np.random.default_rng(7)
    rows = 240
    frame = pd.DataFrame(
        {
            "height": rng.normal(170, 12, rows),
            "weight": rng.normal(70, 9, rows),
            "age": rng.normal(40, 12, rows),
            "children": rng.integers(0, 5, rows),
            "smokes": rng.random(rows) < 0.3,
            "city": rng.choice(
                ["Lima", "Quito", "Bogotá", "La Paz"], rows, p=[0.5, 0.3, 0.15, 0.05]
            ),
            "grade": rng.choice(["low", "mid", "high"], rows),
        }
    )
    frame.loc[rng.random(rows) < 0.1, "age"] = np.nan
    frame["job"] = frame["grade"].where(rng.random(rows) > 0.1)
    return frame


@pytest.fixture
def target(frame: pd.DataFrame) -> pd.Series:
    return (frame["height"] + 3 * frame["children"] > 176).astype(int) + (frame["weight"] > 75)


@pytest.fixture
def prepare(request: Any, frame: pd.DataFrame, target: pd.Series, tmp_path: Path) -> Any:
    """Exports a transformer in front of a tree, and proves it on the rows and on others."""

    name = re.sub(" at 0x[0-9a-f]+", "", request.node.name)  # of functions, so that names stay

    def run(transformer: Any, columns: list[str], others: pd.DataFrame | None = None) -> Bundle:
        data = frame[columns]
        pipeline = Pipeline([("prep", transformer), ("tree", DecisionTreeClassifier(max_depth=4))])
        pipeline.fit(data, target)
        bundle = Bundle(export(pipeline, data, tmp_path / "bundle"))
        case: dict[str, Any] = {"name": name, "config": bundle.tabular, "rows": [], "matrix": []}
        CASES.append(case)
        for rows in [data] + ([] if others is None else [others]):
            theirs = pipeline[:-1].transform(rows)
            theirs = theirs.toarray() if hasattr(theirs, "toarray") else np.asarray(theirs)
            kinds = {entry["name"]: entry["datatype"] for entry in bundle.tabular["inputs"]}
            cells = requests(rows, kinds)
            theirs = theirs.astype(np.float64)
            np.testing.assert_allclose(bundle.matrix(cells), theirs, rtol=2e-7, atol=1e-7)
            some = [place for place, row in enumerate(cells) if place < 4 or None in row.values()]
            case["rows"] += [cells[place] for place in some[:7]]
            case["matrix"] += plain(theirs[some[:7]].tolist())
        return bundle

    return run
