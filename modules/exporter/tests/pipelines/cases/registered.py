"""Pipelines as people register them: columns by type, frames between steps, nullable types, classes of their own."""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.compose import (
    ColumnTransformer,
    make_column_selector,
    make_column_transformer,
)
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.feature_selection import SelectKBest, f_classif, mutual_info_classif
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.linear_model import (
    ElasticNet,
    LinearRegression,
    LogisticRegression,
    Ridge,
)
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from .data import Case, amount, case, clients, optional, prepared


def churn(count: int = 700, seed: int = 5) -> tuple[pd.DataFrame, pd.Series]:
    """Subscribers as a warehouse gives them: nullable types, categories, None in objects, dates, odd names."""
    rng = np.random.default_rng(seed)

    def lost(share: float) -> Any:
        return rng.random(count) < share

    frame = pd.DataFrame(
        {
            "customerID": [f"C-{at:05d}" for at in range(count)],
            "tenure (months)": pd.array(np.where(lost(0.05), None, rng.integers(0, 72, count)), dtype="Int64"),
            "MonthlyCharges": pd.array(np.where(lost(0.07), np.nan, rng.gamma(4, 18, count).round(2)), dtype="Float64"),
            "SeniorCitizen": rng.integers(0, 2, count).astype(np.int8),
            "Partner": pd.array(np.where(lost(0.1), None, rng.random(count) < 0.5), dtype="boolean"),
            "PaperlessBilling": rng.random(count) < 0.6,
            "Contract": rng.choice(["Month-to-month", "One year", "Two year"], count, p=[0.6, 0.25, 0.15]),
            "PaymentMethod": pd.array(np.where(lost(0.08), None, rng.choice(["card", "cheque", "transfer"], count)), dtype="string"),
            "InternetService": pd.Series(np.where(lost(0.1), None, rng.choice(["DSL", "Fiber optic", "No"], count)), dtype=object),
            "plan": pd.Categorical(rng.choice(["s", "m", "l"], count), categories=["s", "m", "l"], ordered=True),
            "signup": pd.Timestamp("2018-03-01") + pd.to_timedelta(rng.integers(0, 2500, count), unit="D"),
            "calls": rng.poisson(2, count).astype(np.float32),
        }
    )
    score = (frame["Contract"] == "Month-to-month") * 1.2 + (frame["tenure (months)"].fillna(20).astype(float) < 15) + rng.normal(0, 0.4, count)
    return frame, pd.Series(np.where(score > 1.1, "Yes", "No"), name="Churn")


NUMERIC = ["tenure (months)", "MonthlyCharges", "SeniorCitizen", "calls"]
CATEGORIES = ["Contract", "PaymentMethod", "InternetService", "plan"]


def by_type(model: Any, **options: Any) -> Pipeline:
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    texts = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore", sparse_output=False))
    steps = make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")),
        (texts, make_column_selector(dtype_include=["object", "category", "string"])),
        **options,
    )
    return make_pipeline(steps, model)


def plain() -> tuple[pd.DataFrame, pd.Series]:
    """Without the identifier and the date, and with the types of numpy."""
    frame, y = churn()
    frame = frame.drop(columns=["customerID", "signup"])
    frame["tenure (months)"] = frame["tenure (months)"].astype("float64")
    frame["MonthlyCharges"] = frame["MonthlyCharges"].astype("float64")
    frame["PaymentMethod"] = frame["PaymentMethod"].astype(object).where(frame["PaymentMethod"].notna(), np.nan)
    frame["Partner"] = frame["Partner"].fillna(False).astype(bool)
    return frame, y


@case
def selected_by_type() -> Case:
    frame, y = plain()
    return by_type(RandomForestClassifier(15, class_weight="balanced", random_state=0)), frame.drop(columns="InternetService"), y


@case
def selected_by_type_nullable() -> Case:
    frame, y = churn()
    texts = make_pipeline(SimpleImputer(strategy="constant", fill_value="?", missing_values=pd.NA), OneHotEncoder(handle_unknown="ignore"))
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    steps = make_column_transformer(
        (numbers, ["tenure (months)", "MonthlyCharges"]), (texts, ["PaymentMethod"]), (OneHotEncoder(), ["Contract"]), ("passthrough", ["SeniorCitizen"])
    )
    return make_pipeline(steps, LogisticRegression(max_iter=500)), frame, y


@case
def frames_between_steps() -> Case:
    frame, y = plain()
    numbers = make_pipeline(SimpleImputer(add_indicator=True), RobustScaler())
    texts = make_pipeline(SimpleImputer(strategy="constant", fill_value="none"), OneHotEncoder(handle_unknown="ignore", sparse_output=False, drop="if_binary"))
    steps = ColumnTransformer([("num", numbers, NUMERIC), ("cat", texts, ["Contract", "PaymentMethod", "plan"])], remainder="drop", verbose_feature_names_out=False)
    return make_pipeline(steps, SelectKBest(f_classif, k=6), LogisticRegression(class_weight="balanced", max_iter=300)).set_output(transform="pandas"), frame, y


class DatesToNumbers(BaseEstimator, TransformerMixin):
    """Days since a date, and parts of it."""

    def __init__(self, column: str = "signup", today: str = "2025-06-30") -> None:
        self.column, self.today = column, today

    def fit(self, X: Any, y: Any = None) -> Any:
        self.feature_names_in_ = np.asarray(X.columns, dtype=object)
        return self

    def transform(self, X: Any) -> Any:
        when = pd.to_datetime(X[self.column])
        return X.drop(columns=[self.column]).assign(
            days=(pd.Timestamp(self.today) - when).dt.days, month=when.dt.month, weekend=when.dt.dayofweek.isin([5, 6]).astype(int), year=when.dt.year
        )


@case
def dates_by_a_class() -> Case:
    frame, y = churn()
    frame = frame[["signup", "Contract", "calls", "SeniorCitizen"]]
    steps = ColumnTransformer([("c", OneHotEncoder(), ["Contract", "month"])], remainder=StandardScaler())
    return Pipeline([("dates", DatesToNumbers()), ("prep", steps), ("model", LogisticRegression(max_iter=400))]), frame, y


class Winsor(OneToOneFeatureMixin, BaseEstimator, TransformerMixin):
    """Cuts outliers off at quantiles of the training."""

    def __init__(self, low: float = 0.02, high: float = 0.98) -> None:
        self.low, self.high = low, high

    def fit(self, X: Any, y: Any = None) -> Any:
        X = pd.DataFrame(X)
        self.lower_, self.upper_ = X.quantile(self.low), X.quantile(self.high)
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X: Any) -> Any:
        X = pd.DataFrame(X).copy()
        for name in X.columns:
            X[name] = X[name].clip(self.lower_[name], self.upper_[name])
        return X


@case
def outliers_cut_off() -> Case:
    frame, _ = clients()
    numbers = make_pipeline(SimpleImputer(), Winsor(), PowerTransformer())
    steps = ColumnTransformer([("n", numbers, ["edad", "ingreso mensual", "deuda"]), ("c", OneHotEncoder(handle_unknown="ignore"), ["ciudad"])])
    return make_pipeline(steps, Ridge()), frame, amount(frame)


@case
def outliers_cut_off_at_once() -> Case:
    class Clip(BaseEstimator, TransformerMixin):
        def fit(self, X: Any, y: Any = None) -> Any:
            self.low_ = np.nanpercentile(np.asarray(X, float), 1, axis=0)
            self.high_ = np.nanpercentile(np.asarray(X, float), 99, axis=0)
            return self

        def transform(self, X: Any) -> Any:
            return np.clip(X, self.low_, self.high_)

    frame, _ = clients()
    steps = ColumnTransformer([("n", make_pipeline(SimpleImputer(), Clip(), StandardScaler()), ["edad", "ingreso mensual", "deuda"])])
    return make_pipeline(steps, ElasticNet(alpha=0.1)), frame, amount(frame)


class Frequencies(BaseEstimator, TransformerMixin):
    """The share of each category in the training."""

    def fit(self, X: Any, y: Any = None) -> Any:
        self.maps_ = {name: X[name].value_counts(normalize=True) for name in X.columns}
        return self

    def transform(self, X: Any) -> Any:
        return pd.DataFrame({name: X[name].map(self.maps_[name]).fillna(0.0) for name in X.columns}, index=X.index)

    def get_feature_names_out(self, names: Any = None) -> Any:
        return np.asarray(list(self.maps_), dtype=object)


@case
def frequencies_of_a_class() -> Case:
    frame, y = plain()
    steps = ColumnTransformer([("f", Frequencies(), ["Contract", "InternetService"]), ("n", SimpleImputer(), ["MonthlyCharges", "tenure (months)"])])
    return make_pipeline(steps, HistGradientBoostingClassifier(max_iter=20)), frame, y


class GroupMeans(BaseEstimator, TransformerMixin):
    """A number beside the mean of its group, merged in from the training."""

    def fit(self, X: Any, y: Any = None) -> Any:
        self.means_ = X.groupby("ciudad", as_index=False)["deuda"].mean().rename(columns={"deuda": "media"})
        self.table_ = self.means_.set_index("ciudad")["media"].to_dict()
        self.all_ = float(X["deuda"].mean())
        return self

    def transform(self, X: Any) -> Any:
        mean = X["ciudad"].map(self.table_).fillna(self.all_)
        return pd.DataFrame({"deuda": X["deuda"], "a_media": X["deuda"] - mean, "veces": X["deuda"] / mean})


@case
def beside_the_mean_of_the_group() -> Case:
    frame, y = clients()
    return make_pipeline(GroupMeans(), StandardScaler(), LogisticRegression()), frame[["ciudad", "deuda"]], y


@case
def merged_with_a_table() -> Case:
    class Merged(GroupMeans):
        def transform(self, X: Any) -> Any:
            return X.merge(self.means_, on="ciudad", how="left")[["deuda", "media"]].fillna(self.all_)

    frame, y = clients()
    return make_pipeline(Merged(), StandardScaler(), LogisticRegression()), frame[["ciudad", "deuda"]], y


class ColumnPicker(BaseEstimator, TransformerMixin):
    """The columns by name, of old tutorials."""

    def __init__(self, names: Any) -> None:
        self.names = names

    def fit(self, X: Any, y: Any = None) -> Any:
        return self

    def transform(self, X: Any) -> Any:
        return X[self.names]


@case
def union_of_pickers() -> Case:
    frame, y = plain()
    union = FeatureUnion(
        [
            ("num", Pipeline([("pick", ColumnPicker(["MonthlyCharges", "calls"])), ("fill", SimpleImputer()), ("scale", MinMaxScaler())])),
            ("cat", Pipeline([("pick", ColumnPicker(["Contract", "plan"])), ("hot", OneHotEncoder(handle_unknown="ignore"))])),
        ]
    )
    return Pipeline([("features", union), ("model", ExtraTreesClassifier(15, random_state=0))]), frame, y


@case
def nested_column_transformers() -> Case:
    frame, y = plain()
    inner = ColumnTransformer([("fill", SimpleImputer(), ["MonthlyCharges"]), ("same", "passthrough", ["calls"])])
    outer = ColumnTransformer(
        [
            ("numbers", Pipeline([("inner", inner), ("poly", PolynomialFeatures(2, include_bias=False)), ("scale", StandardScaler())]), ["MonthlyCharges", "calls"]),
            ("texts", OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=0.2), ["Contract", "plan"]),
        ]
    )
    return make_pipeline(outer, LogisticRegression(max_iter=300)), frame, y


@case
def bins_and_crosses() -> Case:
    frame, y = clients()
    bins = make_pipeline(SimpleImputer(), KBinsDiscretizer(5, encode="ordinal", strategy="quantile", subsample=None), OneHotEncoder(handle_unknown="ignore", sparse_output=False))
    cross = make_pipeline(bins, PolynomialFeatures(2, interaction_only=True, include_bias=False))
    return make_pipeline(ColumnTransformer([("x", cross, ["edad", "ingreso mensual"])]), LogisticRegression(max_iter=300)), frame, y


@case
def truths_as_numbers() -> Case:
    frame, y = clients()
    casting = FunctionTransformer(lambda X: X.astype(int), feature_names_out="one-to-one")
    steps = make_column_transformer((casting, make_column_selector(dtype_include="bool")), (StandardScaler(), ["edad", "deuda"]))
    return make_pipeline(steps, DecisionTreeClassifier(max_depth=4)), frame, y


@case
def categories_as_codes() -> Case:
    frame, y = clients()
    codes = FunctionTransformer(lambda X: X.apply(lambda column: column.cat.codes))
    steps = ColumnTransformer([("codes", codes, ["plan"]), ("n", StandardScaler(), ["edad"])])
    return make_pipeline(steps, RandomForestClassifier(8, random_state=0)), frame, y


@case
def mapped_levels() -> Case:
    frame, y = clients()

    def levels(X: pd.DataFrame) -> pd.DataFrame:
        X = X.copy()
        X["plan"] = X["plan"].astype(object).map({"base": 0, "plata": 1, "oro": 2}).fillna(-1).astype(int)
        X["canal"] = X["canal"].fillna("ninguno").replace({"agencia": "persona", "app": "red", "web": "red"})
        X["tramo"] = pd.cut(X["edad"], bins=[0, 25, 40, 65, 120], labels=False, right=False)
        X["log_deuda"] = np.log1p(X["deuda"])
        return X[["plan", "canal", "tramo", "log_deuda"]]

    steps = ColumnTransformer([("c", OneHotEncoder(handle_unknown="ignore"), ["canal"])], remainder="passthrough")
    return make_pipeline(FunctionTransformer(levels), steps, RandomForestClassifier(9, random_state=0)), frame, y


@case
def select_dtypes_inside() -> Case:
    frame, y = clients()
    numbers = FunctionTransformer(lambda X: X.select_dtypes(include=["int64", "float64"]))
    return make_pipeline(numbers, SimpleImputer(), StandardScaler(), LogisticRegression()), frame, y


@case
def values_by_position() -> Case:
    frame, y = clients()
    steps = ColumnTransformer([("n", make_pipeline(SimpleImputer(), StandardScaler()), [0, 1, 2]), ("t", OneHotEncoder(handle_unknown="ignore"), slice(4, 5))])
    return make_pipeline(steps, LogisticRegression()), frame, y


@case
def nullable_to_a_booster() -> Case:
    frame, y = churn()
    data = frame[["tenure (months)", "MonthlyCharges", "SeniorCitizen", "calls"]]
    return HistGradientBoostingClassifier(max_iter=15), data, y


@case
def ordinal_of_ordered() -> Case:
    frame, y = plain()
    encoder = OrdinalEncoder(categories=[["s", "m", "l"], ["Month-to-month", "One year", "Two year"]], handle_unknown="use_encoded_value", unknown_value=np.nan)
    steps = ColumnTransformer([("o", make_pipeline(encoder, SimpleImputer(strategy="most_frequent")), ["plan", "Contract"])], remainder="drop")
    return make_pipeline(steps, LogisticRegression()), frame, y


@case
def drop_first_and_scaled() -> Case:
    frame, y = plain()
    steps = ColumnTransformer([("c", OneHotEncoder(drop="first"), ["Contract", "plan", "PaperlessBilling"]), ("n", QuantileTransformer(n_quantiles=30), ["calls"])], remainder="drop")
    return make_pipeline(steps, LogisticRegression(C=10)), frame, y


@case
def nearest_rows_fill() -> Case:
    frame, _ = clients()
    frame = frame[["edad", "ingreso mensual", "deuda"]].assign(edad=frame["edad"] + np.random.default_rng(0).random(len(frame)))
    return make_pipeline(StandardScaler(), KNNImputer(n_neighbors=4, weights="distance"), Ridge()), frame, amount(clients()[0])


@case
def a_search_of_everything() -> Case:
    frame, y = plain()
    pipeline = by_type(LogisticRegression(max_iter=300))
    grid = {"logisticregression": [LogisticRegression(max_iter=300), RandomForestClassifier(8, random_state=0)]}
    return GridSearchCV(pipeline, grid, cv=2, refit=True), frame.drop(columns="InternetService"), y


@case
def information_and_components() -> Case:
    frame, y = clients()
    chosen = SelectKBest(lambda X, y: mutual_info_classif(X, y, random_state=0), k=6)
    return make_pipeline(prepared(), chosen, PCA(3), LinearSVC()), frame, y


@case
def decimals_and_objects() -> Case:
    frame, y = clients()
    frame = frame[["edad", "deuda", "moroso"]].astype(object)
    steps = ColumnTransformer([("n", make_pipeline(SimpleImputer(), StandardScaler()), ["edad", "deuda"]), ("b", OneHotEncoder(), ["moroso"])])
    return make_pipeline(steps, LogisticRegression()), frame, y


@case
def whole_numbers_as_categories() -> Case:
    frame, y = clients()
    frame = frame.assign(region=pd.Series(np.random.default_rng(8).integers(1, 9, len(frame)), dtype="int32"), zona=pd.Categorical(np.random.default_rng(9).integers(1, 4, len(frame))))
    steps = ColumnTransformer([("c", OneHotEncoder(max_categories=4, handle_unknown="infrequent_if_exist"), ["region", "zona"]), ("n", StandardScaler(), ["edad"])])
    return make_pipeline(steps, LinearSVC()), frame[["region", "zona", "edad"]], y


@case
def none_as_a_category() -> Case:
    frame, y = churn()
    steps = ColumnTransformer([("c", OneHotEncoder(handle_unknown="ignore"), ["InternetService"]), ("n", StandardScaler(), ["calls"])])
    return make_pipeline(steps, RandomForestClassifier(8, random_state=0)), frame, y


@case
def linear_behind_dates() -> Case:
    frame, _ = churn()
    days = FunctionTransformer(lambda X: (X - pd.Timestamp("2018-01-01")) / pd.Timedelta(days=1))
    seasons = FunctionTransformer(lambda X: pd.DataFrame({"s": np.sin(2 * np.pi * X["signup"].dt.month / 12), "c": np.cos(2 * np.pi * X["signup"].dt.month / 12)}))
    steps = ColumnTransformer([("d", days, ["signup"]), ("s", seasons, ["signup"]), ("n", "passthrough", ["calls"])])
    return make_pipeline(steps, StandardScaler(), LinearRegression()), frame, frame["calls"] * 3.0


@case
def forest_of_single_floats() -> Case:
    frame, _ = clients()
    data = frame[["edad", "deuda"]].astype(np.float32)
    return make_pipeline(MinMaxScaler(), RandomForestRegressor(15, random_state=0)), data, amount(frame)


optional("xgboost_of_nullable", "xgboost", lambda x: (x.XGBClassifier(n_estimators=12), churn()[0][NUMERIC], (churn()[1] == "Yes").astype(int)))
optional("xgboost_quantile", "xgboost", lambda x: (make_pipeline(prepared(), x.XGBRegressor(n_estimators=12, objective="reg:quantileerror", quantile_alpha=0.8)), clients()[0], amount(clients()[0])))
optional("xgboost_weighted", "xgboost", lambda x: (make_pipeline(prepared(), x.XGBClassifier(n_estimators=12, scale_pos_weight=3, max_depth=3)), *clients()))
optional("xgboost_forest", "xgboost", lambda x: (make_pipeline(prepared(), x.XGBRFClassifier(n_estimators=12)), *clients()))
optional("lightgbm_of_frames", "lightgbm", lambda x: (make_pipeline(ColumnTransformer([("o", OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), ["Contract", "plan"])], remainder="passthrough", verbose_feature_names_out=False).set_output(transform="pandas"), x.LGBMClassifier(n_estimators=12, verbose=-1, class_weight="balanced")), plain()[0][["Contract", "plan", "calls", "MonthlyCharges"]], plain()[1]))
optional("lightgbm_quantile", "lightgbm", lambda x: (make_pipeline(prepared(), x.LGBMRegressor(objective="quantile", alpha=0.9, n_estimators=12, verbose=-1)), clients()[0], amount(clients()[0])))
optional("lightgbm_tweedie", "lightgbm", lambda x: (make_pipeline(prepared(), x.LGBMRegressor(objective="tweedie", n_estimators=12, verbose=-1)), clients()[0], amount(clients()[0])))
optional("lightgbm_dart", "lightgbm", lambda x: (make_pipeline(prepared(), x.LGBMClassifier(boosting_type="dart", n_estimators=12, verbose=-1)), *clients()))
optional("catboost_of_types", "catboost", lambda x: (x.CatBoostClassifier(iterations=15, verbose=0, cat_features=["Contract", "plan"], allow_writing_files=False), plain()[0][["Contract", "plan", "calls", "MonthlyCharges"]], plain()[1]))
optional("catboost_quantile", "catboost", lambda x: (make_pipeline(prepared(), x.CatBoostRegressor(iterations=15, verbose=0, loss_function="Quantile:alpha=0.9", allow_writing_files=False)), clients()[0], amount(clients()[0])))
optional("catboost_several", "catboost", lambda x: (make_pipeline(prepared(), x.CatBoostRegressor(iterations=15, verbose=0, loss_function="MultiRMSE", allow_writing_files=False)), clients()[0], np.c_[amount(clients()[0]), clients()[0]["deuda"]]))
optional("oversampled", "imblearn", lambda x: (__import__("imblearn.pipeline", fromlist=["*"]).make_pipeline(prepared(), __import__("imblearn.over_sampling", fromlist=["*"]).SMOTE(random_state=0), LogisticRegression(max_iter=300)), *clients()))
optional("easy_ensemble", "imblearn", lambda x: (make_pipeline(prepared(), __import__("imblearn.ensemble", fromlist=["*"]).EasyEnsembleClassifier(3, random_state=0)), *clients()))
optional("lightgbm_of_cast_categories", "lightgbm", lambda x: (make_pipeline(FunctionTransformer(lambda X: X.assign(Contract=X["Contract"].astype("category"))), x.LGBMClassifier(n_estimators=10, verbose=-1)), plain()[0][["Contract", "calls"]], plain()[1]))
