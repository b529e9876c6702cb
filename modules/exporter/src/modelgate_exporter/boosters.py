"""The flavours of MLflow that hold a model of XGBoost, LightGBM or CatBoost."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import CannotExport

FLAVORS = ("xgboost", "lightgbm", "catboost")

_CLASSES = {
    "xgboost": {
        "xgboost.core.Booster",
        *(
            f"xgboost.sklearn.XGB{name}"
            for name in ("Classifier", "RFClassifier", "Regressor", "RFRegressor", "Ranker", "Model")
        ),
    },
    "lightgbm": {"lightgbm.basic.Booster"},
    "catboost": {"CatBoost", "CatBoostClassifier", "CatBoostRegressor", "CatBoostRanker"},
}
"""The classes whose own file the gateway serves as their `predict` answers."""


def class_of(name: str, flavor: Mapping[str, Any]) -> str:
    """The class that was logged; MLflow's early versions write none."""
    defaults = {"xgboost": "xgboost.core.Booster", "lightgbm": "lightgbm.basic.Booster"}
    key = "model_type" if name == "catboost" else "model_class"
    return str(flavor.get(key) or defaults.get(name, "CatBoost"))


def is_native(flavors: Mapping[str, Any]) -> bool:
    """Whether the gateway serves such a version from the library's own file.

    The rule is that of the gateway's `models:/` source.
    """
    name = next((name for name in FLAVORS if isinstance(flavors.get(name), dict)), None)
    if name is None or "sklearn" in flavors:
        return False
    flavor = flavors[name]
    loader = (flavors.get("python_function") or {}).get("loader_module")
    if loader not in (None, f"mlflow.{name}") or class_of(name, flavor) not in _CLASSES[name]:
        return False
    suffix = Path(str(flavor.get("data") or "")).suffix
    if name == "xgboost":
        return suffix in (".json", ".ubj") or _version(flavor.get("xgb_version")) >= (2, 1)
    if name == "lightgbm":
        return suffix in (".lgb", ".txt")
    return str(flavor.get("save_format") or "cbm") in ("cbm", "json")


def _version(text: Any) -> tuple[int, ...]:
    parts = str(text or "").split(".")[:2]
    return tuple(int(part) if part.isdigit() else 0 for part in parts)


def load(name: str, flavor: Mapping[str, Any], file: Path) -> Any:
    """The fitted object of a library's own file."""
    kind = class_of(name, flavor)
    if name == "catboost":
        model = getattr(importlib.import_module("catboost"), kind, None)
        if model is None:
            raise CannotExport(f"its catboost flavour is of the class {kind}, which there is not")
        return model().load_model(str(file), str(flavor.get("save_format") or "cbm"))
    if kind.endswith(".Booster"):
        again = 'model_format="ubj"' if name == "xgboost" else "a file of Booster.save_model"
        raise CannotExport(
            f"it is a {kind}, which is served from its own file alone; log it again with {again}"
        )
    module, _, attribute = kind.rpartition(".")
    model = getattr(importlib.import_module(module), attribute)()
    model.load_model(str(file))
    return model
