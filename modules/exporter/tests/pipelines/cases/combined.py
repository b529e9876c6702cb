"""Estimators of estimators, quantiles, several labels and targets, behind the usual preprocessing."""

import numpy as np
import pandas as pd
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import (
    ColumnTransformer,
    TransformedTargetRegressor,
)
from sklearn.ensemble import (
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
)
from sklearn.linear_model import (
    Lasso,
    LogisticRegression,
    QuantileRegressor,
    RANSACRegressor,
    RidgeClassifierCV,
    RidgeCV,
    TweedieRegressor,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier, MultiOutputRegressor
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    OrdinalEncoder,
    QuantileTransformer,
)
from sklearn.svm import SVC, LinearSVC

from .data import TEXTS, Case, amount, case, clients, grades, prepared


@case
def calibrated_svc() -> Case:
    frame, y = clients()
    return make_pipeline(prepared(), CalibratedClassifierCV(SVC(), cv=3, method="isotonic")), frame, y


@case
def calibrated_around_a_pipeline() -> Case:
    frame, y = clients()
    return CalibratedClassifierCV(make_pipeline(prepared(), RandomForestClassifier(8, random_state=0)), cv=3), frame, y


@case
def stacking_of_pipelines() -> Case:
    frame, y = clients()
    members = [
        ("rf", make_pipeline(prepared(), RandomForestClassifier(8, random_state=0))),
        ("lr", make_pipeline(prepared(), LogisticRegression(max_iter=300))),
        ("hgb", make_pipeline(ColumnTransformer([("o", OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), TEXTS)], remainder="passthrough"), HistGradientBoostingClassifier(max_iter=10))),
    ]
    return StackingClassifier(members, final_estimator=LogisticRegression(), cv=3), frame.drop(columns="hijos"), y


@case
def voting_of_pipelines() -> Case:
    frame, _ = clients()
    members = [("a", make_pipeline(prepared(), SVC(probability=True, random_state=0))), ("b", make_pipeline(prepared(), MLPClassifier((8,), max_iter=60, random_state=0)))]
    return VotingClassifier(members, voting="soft"), frame, grades(frame)


@case
def stacked_regressors_behind_a_target() -> Case:
    frame, _ = clients()
    inner = StackingRegressor([("ridge", RidgeCV()), ("gb", GradientBoostingRegressor(n_estimators=10, random_state=0))], final_estimator=Lasso())
    return TransformedTargetRegressor(make_pipeline(prepared(), inner), transformer=QuantileTransformer(n_quantiles=60)), frame, amount(frame)


@case
def quantiles_of_boosting() -> Case:
    frame, _ = clients()
    return make_pipeline(prepared(), GradientBoostingRegressor(loss="quantile", alpha=0.9, n_estimators=15, random_state=0)), frame, amount(frame)


@case
def quantiles_of_hist() -> Case:
    frame, _ = clients()
    return make_pipeline(prepared(), HistGradientBoostingRegressor(loss="quantile", quantile=0.1, max_iter=15)), frame, amount(frame)


@case
def quantiles_linear() -> Case:
    frame, _ = clients()
    return make_pipeline(prepared(), QuantileRegressor(quantile=0.75, alpha=0.01)), frame, amount(frame)


@case
def several_quantiles() -> Case:
    frame, _ = clients()
    Y = pd.DataFrame({"p": amount(frame), "q": frame["deuda"] * 1.5})
    return make_pipeline(prepared(), MultiOutputRegressor(HistGradientBoostingRegressor(max_iter=10))), frame, Y


@case
def several_labels_a_row() -> Case:
    frame, _ = clients()
    Y = np.c_[frame["edad"] > 50, frame["moroso"], frame["deuda"] > 900].astype(int)
    return make_pipeline(prepared(), RandomForestClassifier(8, random_state=0)), frame, Y


@case
def several_labels_of_a_network() -> Case:
    frame, _ = clients()
    Y = np.c_[frame["edad"] > 50, frame["moroso"]].astype(int)
    return make_pipeline(prepared(), MLPClassifier((8,), max_iter=50, random_state=0)), frame, Y


@case
def several_labels_one_by_one() -> Case:
    frame, _ = clients()
    Y = np.c_[frame["edad"] > 50, frame["moroso"], frame["deuda"] > 900].astype(int)
    return make_pipeline(prepared(), OneVsRestClassifier(LinearSVC())), frame, Y


@case
def several_labels_likely() -> Case:
    frame, _ = clients()
    Y = np.c_[frame["edad"] > 50, frame["moroso"], frame["deuda"] > 900].astype(int)
    return make_pipeline(prepared(), OneVsRestClassifier(LogisticRegression(max_iter=200))), frame, Y


@case
def several_texts_to_tell() -> Case:
    frame, _ = clients()
    Y = pd.DataFrame({"nota": grades(frame), "moroso": np.where(frame["moroso"], "sí", "no")})
    return make_pipeline(prepared(), MultiOutputClassifier(LogisticRegression(max_iter=200))), frame, Y


@case
def chain_of_forests() -> Case:
    frame, _ = clients()
    Y = np.c_[frame["edad"] > 50, frame["moroso"]].astype(int)
    return make_pipeline(prepared(), ClassifierChain(RandomForestClassifier(6, random_state=0), order=[1, 0])), frame, Y


@case
def ransac() -> Case:
    frame, _ = clients()
    return make_pipeline(prepared(), RANSACRegressor(random_state=0)), frame, amount(frame)


@case
def tweedie_of_counts() -> Case:
    frame, _ = clients()
    return make_pipeline(prepared(), TweedieRegressor(power=0, link="log", max_iter=300)), frame, (amount(frame) / 1000)


@case
def ridge_classes_cv() -> Case:
    frame, _ = clients()
    return make_pipeline(prepared(), RidgeClassifierCV()), frame, grades(frame)
