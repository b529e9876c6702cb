"""Pipelines with the transformers of category_encoders and feature_engine, where these are installed."""

from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from .data import Case, clients, optional

PLACES = ["ciudad", "canal"]


def _clients(names: list[str]) -> tuple[Any, Any]:
    frame, target = clients()
    return frame[names], target


def _encoded(name: str, **options: Any) -> Any:
    """An encoder of category_encoders on texts, of which some are None, in front of a model that takes missing numbers."""

    def made(library: Any) -> Case:
        encoder = getattr(library, name)(cols=PLACES, **options)
        return make_pipeline(encoder, HistGradientBoostingClassifier(max_iter=15)), *_clients(["edad", "deuda", *PLACES])

    return made


for encoder in ("OneHotEncoder", "BinaryEncoder", "CountEncoder", "LeaveOneOutEncoder", "CatBoostEncoder", "HelmertEncoder", "RankHotEncoder", "WOEEncoder"):
    optional(f"categories_{encoder}", "category_encoders", _encoded(encoder))
for encoder in ("TargetEncoder", "LeaveOneOutEncoder", "SumEncoder"):
    optional(f"categories_{encoder}_nan", "category_encoders", _encoded(encoder, handle_unknown="return_nan", handle_missing="return_nan"))


def _in_columns(library: Any) -> Case:
    texts = make_pipeline(SimpleImputer(strategy="constant", fill_value="?").set_output(transform="pandas"), library.BinaryEncoder())
    steps = ColumnTransformer(
        [("t", library.TargetEncoder(), ["ciudad"]), ("b", texts, ["canal"]), ("n", make_pipeline(SimpleImputer(), StandardScaler()), ["edad", "ingreso mensual"])]
    )
    return make_pipeline(steps, LogisticRegression()), *_clients(["ciudad", "canal", "edad", "ingreso mensual"])


optional("categories_in_columns", "category_encoders", _in_columns)
optional("categories_summary", "category_encoders", lambda x: (make_pipeline(x.SummaryEncoder(cols=["ciudad"]), LogisticRegression(max_iter=500)), *_clients(["edad", "ciudad"])))


def _engineered(*names: str) -> Any:
    """Steps of feature_engine between its imputers and its one-hot encoder, and a linear model."""

    def made(library: Any) -> Case:
        from feature_engine import encoding, imputation

        texts = imputation.CategoricalImputer(variables=PLACES), encoding.OneHotEncoder(variables=PLACES)
        numbers = imputation.AddMissingIndicator(variables=["ingreso mensual"]), imputation.MeanMedianImputer(variables=["ingreso mensual"])
        steps = [eval(name, {**vars(library), "np": np, **_parts()}) for name in names]
        frame = _clients(["edad", "deuda", "ingreso mensual", *PLACES])
        return make_pipeline(*texts, *numbers, *steps, StandardScaler(), LogisticRegression(max_iter=500)), *frame

    return made


def _parts() -> dict[str, Any]:
    from feature_engine import creation, discretisation, outliers, transformation, wrappers

    return {"creation": creation, "discretisation": discretisation, "outliers": outliers, "transformation": transformation, "wrappers": wrappers, "StandardScaler": StandardScaler}


MONEY = '["deuda", "ingreso mensual"]'
ENGINEERED = {
    "bins": (f"discretisation.EqualFrequencyDiscretiser(variables={MONEY}, q=4)",),
    "trees": (f"discretisation.DecisionTreeDiscretiser(variables={MONEY}, regression=False, random_state=0)",),
    "powers": ('transformation.YeoJohnsonTransformer(variables=["deuda"])', 'transformation.BoxCoxTransformer(variables=["ingreso mensual"])'),
    "logarithms": ('transformation.LogTransformer(variables=["deuda"])', 'outliers.Winsorizer(variables=["edad"], tail="both", add_indicators=True)'),
    "sums": (f"creation.MathFeatures(variables={MONEY}, func=['sum', 'mean', 'std'])", f"creation.RelativeFeatures(variables={MONEY}, reference=['edad'], func=['div', 'sub'])"),
    "wrapped": (f"wrappers.SklearnTransformerWrapper(StandardScaler(), variables={MONEY})", 'creation.CyclicalFeatures(variables=["edad"], drop_original=True)'),
}
for name, steps in ENGINEERED.items():
    optional(f"engineered_{name}", "feature_engine", _engineered(*steps))


def _rare(library: Any) -> Case:
    from feature_engine import encoding

    rare = encoding.RareLabelEncoder(tol=0.2, n_categories=2, variables=PLACES, missing_values="ignore")
    means = encoding.MeanEncoder(variables=PLACES, missing_values="ignore", unseen="encode")
    return make_pipeline(rare, means, HistGradientBoostingClassifier(max_iter=15)), *_clients(["edad", "deuda", *PLACES])


optional("engineered_rare", "feature_engine", _rare)
