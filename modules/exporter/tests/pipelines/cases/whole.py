"""Encoders and searches as they stand in whole pipelines."""

import numpy as np
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor, make_column_selector
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler

from .data import TEXTS, Case, amount, case, classified, clients, grades, prepared


@case
def frame_as_it_is() -> Case:
    frame, y = clients()
    numbers = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    steps = ColumnTransformer(
        [
            ("n", numbers, make_column_selector(dtype_include="number")),
            ("t", OneHotEncoder(handle_unknown="ignore"), TEXTS),
            ("b", "passthrough", ["moroso"]),
        ]
    )
    return make_pipeline(steps, LogisticRegression(max_iter=500)), frame, y


@case
def truths_among_texts() -> Case:
    frame, y = clients()
    texts = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore", drop="if_binary"))
    steps = ColumnTransformer([("t", texts, [*TEXTS, "moroso"])], remainder="drop")
    return make_pipeline(steps, RandomForestClassifier(9, random_state=0)), frame, y


@case
def target_encoder() -> Case:
    from sklearn.preprocessing import TargetEncoder

    frame, y = clients()
    steps = ColumnTransformer([("t", TargetEncoder(random_state=0), TEXTS), ("n", "passthrough", ["edad"])])
    return make_pipeline(steps, LogisticRegression(max_iter=500)), frame, y


@case
def target_encoder_three() -> Case:
    from sklearn.preprocessing import TargetEncoder

    frame, _ = clients()
    steps = ColumnTransformer([("t", TargetEncoder(random_state=0), ["ciudad", "canal"]), ("n", StandardScaler(), ["edad"])])
    return make_pipeline(steps, RandomForestClassifier(9, random_state=0)), frame, grades(frame)


@case
def ordinal_infrequent() -> Case:
    frame, y = clients()
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2, min_frequency=80)
    steps = ColumnTransformer([("t", encoder, TEXTS), ("n", "passthrough", ["edad", "deuda"])])
    return make_pipeline(steps, GradientBoostingClassifier(n_estimators=20)), frame, y


@case
def one_hot_then_scaled() -> Case:
    frame, y = clients()
    inner = make_pipeline(OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=3, sparse_output=False), StandardScaler())
    return make_pipeline(ColumnTransformer([("t", inner, ["ciudad", "canal"]), ("n", StandardScaler(), ["edad"])]), LogisticRegression()), frame, y


@case
def question_marks() -> Case:
    frame, y = clients()
    frame["canal"] = frame["canal"].fillna("?").astype(object)
    inner = make_pipeline(SimpleImputer(missing_values="?", strategy="most_frequent"), OneHotEncoder())
    return make_pipeline(ColumnTransformer([("i", inner, ["canal"]), ("n", StandardScaler(), ["edad"])]), LogisticRegression()), frame, y


@case
def search_of_a_pipeline() -> Case:
    frame, y = clients()
    return GridSearchCV(make_pipeline(prepared(), LogisticRegression(max_iter=300)), {"logisticregression__C": [0.1, 1.0]}, cv=2), frame, y


@case
def random_search_within() -> Case:
    return classified(RandomizedSearchCV(RandomForestClassifier(8, random_state=0), {"max_depth": [3, 5]}, n_iter=2, cv=2, random_state=0))


@case
def truths_as_classes() -> Case:
    return classified(HistGradientBoostingClassifier(max_iter=15), lambda f: f["moroso"])


@case
def threshold_fixed() -> Case:
    from sklearn.model_selection import FixedThresholdClassifier

    return classified(FixedThresholdClassifier(LogisticRegression(max_iter=300), threshold=0.3))


@case
def threshold_tuned() -> Case:
    from sklearn.model_selection import TunedThresholdClassifierCV

    return classified(TunedThresholdClassifierCV(LogisticRegression(max_iter=300), cv=3, thresholds=20))


@case
def target_outside() -> Case:
    frame, _ = clients()
    return TransformedTargetRegressor(make_pipeline(prepared(), Ridge()), func=np.sqrt, inverse_func=np.square), frame, amount(frame)


@case
def hist_of_types() -> Case:
    frame, y = clients()
    for name in ("ciudad", "canal"):
        frame[name] = frame[name].astype("category")
    return HistGradientBoostingClassifier(max_iter=15, categorical_features="from_dtype"), frame.drop(columns="hijos"), y


@case
def pandas_output() -> Case:
    frame, y = clients()
    steps = make_pipeline(prepared(), FunctionTransformer(lambda X: X.assign(cruce=X["numbers__edad"] * X["numbers__deuda"])))
    steps.set_output(transform="pandas")
    for _, inner, _ in steps.steps[0][1].transformers:
        inner.steps[-1][1].set_params(**({"sparse_output": False} if "sparse_output" in inner.steps[-1][1].get_params() else {}))
    return make_pipeline(steps, LogisticRegression(max_iter=300)), frame, y
