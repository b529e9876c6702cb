"""Code as teams write it around fitted steps, and estimators in less usual company."""

import math
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import Birch, KMeans, MeanShift
from sklearn.compose import ColumnTransformer, make_column_selector, make_column_transformer
from sklearn.ensemble import (
    AdaBoostRegressor,
    BaggingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_selection import RFECV, SequentialFeatureSelector
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.mixture import BayesianGaussianMixture
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    LabelEncoder,
    OneHotEncoder,
    OrdinalEncoder,
    PowerTransformer,
    QuantileTransformer,
    StandardScaler,
)
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.tree import DecisionTreeClassifier

from .data import Case, amount, case, clients, grades, of_numbers, prepared


class Scaled(BaseEstimator, TransformerMixin):
    """Scales some columns and leaves the others."""

    def __init__(self, names: Any = ("edad", "deuda")) -> None:
        self.names = names

    def fit(self, X: Any, y: Any = None) -> Any:
        self.scaler_ = StandardScaler().fit(X[list(self.names)])
        self.imputer_ = SimpleImputer(strategy="median").fit(X[["ingreso mensual"]])
        return self

    def transform(self, X: Any) -> Any:
        X = X.copy()
        X[list(self.names)] = self.scaler_.transform(X[list(self.names)])
        X["ingreso mensual"] = self.imputer_.transform(X[["ingreso mensual"]]).ravel()
        return X[["edad", "deuda", "ingreso mensual"]]


@case
def steps_within_a_class() -> Case:
    frame, y = clients()
    return make_pipeline(Scaled(), LogisticRegression()), frame, y


class Labelled(BaseEstimator, TransformerMixin):
    """A LabelEncoder for each column of text."""

    def fit(self, X: Any, y: Any = None) -> Any:
        self.encoders_ = {name: LabelEncoder().fit(X[name].fillna("?").astype(str)) for name in ("ciudad", "canal")}
        return self

    def transform(self, X: Any) -> Any:
        X = X[["ciudad", "canal", "edad"]].copy()
        for name, encoder in self.encoders_.items():
            X[name] = encoder.transform(X[name].fillna("?").astype(str))
        return X


@case
def label_encoders_in_a_class() -> Case:
    frame, y = clients()
    return make_pipeline(Labelled(), RandomForestClassifier(9, random_state=0)), frame, y


class Clustered(BaseEstimator, TransformerMixin):
    """Adds the cluster and the distances to the centers."""

    def fit(self, X: Any, y: Any = None) -> Any:
        self.model_ = make_pipeline(StandardScaler(), KMeans(3, n_init=2, random_state=0)).fit(X[["edad", "deuda"]])
        return self

    def transform(self, X: Any) -> Any:
        return X[["edad", "deuda"]].assign(grupo=self.model_.predict(X[["edad", "deuda"]]))


@case
def clusters_as_features() -> Case:
    frame, y = clients()
    return make_pipeline(Clustered(), DecisionTreeClassifier(max_depth=4, random_state=0)), frame, y


class Hot(BaseEstimator, TransformerMixin):
    """An encoder's columns beside the numbers."""

    def fit(self, X: Any, y: Any = None) -> Any:
        self.encoder_ = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(X[["ciudad"]])
        return self

    def transform(self, X: Any) -> Any:
        names = self.encoder_.get_feature_names_out(["ciudad"])
        hot = pd.DataFrame(self.encoder_.transform(X[["ciudad"]]), columns=names, index=X.index)
        return pd.concat([X[["edad", "deuda"]], hot], axis=1)


@case
def an_encoder_within_a_class() -> Case:
    frame, y = clients()
    return make_pipeline(Hot(), LogisticRegression(max_iter=500)), frame, y


@case
def filled_by_means_of_the_training() -> Case:
    class Means(BaseEstimator, TransformerMixin):
        def fit(self, X: Any, y: Any = None) -> Any:
            self.means_ = X.mean()
            self.columns_ = list(X.columns)
            return self

        def transform(self, X: Any) -> Any:
            X = X[self.columns_].fillna(self.means_)
            return (X - self.means_) / (X.abs() + 1)

    frame, y = clients()
    return make_pipeline(ColumnTransformer([("m", Means(), ["edad", "ingreso mensual", "deuda"])]), LogisticRegression()), frame, y


@case
def pandas_idioms() -> Case:
    frame, y = clients()

    def derived(X: pd.DataFrame) -> pd.DataFrame:
        X = X.rename(columns=str.lower).drop(columns=["hijos", "nada"], errors="ignore")
        numbers = X.loc[:, "edad":"deuda"]
        X["parte"] = X["deuda"].div(X["ingreso mensual"].fillna(1).add(1)).clip(upper=5)
        X["suma"] = numbers.sum(axis=1)
        X["raíz"] = X["edad"].apply(lambda v: math.sqrt(v) if v > 30 else 0.0)
        X["alto"] = np.where((X["deuda"] > 500) & (X["edad"].between(25, 60)), 1, 0)
        X["nivel"] = np.select([X["deuda"] < 300, X["deuda"] < 900], [0, 1], default=2)
        X["vacío"] = X["canal"].isna() | X["ingreso mensual"].isnull()
        X["deuda"] = X["deuda"].where(X["deuda"] > 100, 0).round(1)
        X = X.replace({"ciudad": {"Cusco": "Sierra", "Iquitos": "Selva"}})
        return X[["parte", "suma", "raíz", "alto", "nivel", "vacío", "deuda", "ciudad"]]

    steps = ColumnTransformer([("c", OneHotEncoder(handle_unknown="ignore"), ["ciudad"])], remainder="passthrough")
    return make_pipeline(FunctionTransformer(derived), steps, RandomForestClassifier(8, random_state=0)), frame, y


@case
def marks_for_missing() -> Case:
    frame, y = clients()
    frame["deuda"] = frame["deuda"].mask(np.random.default_rng(1).random(len(frame)) < 0.1, -999.0)
    steps = ColumnTransformer(
        [
            ("a", make_pipeline(SimpleImputer(missing_values=-999.0, strategy="mean"), StandardScaler()), ["deuda"]),
            ("b", make_pipeline(FunctionTransformer(lambda X: X.replace(-999.0, np.nan)), SimpleImputer(strategy="median")), ["deuda"]),
        ]
    )
    return make_pipeline(steps, LogisticRegression()), frame, y


@case
def missing_beside_filled() -> Case:
    frame, y = clients()
    union = FeatureUnion([("fill", SimpleImputer()), ("lost", MissingIndicator(features="all"))])
    return make_pipeline(ColumnTransformer([("u", union, ["ingreso mensual", "deuda"])]), HistGradientBoostingClassifier(max_iter=12)), frame, y


@case
def powers_of_missing() -> Case:
    frame, y = clients()
    steps = ColumnTransformer([("p", PowerTransformer(), ["ingreso mensual"]), ("q", QuantileTransformer(n_quantiles=40), ["ingreso mensual"])])
    return make_pipeline(steps, SimpleImputer(), LogisticRegression()), frame, y


@case
def categories_to_boosting() -> Case:
    frame, y = clients()
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan, encoded_missing_value=np.nan)
    steps = make_column_transformer((codes, ["ciudad", "canal"]), remainder="passthrough", verbose_feature_names_out=False).set_output(transform="pandas")
    return make_pipeline(steps, HistGradientBoostingClassifier(max_iter=12, categorical_features=["ciudad", "canal"])), frame[["ciudad", "canal", "edad", "deuda"]], y


@case
def columns_by_pattern() -> Case:
    frame, y = clients()
    frame = frame[["edad", "deuda", "ciudad"]].rename(columns={"edad": "num_edad", "deuda": "num_deuda", "ciudad": "cat_ciudad"})
    steps = ColumnTransformer([("n", StandardScaler(), make_column_selector(pattern="^num_")), ("c", OneHotEncoder(categories=[["Lima", "Cusco"]], handle_unknown="ignore"), make_column_selector(pattern="^cat_"))])
    return make_pipeline(steps, LogisticRegression()), frame, y


@case
def columns_with_numbers_for_names() -> Case:
    frame, y = clients()
    frame = frame[["edad", "deuda", "ciudad"]].set_axis([0, 1, 2], axis=1)
    return make_pipeline(ColumnTransformer([("n", StandardScaler(), [0, 1]), ("c", OneHotEncoder(), [2])]), LogisticRegression()), frame, y


@case
def one_of_several_dropped() -> Case:
    frame, y = clients()
    model = VotingClassifier([("a", LogisticRegression(max_iter=300)), ("b", RandomForestClassifier(7, random_state=0)), ("c", "drop")], voting="soft")
    return make_pipeline(prepared(), model), frame, y


@case
def stacked_with_their_columns() -> Case:
    frame, _ = clients()
    model = StackingClassifier([("a", DecisionTreeClassifier(max_depth=3)), ("b", KNeighborsClassifier(9))], stack_method="predict_proba", passthrough=True, cv=3)
    return make_pipeline(prepared(), model), frame, grades(frame)


@case
def trained_on_itself() -> Case:
    frame, y = clients()
    y = y.where(np.random.default_rng(2).random(len(y)) < 0.6, -1)
    return make_pipeline(prepared(), SelfTrainingClassifier(LogisticRegression(max_iter=300))), frame, y


@case
def features_chosen_in_turn() -> Case:
    return of_numbers(StandardScaler(), SequentialFeatureSelector(LogisticRegression(), n_features_to_select=2), RFECV(LogisticRegression(), min_features_to_select=1), LogisticRegression())


@case
def bags_of_features() -> Case:
    frame, _ = clients()
    return make_pipeline(prepared(), BaggingClassifier(LogisticRegression(max_iter=200), 5, max_features=0.6, bootstrap_features=True, random_state=0)), frame, grades(frame)


@case
def boosted_regressors() -> Case:
    frame, _ = clients()
    return make_pipeline(prepared(), AdaBoostRegressor(n_estimators=12, random_state=0)), frame, amount(frame)


@case
def calibrated_bags() -> Case:
    frame, _ = clients()
    return CalibratedClassifierCV(Pipeline([("p", prepared()), ("m", BaggingClassifier(n_estimators=4, random_state=0))]), cv=2), frame, grades(frame)


@case
def nearest_by_cosine() -> Case:
    return of_numbers(StandardScaler(), KNeighborsClassifier(5, metric="cosine"))


@case
def clusters_of_a_tree() -> Case:
    return make_pipeline(StandardScaler(), Birch(n_clusters=4)), clients()[0][["edad", "deuda"]].astype(float), None


@case
def clusters_by_shift() -> Case:
    return make_pipeline(StandardScaler(), MeanShift(bandwidth=1.0)), clients()[0][["edad", "deuda"]].astype(float), None


@case
def a_mixture_by_bayes() -> Case:
    return make_pipeline(StandardScaler(), BayesianGaussianMixture(n_components=4, random_state=0, max_iter=50)), clients()[0][["edad", "deuda"]].astype(float), None


@case
def names_of_days() -> Case:
    from .functions import dated

    frame, y = dated()

    def days(X: pd.DataFrame) -> pd.DataFrame:
        when = X["alta"]
        return pd.DataFrame({"día": when.dt.day_name(), "mes": when.dt.month_name(), "edad": X["edad"]})

    steps = ColumnTransformer([("c", OneHotEncoder(handle_unknown="ignore"), ["día", "mes"])], remainder="passthrough")
    return make_pipeline(FunctionTransformer(days), steps, LogisticRegression(max_iter=400)), frame, y


@case
def days_as_numbers() -> Case:
    from .functions import dated

    frame, _ = dated()
    stamp = FunctionTransformer(lambda X: X.astype("int64") // 10**9)
    return make_pipeline(ColumnTransformer([("d", make_pipeline(stamp, StandardScaler()), ["alta"]), ("n", StandardScaler(), ["edad"])]), Ridge()), frame, amount(frame)


@case
def nullable_truths() -> Case:
    frame, y = clients()
    frame["activo"] = pd.array(np.where(np.random.default_rng(3).random(len(frame)) < 0.1, None, np.random.default_rng(4).random(len(frame)) < 0.4), dtype="boolean")
    filled = make_pipeline(FunctionTransformer(lambda X: X.astype("float64")), SimpleImputer(strategy="most_frequent"))
    return make_pipeline(ColumnTransformer([("b", filled, ["activo"]), ("n", StandardScaler(), ["edad"])]), LogisticRegression()), frame, y


@case
def a_line_through_logs() -> Case:
    frame, _ = clients()
    logs = ColumnTransformer([("l", FunctionTransformer(np.log1p, feature_names_out="one-to-one"), ["deuda"]), ("s", FunctionTransformer(np.sqrt, validate=True), ["edad"])])
    return make_pipeline(logs, LinearRegression()), frame, amount(frame)
