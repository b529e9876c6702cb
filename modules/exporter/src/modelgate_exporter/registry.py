"""`log_bundle`: a bundle as a version of a registered MLflow model, which plain MLflow can load as well."""

import hashlib
import inspect
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FLAVOR = "modelgate"
"""In `MLmodel`: says where the bundle is. The graph is there too, for the `onnx` flavour."""

FOLDER = "bundle"
"""Where the bundle is in the version's files; the gateway looks here."""


def log_bundle(
    bundle: str | os.PathLike[str],
    registered_model_name: str | None = None,
    *,
    model: Any = None,
    alias: str | None = None,
    tags: Mapping[str, str] | None = None,
    name: str = "model",
    **options: Any,
) -> str:
    """Logs the bundle in the active MLflow run, registers it, and returns the new version.

    `bundle` is a folder that `export` wrote. `registered_model_name` is the bundle's own name if
    left out. `alias` is set on the new version last, so a gateway that follows it finds everything.
    A bundle whose files are not those that its manifest names is a `ValueError`, and so is an alias
    that MLflow would refuse; nothing is published then. `tags` are the version's.

    With `model`, the fitted pipeline that the bundle was exported from, the version has MLflow's
    sklearn flavour of it: `mlflow.sklearn.load_model` and `mlflow.pyfunc.load_model` give the
    pipeline. Without, they have the bundle's graph, by the onnx flavour. What else
    `mlflow.sklearn.save_model`, or `mlflow.onnx.save_model`, takes goes through `options`
    (`signature`, `input_example`, ...). A run is started if none is active.
    """
    folder = Path(bundle)
    manifest = read_manifest(folder)
    if "model" not in manifest and model is None:
        raise ValueError(f"{folder} has no model: there is nothing for MLflow's onnx flavour")
    # Nothing is published of what would be refused: a version that is there cannot be taken back.
    check_files(folder, manifest)
    if alias is not None:
        _check_alias(alias)

    import mlflow
    from mlflow.models import Model

    registered = registered_model_name or manifest["name"]

    here = (
        {"name": name, "artifact_path": None} if _takes_name(Model.log) else {"artifact_path": name}
    )
    logged = Model.log(
        **here,
        flavor=_Flavor,
        registered_model_name=registered,
        bundle=folder,
        manifest=manifest,
        fitted=model,
        **options,
    )
    client = mlflow.MlflowClient()
    version = str(logged.registered_model_version)
    for key, value in (tags or {}).items():
        client.set_model_version_tag(registered, version, key, value)
    if alias is not None:
        client.set_registered_model_alias(registered, alias, version)
    return version


def log_model(
    pipeline: Any,
    sample_frame: Any,
    registered_model_name: str,
    *,
    alias: str | None = None,
    tags: Mapping[str, str] | None = None,
    name: str = "model",
    limits: Mapping[str, int | str] | None = None,
    description: str | None = None,
    tolerance: float = 1e-5,
    **options: Any,
) -> str:
    """Exports a fitted pipeline, logs it with its bundle, registers it, and returns the version.

    `sample_frame` is what `export` takes; its first rows are the input example, and the signature
    is that of the pipeline's answers to it, unless `options` has others. Raises `CannotExport`,
    with nothing logged, if the pipeline cannot be served exactly.
    """
    from mlflow.models import infer_signature

    from .converted import label
    from .export import export
    from .frame import of_polars

    sample_frame = of_polars(sample_frame)
    with tempfile.TemporaryDirectory() as folder:
        bundle = export(
            pipeline,
            sample_frame,
            Path(folder) / "bundle",
            name=label(registered_model_name),
            limits=limits,
            description=description,
            tolerance=tolerance,
            quiet=True,
        )
        head = sample_frame[:5]
        if "signature" not in options:
            options["signature"] = infer_signature(head, pipeline.predict(head))
        options.setdefault("input_example", head)
        return log_bundle(
            bundle,
            registered_model_name,
            model=pipeline,
            alias=alias,
            tags=tags,
            name=name,
            **options,
        )


def read_manifest(folder: Path) -> dict[str, Any]:
    """A bundle's manifest."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    return tomllib.loads((folder / "bundle.toml").read_text())


def check_files(folder: Path, manifest: Mapping[str, Any]) -> list[str]:
    """The files that the manifest names. Raises `ValueError` unless all are there, as it says."""
    model, golden = manifest["model"], manifest.get("golden")
    files = [(entry["file"], entry["sha256"]) for entry in (model, *model.get("data", ()))]
    if golden is not None:
        files.append((golden["file"], golden["sha256"]))
    for stage in manifest.get("stage", ()):
        if not stage["module"].startswith("builtin:"):
            files.append((stage["module"], stage.get("sha256")))
        if "config" in stage:
            files.append((stage["config"], stage.get("config_sha256")))
    for file, expected in files:
        path = (folder / file).resolve()
        if not path.is_relative_to(folder.resolve()):
            raise ValueError(f"{file}: is not inside the bundle {folder}")
        if not path.is_file():
            raise ValueError(f"{file}: the manifest names it, and {folder} has no such file")
        actual = hashlib.sha256(path.read_bytes()).hexdigest()
        if actual != expected:
            raise ValueError(
                f"{file}: wrong digest: the manifest says sha256 {expected}, the file has {actual}"
            )
    return [file for file, _ in files]


def _check_alias(alias: str) -> None:
    """Raises `ValueError` for what MLflow would refuse, which it does when the version is there."""
    if not re.fullmatch(r"[\w-]{1,255}", alias):
        raise ValueError(f"alias {alias!r} must be 1 to 255 letters, digits, '_' or '-'")
    if re.fullmatch(r"latest|v[0-9]+", alias, re.IGNORECASE):
        raise ValueError(f"alias {alias!r} is one that MLflow keeps for itself")


def _takes_name(log: Any) -> bool:
    """Whether this MLflow is of the third generation, where a logged model has a name."""
    return "name" in inspect.signature(log).parameters


class _Flavor:
    """The module that `Model.log` calls: the fitted pipeline's `sklearn` flavour beside the bundle, or the `onnx`
    flavour, whose graph is the bundle's own."""

    @staticmethod
    def save_model(
        path: str,
        bundle: Path,
        manifest: Mapping[str, Any],
        fitted: Any = None,
        mlflow_model: Any = None,
        **options: Any,
    ) -> None:
        from mlflow.models import Model

        model = Model() if mlflow_model is None else mlflow_model
        version = Path(path)
        if fitted is not None:
            import mlflow.sklearn

            # As autologging does it; what MLflow 3 takes by default refuses trees.
            options.setdefault("serialization_format", "cloudpickle")
            mlflow.sklearn.save_model(fitted, path, mlflow_model=model, **options)
            shutil.copytree(bundle, version / FOLDER)
            model.add_flavor(FLAVOR, bundle=FOLDER, bundle_name=manifest["name"])
            model.save(str(version / "MLmodel"))
            return
        import mlflow.onnx
        import onnx

        file = manifest["model"]["file"]
        graph = onnx.load(bundle / file)
        mlflow.onnx.save_model(graph, path, mlflow_model=model, **options)
        # One copy of the graph: the flavours point into the bundle. Larger tensors may have been
        # saved beside, under a name that onnx makes up.
        for saved in (version / model.flavors["onnx"]["data"], *version.glob("*.data")):
            saved.unlink()
        shutil.copytree(bundle, version / FOLDER)
        for flavor in ("onnx", "python_function"):
            model.flavors[flavor]["data"] = f"{FOLDER}/{file}"
        model.add_flavor(FLAVOR, bundle=FOLDER, bundle_name=manifest["name"])
        model.save(str(version / "MLmodel"))
        # `mlflow.pyfunc` looks for one beside the graph, too.
        shutil.copy(version / "MLmodel", (version / FOLDER / file).parent)
