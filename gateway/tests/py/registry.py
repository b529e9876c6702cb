"""What a data scientist does: trains a pipeline, exports it, logs it in MLflow's registry, moves an alias.

Takes one command a line from standard input, and answers each with a line `= VERSION`: `train NAME WORD ...` trains and
logs a pipeline whose classes end in the word given; `alias NAME ALIAS VERSION` moves an alias with MLflow's own client,
`stage NAME STAGE VERSION` gives a version a stage and takes it from the others;
`bare NAME ALIAS` logs an ONNX graph without a bundle. The tracking server comes from MLFLOW_TRACKING_URI.
"""

import argparse
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
    with mlflow.start_run():
        here = {"name": "model"} if mlflow.__version__ >= "3" else {"artifact_path": "model"}
        logged = mlflow.onnx.log_model(graph, registered_model_name=options.name, **here)
    version = str(logged.registered_model_version)
    mlflow.MlflowClient().set_registered_model_alias(options.name, options.alias, version)
    return version


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
    command = commands.add_parser("bare")
    command.add_argument("name")
    command.add_argument("alias")
    command.set_defaults(run=bare)
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
