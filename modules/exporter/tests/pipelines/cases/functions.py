"""Functions and transformer classes of the user's own, dates among them."""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from .data import Case, amount, case, clients


@case
def own_class() -> Case:
    frame, y = clients()
    return Pipeline([("own", Ratios()), ("prep", ratios_prepared()), ("model", LogisticRegression(max_iter=500))]), frame, y


class Ratios(BaseEstimator, TransformerMixin):
    """The code of a team: new columns of old ones."""

    def __init__(self, limit: float = 600.0) -> None:
        self.limit = limit

    def fit(self, X: Any, y: Any = None) -> Any:
        self.mean_ = float(X["deuda"].mean())
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X: Any) -> Any:
        X = X.copy()
        X["ratio"] = X["deuda"] / (X["ingreso mensual"].fillna(self.mean_) + 1)
        X["joven"] = np.where(X["edad"] < 30, 1, 0)
        X["deudor"] = (X["deuda"] > self.limit) & ~X["moroso"]
        X["grupo"] = X["edad"].apply(lambda v: "a" if v < 25 else ("b" if v < 60 else "c"))
        X["es_lima"] = X["ciudad"].isin(["Lima", "Ñaña"]).astype(int)
        X["tarifa"] = X["canal"].map({"web": 1.0, "app": 2.0}).fillna(0)
        X.loc[X["deuda"] > 2000, "deuda"] = 2000
        return X.drop(columns=["hijos"])


def ratios_prepared() -> ColumnTransformer:
    numbers = ["ratio", "joven", "deuda", "edad", "es_lima", "tarifa"]
    return ColumnTransformer(
        [("n", StandardScaler(), numbers), ("g", OneHotEncoder(), ["grupo", "deudor"]), ("t", OneHotEncoder(handle_unknown="ignore"), ["ciudad"])]
    )


@case
def lambda_assign_chain() -> Case:
    frame, _ = clients()
    add = FunctionTransformer(lambda X: X.assign(neto=lambda d: d["ingreso mensual"] - d["deuda"], tramo=pd.cut(X["edad"], [0, 30, 60, 120], labels=["j", "m", "v"]).astype(object)))
    steps = ColumnTransformer(
        [("n", make_pipeline(SimpleImputer(), StandardScaler()), ["neto", "edad"]), ("t", OneHotEncoder(handle_unknown="ignore"), ["tramo", "ciudad"])]
    )
    return make_pipeline(add, steps, Ridge()), frame, amount(frame)


@case
def row_wise_apply() -> Case:
    frame, y = clients()

    def risk(row: Any) -> float:
        if row["moroso"] and row["edad"] < 30:
            return 2.0
        return 1.0 if row["deuda"] > 900 else 0.0

    add = FunctionTransformer(lambda X: pd.DataFrame({"riesgo": X.apply(risk, axis=1), "edad": X["edad"]}))
    return make_pipeline(add, StandardScaler(), LogisticRegression()), frame, y


@case
def shares_of_categories() -> Case:
    class Shares(BaseEstimator, TransformerMixin):
        def fit(self, X: Any, y: Any = None) -> Any:
            self.shares_ = {name: X[name].value_counts(normalize=True).to_dict() for name in X.columns}
            return self

        def transform(self, X: Any) -> Any:
            made = pd.DataFrame(index=X.index)
            for name in X.columns:
                made[name] = X[name].map(self.shares_[name]).fillna(0)
            return made

    frame, y = clients()
    steps = ColumnTransformer([("s", Shares(), ["ciudad", "canal"]), ("n", StandardScaler(), ["edad"])])
    return make_pipeline(steps, GradientBoostingClassifier(n_estimators=9)), frame, y


@case
def numbers_as_text() -> Case:
    frame, y = clients()
    steps = ColumnTransformer(
        [("t", make_pipeline(FunctionTransformer(lambda X: X.astype(str)), OneHotEncoder(handle_unknown="ignore")), ["edad", "ciudad"]), ("n", StandardScaler(), ["deuda"])]
    )
    return make_pipeline(steps, LogisticRegression(max_iter=300)), frame, y


@case
def select_numpy_columns() -> Case:
    frame, y = clients()
    data = frame[["edad", "deuda"]].to_numpy(float)
    add = FunctionTransformer(lambda X: np.c_[X, X[:, 0] * X[:, 1], np.maximum(X[:, 0], 40)])
    return make_pipeline(add, StandardScaler(), LogisticRegression()), data, y


@case
def dates() -> Case:
    frame, y = dated()

    def parts(X: Any) -> Any:
        when = X["alta"]
        return pd.DataFrame(
            {
                "anyo": when.dt.year, "mes": when.dt.month, "dia": when.dt.dayofweek, "finde": (when.dt.dayofweek >= 5).astype(int),
                "antiguedad": (pd.Timestamp("2025-01-01") - when).dt.days, "trimestre": when.dt.quarter, "hora": when.dt.hour,
                "del_anyo": when.dt.dayofyear, "fin": when.dt.is_month_end.astype(int),
            }
        )  # fmt: skip

    steps = ColumnTransformer([("d", make_pipeline(FunctionTransformer(parts), StandardScaler()), ["alta"]), ("n", StandardScaler(), ["edad"])])
    return make_pipeline(steps, LogisticRegression(max_iter=300)), frame, y


@case
def dates_between() -> Case:
    frame, y = dated()
    frame["baja"] = frame["alta"] + pd.to_timedelta(np.random.default_rng(3).integers(1, 900, len(frame)), unit="D")
    add = FunctionTransformer(lambda X: X.assign(dias=(X["baja"] - X["alta"]).dt.days, semanas=(X["baja"] - X["alta"]) / pd.Timedelta(days=7)))
    steps = ColumnTransformer([("n", StandardScaler(), ["dias", "semanas", "edad"])])
    return make_pipeline(add, steps, GradientBoostingClassifier(n_estimators=10)), frame, y


def dated() -> tuple[pd.DataFrame, pd.Series]:
    frame, y = clients()
    rng = np.random.default_rng(4)
    frame["alta"] = pd.Timestamp("2019-12-25") + pd.to_timedelta(rng.integers(0, 60 * 24 * 1200, len(frame)), unit="min")
    return frame, y
