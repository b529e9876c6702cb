"""A written bundle, run from its files without a gateway: what an export is compared by."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pandas as pd

from . import reference
from .frame import rows
from .graph.foreign import typed
from .model import in_parts, picked

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Json = Any


class Written:
    """The files of an exported bundle, and what they answer."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.manifest = tomllib.loads((self.folder / "bundle.toml").read_text())
        stages = {stage["name"]: stage for stage in self.manifest["stage"]}
        self.predict: Json = json.loads((self.folder / stages["predict"]["config"]).read_text())
        self.model = (self.folder / self.manifest["model"]["file"]).read_bytes()
        self.tabular: Json = None
        if "preprocess" in stages:
            self.tabular = json.loads((self.folder / stages["preprocess"]["config"]).read_text())

        self.stage: Any = None
        if "features" in stages:
            scope: dict[str, Any] = {"__name__": "features"}
            exec(compile((self.folder / "features.py").read_text(), "features.py", "exec"), scope)
            self.module = scope["features"]
            self.stage = self.module.start()

    @property
    def route(self) -> str:
        """`tabular` where the module preprocesses, `graph` where the ONNX graph does."""
        if self.tabular is None:
            return "texts"
        producer = onnx.load_from_string(self.model).producer_name
        return "graph" if producer == "modelgate_exporter" else "tabular"

    def datatypes(self) -> dict[str, str]:
        """The inputs and their datatypes, as requests name them."""
        if self.stage is not None:
            return {column.name: column.type.datatype for column in self.stage.inputs}
        if self.tabular is not None:
            return {entry["name"]: entry["datatype"] for entry in self.tabular["inputs"]}
        return {entry.name: "bytes" for entry in onnx.load_from_string(self.model).graph.input}

    def cells(self, frame: pd.DataFrame) -> list[dict[str, Json]]:
        """The rows of a frame as requests carry them."""
        return rows(frame.set_axis([str(name) for name in frame.columns], axis=1), self.datatypes())

    def answers(self, cells: list[dict[str, Json]]) -> dict[str, npt.NDArray[Any]]:
        """Each output of the bundle for these rows."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(self.model, options, providers=["CPUExecutionProvider"])
        if self.stage is not None:
            kinds = self.datatypes()
            cells = [self.module(typed(row, kinds)) for row in cells]
        if self.tabular is not None:
            given = reference.fed(self.tabular, cells)
        else:
            given = {name: np.array([[row[name]] for row in cells], object) for name in self.datatypes()}
        outputs = self.predict["outputs"]
        values = in_parts(session, [output["from"] for output in outputs], given)
        return {output["name"]: picked(np.asarray(value), output) for output, value in zip(outputs, values, strict=True)}
