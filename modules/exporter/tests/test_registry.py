"""Bundles that `log_bundle` refuses, before MLflow is asked for anything: it is not even there."""

import sys
from pathlib import Path
from typing import Any

import pytest
from sklearn.preprocessing import StandardScaler

from modelgate_exporter import log_bundle


@pytest.fixture
def bundle(prepare: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    return prepare(StandardScaler(), ["height", "weight"]).folder


@pytest.mark.parametrize("file", ["model.onnx", "preprocess.json", "golden.json"])
def test_a_file_that_is_not_what_the_manifest_says(bundle: Path, file: str) -> None:
    (bundle / file).write_bytes((bundle / file).read_bytes() + b" ")
    with pytest.raises(ValueError, match=f"{file}: wrong digest"):
        log_bundle(bundle)
    (bundle / file).unlink()
    with pytest.raises(ValueError, match=f"{file}: .* no such file"):
        log_bundle(bundle)


def test_a_file_outside_of_the_bundle(bundle: Path) -> None:
    (bundle / "golden.json").rename(bundle.parent / "golden.json")
    (bundle / "golden.json").symlink_to(bundle.parent / "golden.json")
    with pytest.raises(ValueError, match=r"golden\.json: is not inside"):
        log_bundle(bundle)


@pytest.mark.parametrize(
    "alias", ["a b", "", "a/b", "a\n", "a" * 256, "latest", "Latest", "v1", "V23"]
)
def test_an_alias_that_mlflow_would_refuse(bundle: Path, alias: str) -> None:
    with pytest.raises(ValueError, match="alias"):
        log_bundle(bundle, alias=alias)


@pytest.mark.parametrize("alias", ["champion", "Champ-ion_1", "ü", "v1a"])
def test_what_is_good_gets_to_mlflow(bundle: Path, alias: str) -> None:
    with pytest.raises(ModuleNotFoundError, match="mlflow"):
        log_bundle(bundle, alias=alias)
