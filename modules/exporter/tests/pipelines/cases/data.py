"""Frames to fit pipelines on, and the list that pipelines are added to."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

Case = tuple[Any, Any, Any]
_CASES: dict[str, Callable[[], Case]] = {}


def case(factory: Callable[[], Case]) -> Callable[[], Case]:
    """Adds a pipeline to the list."""
    _CASES[factory.__name__] = factory
    return factory


def cases() -> Iterator[tuple[str, Callable[[], Case]]]:
    """Names and factories."""
    yield from _CASES.items()


def clients(count: int = 600, seed: int = 1) -> tuple[pd.DataFrame, pd.Series]:
    """A bank's clients: numbers, texts, truths, missing values of several kinds."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "edad": rng.integers(18, 90, count),
            "ingreso mensual": np.where(rng.random(count) < 0.1, np.nan, rng.gamma(3, 900, count).round(2)),
            "deuda": rng.gamma(2, 500, count).round(2),
            "hijos": pd.array(np.where(rng.random(count) < 0.08, None, rng.integers(0, 4, count)), dtype="Int64"),
            "ciudad": rng.choice(["Lima", "Cusco", "Iquitos", "Ñaña"], count, p=[0.5, 0.3, 0.15, 0.05]),
            "plan": pd.Categorical(np.where(rng.random(count) < 0.05, None, rng.choice(["oro", "plata", "base"], count))),
            "moroso": rng.random(count) < 0.3,
            "canal": np.where(rng.random(count) < 0.1, None, rng.choice(["web", "app", "agencia"], count)),
        }
    )
    score = (frame["edad"] < 40) + frame["moroso"] * 1.5 + (frame["ciudad"] == "Lima") * 0.5 + rng.normal(0, 0.5, count)
    return frame, (score > 1.2).astype(int).rename("fuga")


def amount(frame: pd.DataFrame, seed: int = 2) -> pd.Series:
    """Something to predict as a number."""
    rng = np.random.default_rng(seed)
    return (frame["edad"] * 12 + frame["deuda"] + (frame["ciudad"] == "Lima") * 300 + rng.gamma(2, 40, len(frame))).rename("monto")


def grades(frame: pd.DataFrame) -> pd.Series:
    """Three classes of text."""
    value = frame["deuda"] + frame["edad"] * 10
    return pd.cut(value, [-1, value.quantile(0.4), value.quantile(0.75), 1e9], labels=["bajo", "medio", "alto"]).astype(str)


NUMBERS = ["edad", "ingreso mensual", "deuda"]
TEXTS = ["ciudad", "plan", "canal"]


def prepared(scaler: Any = None) -> ColumnTransformer:
    """The usual preprocessing."""
    numbers = make_pipeline(SimpleImputer(strategy="median"), scaler or StandardScaler())
    texts = make_pipeline(SimpleImputer(strategy="constant", fill_value="?"), OneHotEncoder(handle_unknown="ignore"))
    return ColumnTransformer([("numbers", numbers, NUMBERS), ("texts", texts, TEXTS)], sparse_threshold=0)


def classified(model: Any, target: Any = None, scaler: Any = None) -> Case:
    frame, y = clients()
    return make_pipeline(prepared(scaler), model), frame, y if target is None else target(frame)


def regressed(model: Any, target: Any = None) -> Case:
    frame, _ = clients()
    return make_pipeline(prepared(), model), frame, amount(frame) if target is None else target(frame)


def of_numbers(*steps: Any, labels: bool = True) -> Case:
    """Steps over numbers alone."""
    frame, y = clients()
    data = frame[["edad", "deuda"]].astype(float).assign(otro=np.sin(frame["edad"]) * frame["deuda"])
    return make_pipeline(*steps), data, y if labels else amount(frame)


def simple(name: str, factory: Callable[[], Case]) -> None:
    factory.__name__ = name
    case(factory)


def optional(name: str, module: str, factory: Callable[[Any], Case]) -> None:
    """A pipeline of another library, where that is installed."""
    try:
        imported = __import__(module, fromlist=["*"])
    except ImportError:
        return
    simple(name, lambda: factory(imported))
