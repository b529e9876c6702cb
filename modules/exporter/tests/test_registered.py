"""The conversion of a model as MLflow saved it: no registry, and the folder written by hand."""

import json
import pickle
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import Bundle
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from modelgate_exporter import CannotExport, export
from modelgate_exporter.__main__ import main
from modelgate_exporter.boosters import is_native
from modelgate_exporter.convert import bundle
from modelgate_exporter.converted import key, verified
from modelgate_exporter.environments import CannotInstall, Environments, Wanted
from modelgate_exporter.pickles import Placeholder, complete, read
from modelgate_exporter.sample import sample
from modelgate_exporter.saved import Saved
from modelgate_exporter.tracking import parse

SIGNATURE = [
    {"type": "long", "name": "children", "required": True},
    {"type": "double", "name": "height", "required": True},
    {"type": "string", "name": "city", "required": True},
]


@pytest.fixture
def people(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[["children", "height", "city"]]


@pytest.fixture
def search(people: pd.DataFrame, target: pd.Series) -> GridSearchCV:
    columns = ColumnTransformer(
        [
            ("city", OneHotEncoder(handle_unknown="ignore"), ["city"]),
            ("numbers", StandardScaler(), ["children", "height"]),
        ]
    )
    pipeline = Pipeline([("columns", columns), ("forest", RandomForestClassifier(random_state=1))])
    grid = {"forest__n_estimators": [3, 5]}
    return GridSearchCV(pipeline, grid, cv=2, scoring="accuracy").fit(people, target)


def save(folder: Path, fitted: Any, example: Any = None, **about: Any) -> Path:
    """A folder as `mlflow.sklearn.save_model` makes it."""
    folder.mkdir()
    (folder / "model.pkl").write_bytes(pickle.dumps(fitted))
    here = ".".join(map(str, sys.version_info[:3]))
    mlmodel = {
        "flavors": {
            "python_function": {"loader_module": "mlflow.sklearn", "python_version": here},
            "sklearn": {"pickled_model": "model.pkl", "serialization_format": "cloudpickle"},
        },
        "signature": {"inputs": json.dumps(SIGNATURE)},
        **about,
    }
    if example is not None:
        (folder / "input_example.json").write_text(json.dumps(example))
        mlmodel["saved_input_example_info"] = {"artifact_path": "input_example.json"}
    (folder / "MLmodel").write_text(yaml.safe_dump(mlmodel))
    return folder


def split(frame: pd.DataFrame) -> dict[str, Any]:
    return {"columns": list(frame.columns), "data": frame.values.tolist()}


def test_a_search_is_exported_as_what_answers_for_it(
    search: GridSearchCV, people: pd.DataFrame, target: pd.Series, tmp_path: Path
) -> None:
    made = Bundle(export(search, people, tmp_path / "grid", examples=200))
    said = [example["output"]["prediction"] for example in made.golden["examples"]]
    rows = pd.DataFrame([example["input"] for example in made.golden["examples"]])
    assert said == list(search.predict(rows))
    # A search inside a pipeline, and one for a pipeline inside a pipeline.
    random = RandomizedSearchCV(
        make_pipeline(StandardScaler(), RandomForestClassifier(3, random_state=0)),
        {"randomforestclassifier__max_depth": [2, 3]},
        n_iter=2,
        cv=2,
        random_state=0,
    )
    nested = make_pipeline(StandardScaler(), random).fit(people[["height"]], target)
    export(nested, people[["height"]], tmp_path / "nested")


def test_a_search_that_kept_no_estimator_is_refused(
    people: pd.DataFrame, target: pd.Series, tmp_path: Path
) -> None:
    grid = GridSearchCV(RandomForestClassifier(2), {"max_depth": [2]}, cv=2, refit=False)
    grid.fit(people[["height"]], target)
    with pytest.raises((CannotExport, Exception), match=r"refit|not fitted"):
        export(grid, people[["height"]], tmp_path / "out")


@pytest.mark.parametrize(
    "shape",
    [
        split,
        lambda frame: {"dataframe_split": split(frame)},
        lambda frame: frame.to_dict(orient="records"),
        lambda frame: {"dataframe_records": frame.to_dict(orient="records")},
        lambda frame: {"inputs": frame.to_dict(orient="list")},
    ],
)
def test_the_logged_example_becomes_golden(
    shape: Any, search: GridSearchCV, people: pd.DataFrame, tmp_path: Path
) -> None:
    saved = save(tmp_path / "saved", search, shape(people.head(5)))
    told = bundle(saved, tmp_path / "out", "people", "7", None)
    made = Bundle(tmp_path / "out")
    assert [made.manifest["name"], made.manifest["version"]] == ["people", "7"]
    golden = [example["input"] for example in made.golden["examples"]]
    assert golden[:5] == people.head(5).to_dict(orient="records")
    assert {entry["name"]: entry["datatype"] for entry in made.tabular["inputs"]} == {
        "children": "i64",
        "height": "f64",
        "city": "bytes",
    }
    assert "5 rows" in told["rows"] and "505 rows of the sample" in told["compared"]
    verified(tmp_path / "out", "people", "7")


def test_without_an_example_rows_are_made_up_and_that_is_said(
    search: GridSearchCV, people: pd.DataFrame, tmp_path: Path
) -> None:
    told = bundle(save(tmp_path / "saved", search), tmp_path / "out", "people", "1", None)
    assert "no input example" in told["rows"]
    frame, first, _ = sample(Saved.open(tmp_path / "saved"), search.best_estimator_)
    assert first == 1
    # Every category, and numbers about where the pipeline saw them.
    assert set(frame["city"]) == set(people["city"])
    low, high = frame["height"].min(), frame["height"].max()
    assert 100 < low < people["height"].mean() < high < 240
    # Neither a signature nor names: a matrix.
    matrix = LinearRegression().fit(np.eye(3), [1.0, 2.0, 3.0])
    frame, _, _ = sample(None, matrix)
    assert frame.shape[1] == 3


def test_parts_that_do_not_predict_need_not_be_readable(
    search: GridSearchCV, people: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow's autologging leaves functions of its own in a search's scorer."""
    module = types.ModuleType("not_there")
    exec("def scored(*values): return 1.0", module.__dict__)
    monkeypatch.setitem(sys.modules, "not_there", module)
    search.scorer_ = make_scorer(module.scored)
    saved = save(tmp_path / "saved", search, split(people.head(3)))
    monkeypatch.delitem(sys.modules, "not_there")
    bundle(saved, tmp_path / "out", "people", "1", None)
    # But where it is in what predicts, it is told.
    search.best_estimator_.steps[0][1].extra = make_scorer(accuracy_score)
    monkeypatch.setitem(sys.modules, "not_there", module)
    search.best_estimator_.steps[0][1].extra = module.scored
    saved = save(tmp_path / "worse", search)
    monkeypatch.delitem(sys.modules, "not_there")
    fitted = read(saved / "model.pkl")
    assert isinstance(fitted.best_estimator_.steps[0][1].extra, Placeholder | type)
    with pytest.raises(CannotExport, match=r"not_there\.scored"):
        complete(fitted.best_estimator_)


def test_a_model_of_another_library_is_refused_with_what_to_do(tmp_path: Path) -> None:
    folder = save(tmp_path / "saved", None, flavors={"pytorch": {}, "python_function": {}})
    with pytest.raises(CannotExport, match=r"python_function, pytorch.*log_bundle"):
        Saved.open(folder).load()
    outside = save(tmp_path / "outside", None, flavors={"sklearn": {"pickled_model": "../x"}})
    with pytest.raises(CannotExport, match="not among its files"):
        Saved.open(outside).load()


def test_a_boosters_own_file_is_converted(people: pd.DataFrame, tmp_path: Path) -> None:
    xgboost = pytest.importorskip("xgboost")
    rows = people[["children", "height"]]
    classes = rows["children"].to_numpy() % 2
    model = xgboost.XGBClassifier(n_estimators=3).fit(rows, classes)
    flavor = {"data": "model.json", "model_class": "xgboost.sklearn.XGBClassifier"}
    signature = {"inputs": json.dumps(SIGNATURE[:2])}
    folder = save(
        tmp_path / "saved", None, split(rows.head(9)), flavors={"xgboost": flavor}, signature=signature
    )
    model.save_model(folder / "model.json")
    bundle(folder, tmp_path / "out", "people", "1", None)
    golden = json.loads((tmp_path / "out" / "golden.json").read_text())["examples"]
    asked = pd.DataFrame([example["input"] for example in golden])[["children", "height"]]
    assert [example["output"]["prediction"] for example in golden] == list(model.predict(asked))
    # A Booster has no predict for a frame: what serves it is its own file.
    flavor["model_class"] = "xgboost.core.Booster"
    raw = save(tmp_path / "raw", None, flavors={"xgboost": flavor})
    model.save_model(raw / "model.json")
    with pytest.raises(CannotExport, match='model_format="ubj"'):
        Saved.open(raw).load()


def test_what_the_gateway_reads_itself_is_left_to_it() -> None:
    xgboost = {"data": "model.ubj", "model_class": "xgboost.sklearn.XGBClassifier"}
    lightgbm = {"data": "model.lgb", "model_class": "lightgbm.basic.Booster"}
    catboost = {"data": "model.cb", "model_type": "CatBoostClassifier", "save_format": "cbm"}
    function = {"loader_module": "mlflow.xgboost"}
    for flavors in (
        {"xgboost": xgboost, "python_function": function},
        {"xgboost": {**xgboost, "data": "model.xgb", "xgb_version": "3.2.0"}},
        {"xgboost": {"data": "model.json"}},
        {"lightgbm": lightgbm},
        {"catboost": catboost},
    ):
        assert is_native(flavors), flavors
    for flavors in (
        {"sklearn": {}},
        {"sklearn": {}, "xgboost": xgboost},
        {"xgboost": {**xgboost, "data": "model.xgb", "xgb_version": "1.7.6"}},
        {"xgboost": {**xgboost, "model_class": "mine.Classifier"}},
        {"xgboost": xgboost, "python_function": {"loader_module": "mine"}},
        {"lightgbm": {"data": "model.pkl", "model_class": "lightgbm.sklearn.LGBMClassifier"}},
        {"catboost": {**catboost, "save_format": "coreml"}},
    ):
        assert not is_native(flavors), flavors


def test_keys_are_those_of_the_gateway() -> None:
    vectors = Path(__file__).parents[3] / "gateway/tests/data/converted_keys.json"
    for name, expected in json.loads(vectors.read_text()):
        assert key(name) == expected


def test_addresses_are_understood_as_mlflow_does() -> None:
    for text, found in (
        ("models:/a@champion", ("a", None, "champion")),
        ("models:/a/3", ("a", "3", None)),
        ("models:/user@corp/Production", ("user@corp", "Production", None)),
        ("models:/a%20b@c", ("a b", None, "c")),
    ):
        assert parse(text) == found
    for bad in ("models:/a", "models:/a@", "models:/a/"):
        with pytest.raises(ValueError, match="expected models:/"):
            parse(bad)


def test_only_a_whole_and_plain_bundle_is_taken(
    search: GridSearchCV, people: pd.DataFrame, tmp_path: Path
) -> None:
    export(search, people, tmp_path / "good", name="m", version="1")

    def altered(change: Any) -> Path:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        for path in (tmp_path / "good").iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
        change(folder)
        return folder

    def manifest(old: str, new: str) -> Any:
        return lambda at: (at / "bundle.toml").write_text(
            (at / "bundle.toml").read_text().replace(old, new, 1)
        )

    def linked(at: Path) -> None:
        (at / "golden.json").rename(tmp_path / "elsewhere.json")
        (at / "golden.json").symlink_to(tmp_path / "elsewhere.json")

    verified(tmp_path / "good", "m", "1")
    for change, why in (
        (linked, "plain files"),
        (lambda at: (at / "more").write_text("x"), "does not name"),
        (lambda at: (at / "golden.json").write_text("{}"), "wrong digest"),
        (lambda at: (at / "bundle.toml").unlink(), "no bundle.toml"),
        (manifest('"m"', '"n"'), "says it is n 1"),
        (manifest('version = "1"', 'version = "2"'), "says it is m 2"),
        (manifest("builtin:tabular", "own.wasm"), "modules of its own"),
        (manifest('"model.onnx"', '"../good/model.onnx"'), "not inside"),
    ):
        with pytest.raises(ValueError, match=why):
            verified(altered(change), "m", "1")


def test_requirements_come_from_the_index_alone(search: GridSearchCV, tmp_path: Path) -> None:
    folder = save(tmp_path / "saved", search)

    def wanted(text: str) -> Wanted:
        (folder / "requirements.txt").write_text(text)
        return Wanted.by(Saved.open(folder))

    lines = "mlflow==3.1\nscikit-learn==1.5.2  # as trained\n\nnumpy<3 ; python_version>'3'\n"
    assert wanted(lines).requirements == ('numpy<3; python_version > "3"', "scikit-learn==1.5.2")
    assert wanted("").is_here()
    assert not wanted("scikit-learn==0.1").is_here()
    for bad in (
        "--extra-index-url http://x",
        "-e .",
        "x @ https://h/x.whl",
        "x @ git+https://h/x",
        "./x.whl",
    ):
        with pytest.raises(CannotInstall):
            wanted(bad)
    (folder / "requirements.txt").unlink()
    conda = {"dependencies": ["python=3.11", {"pip": ["mlflow", "scipy==1.2"]}]}
    (folder / "conda.yaml").write_text(yaml.safe_dump(conda))
    assert Wanted.by(Saved.open(folder)).requirements == ("scipy==1.2",)


def test_environments_are_bounded_the_oldest_first(tmp_path: Path) -> None:
    kept = Environments(tmp_path, most=2, most_bytes=100)
    for number, size in enumerate((10, 10, 10, 95)):
        at = tmp_path / f"e{number}"
        at.mkdir()
        (at / "ready.json").write_text(json.dumps({"bytes": size}))
        import os

        os.utime(at / "ready.json", (number, number))
        kept._bound(at)
    assert sorted(path.name for path in tmp_path.glob("e*")) == ["e3"]


def test_the_command_line_makes_a_bundle_of_a_saved_model_and_of_a_pickle(
    search: GridSearchCV, people: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = save(tmp_path / "saved", search, split(people.head(5)))
    assert main([str(saved), str(tmp_path / "out"), "--name", "people"]) == 0
    assert Bundle(tmp_path / "out").manifest["name"] == "people"
    assert main([str(saved / "model.pkl"), str(tmp_path / "pickle")]) == 0
    capsys.readouterr()
    assert main([str(tmp_path / "nothing"), str(tmp_path / "x")]) == 1
    assert main([str(saved), str(tmp_path / "out")]) == 1
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 2 and all(line.startswith("error: ") for line in told)
