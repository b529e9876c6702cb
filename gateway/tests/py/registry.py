"""The work of a data scientist: trains a pipeline, exports it, logs it in MLflow's registry, moves an alias.

Takes one command a line from standard input, and answers each with a line `= VERSION`: `train NAME WORD ...` trains and
logs a pipeline whose classes end in the word given; `alias NAME ALIAS VERSION` moves an alias with MLflow's own client,
`stage NAME STAGE VERSION` gives a version a stage and takes it from the others;
`weights NAME` logs a bundle whose graph has weights that MLflow would put into a file of their own;
`bare NAME ALIAS` logs an ONNX graph without a bundle, `heavy NAME ALIAS` one with such weights.
`search NAME` runs an autologged search over parameters and registers what it finds, without a bundle; `plain NAME` logs a
pipeline by its sklearn flavour alone, with `--format skops` or with `--own` a function that no gateway can run. Both take
`--stage` and `--alias`, and answer `VERSION FILE`, where the file has rows with the pipeline's own answers. `whole NAME` logs a
pipeline with its bundle in one call. `booster NAME KIND` logs what XGBoost, LightGBM or
CatBoost trained by that library's own flavour, and leaves rows with the answers of `pyfunc`. `consume NAME STAGE FILE` has MLflow's own clients load the version and compare. The tracking server comes from MLFLOW_TRACKING_URI.
"""

import argparse
import hashlib
import json
import shlex
import sys
import tempfile
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd


def pipeline(word):
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder

    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"age": rng.integers(18, 80, 500), "plan": rng.choice(["basic", "premium"], 500)})
    label = np.where((frame["age"] < 40) & (frame["plan"] == "basic"), f"leaves-{word}", f"stays-{word}")
    prepare = ColumnTransformer([("plan", OneHotEncoder(), ["plan"])], remainder="passthrough")
    model = RandomForestClassifier(10, max_depth=5, random_state=1)
    return Pipeline([("prepare", prepare), ("forest", model)]).fit(frame, label), frame


def train(options):
    from modelgate_exporter import export, log_bundle

    fitted, frame = pipeline(options.word)
    if mlflow.get_experiment_by_name(options.experiment) is None:
        mlflow.create_experiment(options.experiment, artifact_location=options.artifacts)
    mlflow.set_experiment(options.experiment)
    with tempfile.TemporaryDirectory() as folder, mlflow.start_run():
        bundle = export(fitted, frame, Path(folder) / "bundle", name=options.name)
        version = log_bundle(bundle, options.name, alias=options.alias, tags={"word": options.word})
    # Plain MLflow loads the same version: the graph alone, on the matrix that the preprocessing gives.
    loaded = mlflow.onnx.load_model(f"models:/{options.name}/{version}")
    assert loaded.graph.input[0].name == "X", loaded.graph.input
    answers_as_a_function(f"models:/{options.name}/{version}")
    return version


def answers_as_a_function(version):
    """MLflow's own `pyfunc` gives what the bundle's golden examples say, on the matrix that the preprocessing gives."""
    from modelgate_exporter import reference

    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(mlflow.artifacts.download_artifacts(version, dst_path=folder)) / "bundle"
        golden, tabular = (json.loads((bundle / name).read_text()) for name in ("golden.json", "preprocess.json"))
    examples = golden["examples"]
    matrix = reference.transform(tabular, [example["input"] for example in examples])
    answers = mlflow.pyfunc.load_model(version).predict(matrix.astype(np.float32))
    assert list(answers["label"]) == [example["output"]["prediction"] for example in examples], answers
    probabilities = [example["output"]["probabilities"] for example in examples]
    np.testing.assert_allclose(answers["probabilities"], probabilities, atol=1e-5)


def product():
    """A graph whose weights are raw bytes, as PyTorch writes them."""
    from onnx import TensorProto, helper, numpy_helper

    weights = np.arange(1200, dtype=np.float32).reshape(400, 3) / 1000
    sides = {"x": 400, "y": 3}.items()
    sides = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", size]) for name, size in sides]
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    graph = helper.make_graph([node], "product", sides[:1], sides[1:], [numpy_helper.from_array(weights, "w")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), weights


def weights(options):
    from modelgate_exporter import log_bundle

    graph, table = product()
    with tempfile.TemporaryDirectory() as folder, mlflow.start_run():
        bundle = Path(folder) / "bundle"
        bundle.mkdir()
        (bundle / "model.onnx").write_bytes(graph.SerializeToString())
        digest = hashlib.sha256((bundle / "model.onnx").read_bytes()).hexdigest()
        (bundle / "bundle.toml").write_text(
            f'format = 1\nname = "{options.name}"\nversion = "1"\n[model]\nfile = "model.onnx"\nsha256 = "{digest}"\n'
            '[[stage]]\nname = "predict"\nmodule = "builtin:predict"\n'
        )
        version = log_bundle(bundle, options.name)
        uri = f"models:/{options.name}/{version}"
        logged = Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(Path(folder) / "logged")))
        files = {str(file.relative_to(logged)) for file in logged.rglob("*") if file.is_file()}
    # The weights are there once, and MLflow finds them.
    about = {"MLmodel", "bundle/MLmodel", "conda.yaml", "python_env.yaml", "requirements.txt", "registered_model_meta"}
    assert files - about == {"bundle/bundle.toml", "bundle/model.onnx"}, files
    answer = mlflow.pyfunc.load_model(uri).predict(np.ones((1, 400), np.float32))
    np.testing.assert_allclose(answer["y"], table.sum(axis=0, keepdims=True), rtol=1e-5)
    return version


def bare(options):
    import onnx
    from skl2onnx import to_onnx
    from sklearn.ensemble import RandomForestClassifier

    rng = np.random.default_rng(1)
    rows = rng.random((200, 3)).astype(np.float32)
    model = RandomForestClassifier(5, max_depth=3, random_state=1).fit(rows, (rows[:, 0] > 0.5).astype(int))
    graph = to_onnx(model, rows[:1], options={"zipmap": False})
    assert isinstance(graph, onnx.ModelProto)
    return logged(graph, options)


def heavy(options):
    return logged(product()[0], options)


def logged(graph, options):
    with mlflow.start_run():
        here = {"name": "model"} if mlflow.__version__ >= "3" else {"artifact_path": "model"}
        model = mlflow.onnx.log_model(graph, registered_model_name=options.name, **here)
    version = str(model.registered_model_version)
    mlflow.MlflowClient().set_registered_model_alias(options.name, options.alias, version)
    return version


def plots(seed, count=1500):
    """Rows with whole numbers and two columns of text, and a class for each."""
    rng = np.random.default_rng(seed)
    numbers = ["Elevation", "Slope", "Horizontal_Distance_To_Roadways", "Hillshade_9am", "Aspect"]
    frame = pd.DataFrame({name: rng.integers(0, 3500 if place < 3 else 255, count) for place, name in enumerate(numbers)})
    frame["Wilderness_Area"] = rng.choice(["Rawah", "Neota", "Commanche", "Cache"], count)
    frame["Soil_Type"] = rng.choice([f"C{number}" for number in range(7700, 7740)], count)
    cover = 1 + (frame["Elevation"] // 500 + (frame["Wilderness_Area"] == "Rawah") * 2 + (rng.random(count) < 0.1)).clip(0, 6)
    return frame, cover.rename("Cover_Type")


def workshop(own=False):
    """The pipeline of a training step, not fitted yet."""
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, OneHotEncoder, StandardScaler

    scaled = FunctionTransformer(lambda frame: frame.rank()) if own else StandardScaler()
    columns = ColumnTransformer(
        [
            ("cat", OneHotEncoder(handle_unknown="ignore"), ["Wilderness_Area", "Soil_Type"]),
            ("minmax", MinMaxScaler(), ["Hillshade_9am", "Aspect"]),
            ("standard", scaled, ["Elevation", "Slope", "Horizontal_Distance_To_Roadways"]),
        ]
    )
    return Pipeline([("preprocessor", columns), ("classifier", RandomForestClassifier(random_state=42))])


def search(options):
    from sklearn.model_selection import GridSearchCV

    frame, cover = plots(options.seed)
    grid = {"classifier__n_estimators": [5, 10], "classifier__max_depth": [4, 8]}
    found = GridSearchCV(workshop(), grid, cv=2, scoring="accuracy")
    place(options)
    mlflow.sklearn.autolog(
        log_model_signatures=True, log_input_examples=True, registered_model_name=options.name, max_tuning_runs=0
    )
    try:
        with mlflow.start_run() as run:
            found.fit(frame, cover)
    finally:
        mlflow.sklearn.autolog(disable=True)
    versions = mlflow.MlflowClient().search_model_versions(f"name='{options.name}'")
    version = next(found.version for found in versions if found.run_id == run.info.run_id)
    return named(version, options, found)


def plain(options):
    from mlflow.models import infer_signature

    frame, cover = plots(options.seed)
    pipeline = workshop(options.own)
    pipeline.set_params(classifier__n_estimators=5, classifier__max_depth=5).fit(frame, cover)
    place(options)
    here = {"name": "model"} if mlflow.__version__ >= "3" else {"artifact_path": "model"}
    with mlflow.start_run():
        model = mlflow.sklearn.log_model(
            pipeline,
            registered_model_name=options.name,
            serialization_format=options.format,
            signature=infer_signature(frame, pipeline.predict(frame)),
            **({"skops_trusted_types": ["sklearn.tree._tree.Tree"]} if options.format == "skops" else {}),
            **here,
        )
    return named(str(model.registered_model_version), options, pipeline)


def measured(seed, count=300):
    """Rows as boosters are trained with them: a name with spaces, whole numbers, yes and no, gaps, words."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "petal length (cm)": rng.normal(size=count),
            "rooms": rng.integers(0, 9, count),
            "heated": rng.random(count) < 0.5,
            "age": np.where(rng.random(count) < 0.2, np.nan, rng.normal(size=count)),
        }
    )
    color = pd.Series(rng.choice(["red", "green", "blue"], count), name="color")
    return frame, color


def trained(kind, seed):
    """The flavour, the model and the function that makes its frame of a seed."""
    import catboost
    import lightgbm
    import xgboost

    frame, color = measured(seed)
    hot = ((frame.iloc[:, 0] + frame["heated"]) > 0.3).astype(int)
    three = (frame["rooms"] % 3).to_numpy()
    number = frame.iloc[:, 0] * 2 + frame["rooms"]

    def plain(seed):
        return measured(seed)[0]

    def worded(seed):
        frame, color = measured(seed)
        return frame.assign(color=color)

    few = {"n_estimators": 8, "max_depth": 3}
    quiet = {"verbose": -1, "num_iterations": 8}
    cat = {"iterations": 8, "verbose": 0, "allow_writing_files": False}
    matrix = xgboost.DMatrix(frame, hot)
    words = np.array(["low", "mid", "high"])[three]
    models = {
        "xgb-classes": lambda: xgboost.XGBClassifier(**few).fit(frame, three),
        # Without names: those of the signature count.
        "xgb-array": lambda: xgboost.XGBClassifier(**few).fit(frame.to_numpy(float), hot),
        "xgb-regressor": lambda: xgboost.XGBRegressor(**few).fit(frame, number),
        "xgb-booster": lambda: xgboost.train({"objective": "binary:logistic"}, matrix, 8),
        "xgb-linear": lambda: xgboost.XGBClassifier(booster="gblinear").fit(frame.fillna(0), hot),
        "lgb-booster": lambda: lightgbm.train({"objective": "binary", **quiet}, lightgbm.Dataset(frame, hot)),
        "lgb-many": lambda: lightgbm.train(
            {"objective": "multiclass", "num_class": 3, **quiet}, lightgbm.Dataset(frame, three)
        ),
        "lgb-object": lambda: lightgbm.LGBMClassifier(n_estimators=8, verbose=-1).fit(frame, hot),
        "cat-words": lambda: catboost.CatBoostClassifier(**cat).fit(frame, words),
        "cat-flags": lambda: catboost.CatBoostClassifier(**cat).fit(frame, hot.astype(bool)),
        "cat-categories": lambda: catboost.CatBoostClassifier(
            **cat, cat_features=["color", "rooms", "heated"]
        ).fit(frame.assign(color=color), three),
        "cat-counts": lambda: catboost.CatBoostRegressor(**cat, loss_function="Poisson").fit(frame, frame["rooms"]),
        "cat-raw": lambda: catboost.CatBoost({**cat, "loss_function": "Logloss"}).fit(frame, hot),
    }
    flavor = {"xgb": "xgboost", "lgb": "lightgbm", "cat": "catboost"}[kind.split("-")[0]]
    return flavor, models[kind](), worded if kind == "cat-categories" else plain


def booster(options):
    import importlib

    from mlflow.models import infer_signature

    flavor, model, rows = trained(options.kind, options.seed)
    frame = rows(options.seed)
    here = {"name": "model"} if mlflow.__version__ >= "3" else {"artifact_path": "model"}
    place(options)
    with mlflow.start_run():
        logged = importlib.import_module(f"mlflow.{flavor}").log_model(
            model, registered_model_name=options.name, signature=infer_signature(frame), **here
        )
    version = str(logged.registered_model_version)
    if options.alias:
        mlflow.MlflowClient().set_registered_model_alias(options.name, options.alias, version)
    fresh = rows(options.seed + 1000)
    if options.kind == "xgb-linear":
        fresh = fresh.fillna(0)
    said = mlflow.pyfunc.load_model(f"models:/{options.name}/{version}").predict(fresh)
    # Several classes come as a matrix of one column from CatBoost.
    said = said[:, 0] if said.ndim == 2 and said.shape[1] == 1 else said
    with tempfile.NamedTemporaryFile("w", suffix=".json", delete=False) as file:
        json.dump({"rows": json.loads(fresh.to_json(orient="records", double_precision=15)), "said": said.tolist()}, file)
    return f"{version} {file.name}"


def place(options):
    if mlflow.get_experiment_by_name(options.experiment) is None:
        mlflow.create_experiment(options.experiment, artifact_location=options.artifacts)
    mlflow.set_experiment(options.experiment)


def named(version, options, fitted):
    """Gives the version its names last, and leaves fresh rows with the pipeline's own answers."""
    client = mlflow.MlflowClient()
    if options.alias:
        client.set_registered_model_alias(options.name, options.alias, version)
    if options.stage:
        client.transition_model_version_stage(options.name, version, options.stage, archive_existing_versions=True)
    frame, _ = plots(options.seed + 1000, 3000)
    said = [int(label) for label in fitted.predict(frame)]
    with tempfile.NamedTemporaryFile("w", suffix=".json", delete=False) as file:
        json.dump({"rows": json.loads(frame.to_json(orient="records")), "said": said}, file)
    return f"{version} {file.name}"


def whole(options):
    from modelgate_exporter import log_model

    frame, cover = plots(1)
    pipeline = workshop().set_params(classifier__n_estimators=5).fit(frame, cover)
    version = log_model(pipeline, frame, options.name, alias="champion")
    uri = f"models:/{options.name}/{version}"
    for loaded in (mlflow.sklearn.load_model(uri), mlflow.pyfunc.load_model(uri)):
        assert list(loaded.predict(frame)) == list(pipeline.predict(frame))
    return version


def consume(options):
    known = json.loads(Path(options.file).read_text())
    frame, uri = pd.DataFrame(known["rows"]), f"models:/{options.name}/{options.stage}"
    for loaded in (mlflow.sklearn.load_model(uri), mlflow.pyfunc.load_model(uri)):
        assert [int(label) for label in loaded.predict(frame)] == known["said"]
    return "unharmed"


def alias(options):
    mlflow.MlflowClient().set_registered_model_alias(options.name, options.alias, options.version)
    return options.version


def stage(options):
    client = mlflow.MlflowClient()
    client.transition_model_version_stage(options.name, options.version, options.stage, archive_existing_versions=True)
    return options.version


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("train")
    command.add_argument("name")
    command.add_argument("word")
    command.add_argument("--alias")
    command.add_argument("--experiment", default="proxied")
    command.add_argument("--artifacts")
    command.set_defaults(run=train)
    command = commands.add_parser("weights")
    command.add_argument("name")
    command.set_defaults(run=weights)
    for name, run in (("bare", bare), ("heavy", heavy)):
        command = commands.add_parser(name)
        command.add_argument("name")
        command.add_argument("alias")
        command.set_defaults(run=run)
    for name, run in (("search", search), ("plain", plain)):
        command = commands.add_parser(name)
        command.add_argument("name")
        command.add_argument("--seed", type=int, default=0)
        command.add_argument("--stage")
        command.add_argument("--alias")
        command.add_argument("--format", default="cloudpickle")
        command.add_argument("--own", action="store_true")
        command.add_argument("--experiment", default="proxied")
        command.add_argument("--artifacts")
        command.set_defaults(run=run)
    command = commands.add_parser("booster")
    command.add_argument("name")
    command.add_argument("kind")
    command.add_argument("--alias")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--experiment", default="proxied")
    command.add_argument("--artifacts")
    command.set_defaults(run=booster)
    command = commands.add_parser("whole")
    command.add_argument("name")
    command.set_defaults(run=whole)
    command = commands.add_parser("consume")
    for argument in ("name", "stage", "file"):
        command.add_argument(argument)
    command.set_defaults(run=consume)
    command = commands.add_parser("alias")
    for argument in ("name", "alias", "version"):
        command.add_argument(argument)
    command.set_defaults(run=alias)
    command = commands.add_parser("stage")
    for argument in ("name", "stage", "version"):
        command.add_argument(argument)
    command.set_defaults(run=stage)
    for line in sys.stdin:
        options = parser.parse_args(shlex.split(line))
        print("=", options.run(options), flush=True)


if __name__ == "__main__":
    main()
