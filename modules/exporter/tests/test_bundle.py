"""The folder: what modules/BUNDLE.md says, written whole or not at all."""

import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from conftest import Bundle
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder

from modelgate_exporter import CannotExport, export, folder
from modelgate_exporter.__main__ import main


@pytest.fixture
def pipeline(frame, target):
    prepare = ColumnTransformer(
        [("hot", OneHotEncoder(handle_unknown="ignore"), ["city"])],
        remainder="passthrough",
    )
    steps = [("prep", prepare), ("model", RandomForestClassifier(5, random_state=2))]
    return Pipeline(steps).fit(frame[["city", "age", "children", "smokes"]], target)


def test_the_manifest(pipeline, frame, tmp_path):
    out = export(
        pipeline,
        frame,
        tmp_path / "out",
        name="churn",
        version="3",
        description='Who leaves, "soon" and ¿quién? \\o/',
        limits={"rows": 500, "memory": "32MiB"},
    )
    bundle = Bundle(out)
    assert sorted(os.listdir(out)) == [
        "bundle.toml",
        "golden.json",
        "model.onnx",
        "predict.json",
        "preprocess.json",
    ]
    assert bundle.manifest == {
        "format": 1,
        "name": "churn",
        "version": "3",
        "description": 'Who leaves, "soon" and ¿quién? \\o/',
        "model": {"file": "model.onnx", "sha256": bundle.digest("model.onnx")},
        "stage": [
            {
                "name": "preprocess",
                "module": "builtin:tabular",
                "config": "preprocess.json",
                "config_sha256": bundle.digest("preprocess.json"),
            },
            {
                "name": "predict",
                "module": "builtin:predict",
                "config": "predict.json",
                "config_sha256": bundle.digest("predict.json"),
            },
        ],
        "golden": {"file": "golden.json", "sha256": bundle.digest("golden.json")},
        "limits": {"rows": 500, "memory": "32MiB"},
    }


def test_the_golden_examples(pipeline, frame, tmp_path):
    golden = Bundle(export(pipeline, frame, tmp_path / "out", examples=9)).golden
    assert golden["tolerance"] == 1e-5 and len(golden["examples"]) == 9
    first = golden["examples"][0]
    assert list(first["input"]) == ["city", "age", "children", "smokes"]
    assert first["input"]["city"] == frame["city"][0]
    assert first["input"]["smokes"] == bool(frame["smokes"][0])
    assert type(first["input"]["children"]) is int
    rows = frame.merge(frame.iloc[:1], how="inner")
    assert first["output"]["prediction"] == pipeline.predict(rows)[0]
    assert first["output"]["probabilities"] == pipeline.predict_proba(rows)[0].tolist()
    labels = [example["output"]["prediction"] for example in golden["examples"]]
    assert {labels.count(label) for label in (0, 1, 2)} == {3}, "each class has its turn"


def test_missing_values_are_null_in_golden_examples(pipeline, frame, tmp_path):
    golden = Bundle(export(pipeline, frame, tmp_path / "out", examples=1000)).golden
    assert len(golden["examples"]) == len(frame)
    assert sum(e["input"]["age"] is None for e in golden["examples"]) == frame["age"].isna().sum()


def test_twice_is_the_same(pipeline, frame, tmp_path):
    bundles = [Bundle(export(pipeline, frame, tmp_path / name, name="m")) for name in "ab"]
    assert bundles[0].digest("bundle.toml") == bundles[1].digest("bundle.toml")


def test_the_name_is_the_folders(pipeline, frame, tmp_path):
    assert Bundle(export(pipeline, frame, tmp_path / "risk")).manifest["name"] == "risk"


def test_replaces_only_a_bundle_and_only_if_told(pipeline, frame, tmp_path):
    out = tmp_path / "out"
    export(pipeline, frame, out)
    with pytest.raises(FileExistsError, match="overwrite=True"):
        export(pipeline, frame, out)
    (out / "old").touch()
    export(pipeline, frame, out, version="2", overwrite=True)
    assert Bundle(out).manifest["version"] == "2" and not (out / "old").exists()
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "chapter").touch()
    with pytest.raises(FileExistsError, match="not a bundle"):
        export(pipeline, frame, other, overwrite=True)
    assert sorted(os.listdir(tmp_path)) == ["out", "thesis"], "nothing is left behind"


def test_a_failed_write_leaves_what_was_there(pipeline, frame, tmp_path, monkeypatch):
    out = export(pipeline, frame, tmp_path / "out")
    before = Bundle(out).digest("bundle.toml")

    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr(folder.os, "rename", full)
    with pytest.raises(OSError, match="no space"):
        export(pipeline, frame, out, version="2", overwrite=True)
    assert Bundle(out).digest("bundle.toml") == before
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize(
    ("kinds", "words"),
    [
        ({"name": "a/b"}, "name 'a/b' must be"),
        ({"name": ""}, "name '' must be"),
        ({"name": "x" * 129}, "1 to 128"),
        ({"version": "1 2"}, "version '1 2' must be"),
        ({"description": "two\nlines"}, "one line"),
        ({"limits": {"row": 5}}, "no such limit: 'row'; there are memory"),
        ({"limits": {"rows": "5"}}, "limit rows must be like 5000"),
        ({"limits": {"memory": 5}}, "limit memory must be like"),
        ({"examples": 0}, "at least 1"),
    ],
    ids=str,
)
def test_arguments_the_gateway_would_refuse(pipeline, frame, tmp_path, kinds, words):
    with pytest.raises(ValueError, match=words):
        export(pipeline, frame, tmp_path / "out", **kinds)


def test_extra_columns_and_another_order_are_fine(pipeline, frame, tmp_path):
    bundle = Bundle(export(pipeline, frame[list(frame.columns)[::-1]], tmp_path / "out"))
    assert list(bundle.inputs()) == ["city", "age", "children", "smokes"]


def test_without_onnxruntime(pipeline, frame, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(CannotExport, match="onnxruntime is not installed"):
        export(pipeline, frame, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_command_line(pipeline, frame, tmp_path, capsys):
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(pipeline))
    frame.to_csv(tmp_path / "sample.csv", index=False)
    given = [str(tmp_path / name) for name in ("model.pkl", "sample.csv", "out")]
    assert main([*given, "--name", "churn", "--version", "4", "--examples", "3"]) == 0
    assert "modelgate check" in capsys.readouterr().out
    assert Bundle(tmp_path / "out").manifest["version"] == "4"
    assert main(given) == 1
    assert "error: " in capsys.readouterr().err


def test_is_a_module_to_run():
    ran = subprocess.run(
        [sys.executable, "-m", "modelgate_exporter", "--help"], capture_output=True, text=True
    )
    assert ran.returncode == 0 and "fitted pipeline" in ran.stdout


def test_json_is_readable_and_strict():
    text = folder.readable({"a": list(range(200)), "b": [{"c": "x" * 99, "d": [1]}, {}]}).decode()
    assert json.loads(text)["a"] == list(range(200))
    assert [line.strip()[:8] for line in text.splitlines()] == [
        *("{", '"a": [0,', '"b": [', "{", '"c": "xx', '"d": [1]', "},", "{}", "]", "}")
    ]
    with pytest.raises(ValueError, match="not JSON compliant"):
        folder.readable([np.inf])
