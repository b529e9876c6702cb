"""Functions that go through the rows in Python, or use Python's own functions of values."""

import re
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeRegressor

from .data import Case, amount, case, clients


def of_rows(function: Any, names: list[str]) -> Case:
    frame, y = clients()
    return make_pipeline(FunctionTransformer(function), RandomForestClassifier(9, random_state=0)), frame[names], y


@case
def comprehensions() -> Case:
    def features(frame: pd.DataFrame) -> pd.DataFrame:
        per_year = [debt / (age + 1) for debt, age in zip(frame["deuda"], frame["edad"], strict=True)]
        return pd.DataFrame({"a": per_year, "b": [1 if city == "Lima" else 0 for city in frame["ciudad"]]}, index=frame.index)

    return of_rows(features, ["edad", "deuda", "ciudad"])


@case
def rows_one_by_one() -> Case:
    def features(frame: pd.DataFrame) -> Any:
        made = []
        for _, row in frame.iterrows():
            made.append([row["edad"] * row["deuda"], len(row["ciudad"]), 1 if row["moroso"] and row["edad"] < 40 else 0])
        return np.array(made)

    return of_rows(features, ["edad", "deuda", "ciudad", "moroso"])


@case
def rows_as_tuples() -> Case:
    def features(frame: pd.DataFrame) -> Any:
        return np.array([[row.edad * 2 + row.moroso, min(row.deuda, 900)] for row in frame.itertuples(index=False)])

    return of_rows(features, ["edad", "deuda", "moroso"])


@case
def rows_of_an_array() -> Case:
    frame, y = clients()
    loop = FunctionTransformer(lambda rows: np.array([[row[0] - row[1], max(row[0], row[1])] for row in rows]))
    steps = ColumnTransformer([("n", make_pipeline(StandardScaler(), loop), ["edad", "deuda"])])
    return make_pipeline(steps, LogisticRegression()), frame, y


@case
def functions_of_python() -> Case:
    def features(frame: pd.DataFrame) -> pd.DataFrame:
        made = frame[["edad"]].copy()
        made["mayor"] = [int(age > 50) for age in frame["edad"]]
        made["log"] = list(map(lambda debt: np.log1p(debt), frame["deuda"].values))
        made["letras"] = frame["ciudad"].apply(len)
        made["canal"] = frame["canal"].apply(lambda text: 1 if isinstance(text, str) else 0)
        made["tope"] = frame["deuda"].map(lambda debt: round(min(debt, 1500.0), 1))
        return made

    frame, y = clients()
    frame["canal"] = pd.Series(frame["canal"]).where(pd.notna(frame["canal"]), np.nan)
    return make_pipeline(FunctionTransformer(features), RandomForestClassifier(9, random_state=0)), frame[["edad", "deuda", "ciudad", "canal"]], y


@case
def several_values_of_a_row() -> Case:
    def features(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.apply(lambda row: pd.Series({"a": row["edad"] / 10, "b": row["deuda"] if row["moroso"] else 0.0}), axis=1)

    return of_rows(features, ["edad", "deuda", "moroso"])


@case
def dummies_as_in_training() -> Case:
    class Dummies(BaseEstimator, TransformerMixin):
        def fit(self, X: Any, y: Any = None) -> Any:
            self.columns_ = pd.get_dummies(X).columns
            return self

        def transform(self, X: Any) -> Any:
            return pd.get_dummies(X).reindex(columns=self.columns_, fill_value=0)

    frame, _ = clients()
    return make_pipeline(Dummies(), DecisionTreeRegressor(max_depth=5)), frame[["edad", "ciudad"]], amount(frame)


@case
def categories_by_list() -> Case:
    def features(frame: pd.DataFrame) -> pd.DataFrame:
        frame = frame.copy()
        frame["ciudad"] = pd.Categorical(frame["ciudad"], categories=["Lima", "Cusco"]).codes
        return frame.eval("ratio = deuda / edad")

    return of_rows(features, ["edad", "deuda", "ciudad"])


@case
def patterns_of_python() -> Case:
    def clean(text: str) -> str:
        return re.sub(r"[aeiou]", "", text.lower())

    def features(frame: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"c": frame["ciudad"].map(clean), "ñ": frame["ciudad"].apply(lambda text: 1 if re.search("ñ", text) else 0)})

    frame, y = clients()
    steps = ColumnTransformer([("c", OneHotEncoder(handle_unknown="ignore"), ["c"])], remainder="passthrough")
    return make_pipeline(FunctionTransformer(features), steps, LogisticRegression()), frame[["ciudad"]], y
