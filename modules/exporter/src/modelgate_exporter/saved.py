"""A model as MLflow saved it: its flavours, its signature, its example, and the fitted object."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from . import boosters, pickles
from .errors import CannotExport

Json = Any


@dataclass(frozen=True)
class Column:
    """A column of a signature."""

    name: str
    type: str
    """As MLflow calls it: `long`, `double`, `string`, ..."""


@dataclass(frozen=True)
class Saved:
    """A folder with an `MLmodel`."""

    folder: Path
    about: dict[str, Json]

    @classmethod
    def open(cls, folder: Path) -> Saved:
        """Reads the folder's `MLmodel`; nothing of it is run."""
        try:
            about = yaml.safe_load((folder / "MLmodel").read_bytes())
        except FileNotFoundError:
            raise CannotExport(f"{folder} is no model of MLflow: it has no MLmodel") from None
        except yaml.YAMLError as error:
            raise CannotExport(f"the MLmodel of {folder} cannot be read: {error}") from error
        if not isinstance(about, dict) or not isinstance(about.get("flavors"), dict):
            raise CannotExport(f"the MLmodel of {folder} names no flavours")
        return cls(folder, about)

    @property
    def flavors(self) -> dict[str, Json]:
        """By name."""
        flavors: dict[str, Json] = self.about["flavors"]
        return flavors

    def python(self) -> str | None:
        """The Python that wrote it, such as `3.11.7`."""
        version = (self.flavors.get("python_function") or {}).get("python_version")
        return str(version) if version else None

    def flavor(self) -> str:
        """The flavour that is converted: sklearn, or one of a library of boosters.

        Raises `CannotExport` where there is none.
        """
        for name in ("sklearn", *boosters.FLAVORS):
            if isinstance(self.flavors.get(name), dict):
                return name
        names = ", ".join(sorted(self.flavors))
        raise CannotExport(
            f"its flavours are {names}, and only sklearn, {', '.join(boosters.FLAVORS)} can be "
            "converted; log the fitted pipeline with mlflow.sklearn.log_model, or a bundle with "
            "modelgate_exporter.log_bundle"
        )

    def load(self) -> Any:
        """The fitted object of the first flavour that can be converted. Runs what is in its pickle."""
        name = self.flavor()
        flavor = self.flavors[name]
        key = "pickled_model" if name == "sklearn" else "data"
        file = self._inside(str(flavor.get(key) or "model.pkl"))
        for flavored in (flavor, self.flavors.get("python_function") or {}):
            if code := flavored.get("code"):
                sys.path.insert(0, str(self._inside(str(code))))
        if file.suffix not in (".pkl", ".pickle", ".skops") and name != "sklearn":
            return boosters.load(name, flavor, file)
        if flavor.get("serialization_format") == "skops" or file.suffix == ".skops":
            import skops.io

            # The process that does this is confined; a list of trusted types would add nothing.
            return skops.io.load(file, trusted=skops.io.get_untrusted_types(file=file))
        here = f"{sys.version_info.major}.{sys.version_info.minor}."
        return pickles.read(file, (self.python() or here).startswith(here))

    def _inside(self, name: str) -> Path:
        path = (self.folder / name).resolve()
        if not path.is_relative_to(self.folder.resolve()) or not path.exists():
            raise CannotExport(f"its MLmodel names {name}, which is not among its files")
        return path

    def columns(self) -> list[Column] | None:
        """The signature's columns; `None` where it has none."""
        inputs = (self.about.get("signature") or {}).get("inputs")
        try:
            entries = json.loads(inputs) if isinstance(inputs, str) else inputs
            columns = [Column(str(entry["name"]), str(entry["type"])) for entry in entries]
        except (KeyError, TypeError, ValueError):
            return None
        return columns if all(column.type != "tensor" for column in columns) else None

    def example(self) -> pd.DataFrame | None:
        """The rows that were logged as an example; `None` where there are none."""
        info = self.about.get("saved_input_example_info") or {}
        names = [info.get("artifact_path"), "input_example.json", info.get("serving_input_path")]
        for name in [*filter(None, names), "serving_input_example.json"]:
            path = self.folder / str(name)
            if not path.is_file() or path.is_symlink():
                continue
            try:
                frame = _frame(json.loads(path.read_text()))
            except (ValueError, TypeError, KeyError):
                continue
            if frame is not None and len(frame):
                return self._typed(frame)
        return None

    def _typed(self, frame: pd.DataFrame) -> pd.DataFrame:
        """With the types that the signature says: JSON has one kind of number."""
        for column in self.columns() or []:
            if column.name in frame.columns:
                frame[column.name] = typed(frame[column.name], column.type)
        return frame


def typed(values: pd.Series, kind: str) -> pd.Series:
    """A column of a signature's type. What cannot be of that type, for a missing value, stays."""
    dtypes = {
        "long": "int64",
        "integer": "int32",
        "double": "float64",
        "float": "float32",
        "boolean": "bool",
    }
    if kind == "datetime":
        return pd.to_datetime(values)
    if kind in dtypes:
        try:
            return values.astype(dtypes[kind])
        except (TypeError, ValueError):
            return values
    return values.astype(object)


def _frame(value: Json) -> pd.DataFrame | None:
    """Rows in any of the shapes that MLflow's versions write."""
    if isinstance(value, list):
        return pd.DataFrame(value)
    if not isinstance(value, dict):
        return None
    for key in ("dataframe_split", "dataframe_records", "inputs", "instances"):
        if key in value:
            return _frame(value[key])
    if "data" in value:
        return pd.DataFrame(value["data"], columns=value.get("columns"))
    return pd.DataFrame(value if isinstance(next(iter(value.values())), list) else [value])
