"""Several targets."""

import numpy as np
import pandas as pd
from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.multioutput import (
    ClassifierChain,
    MultiOutputClassifier,
    MultiOutputRegressor,
    RegressorChain,
)

from .data import Case, amount, case, classified, grades, regressed


@case
def several_regressors() -> Case:
    return regressed(MultiOutputRegressor(GradientBoostingRegressor(n_estimators=8)), lambda f: pd.DataFrame({"a": amount(f), "b": f["deuda"] * 2.0}))


@case
def several_classifiers() -> Case:
    return classified(MultiOutputClassifier(LogisticRegression(max_iter=300)), lambda f: pd.DataFrame({"a": (f["edad"] > 50).astype(int), "b": f["moroso"].astype(int)}))


@case
def several_targets_of_a_forest() -> Case:
    return classified(RandomForestClassifier(8, random_state=0), lambda f: pd.DataFrame({"a": grades(f), "b": np.where(f["moroso"], "sí", "no")}))


@case
def chain_of_regressors() -> Case:
    return regressed(RegressorChain(Ridge(), order=[1, 0]), lambda f: pd.DataFrame({"a": amount(f), "b": f["deuda"] * 2.0}))


@case
def chain_of_classifiers() -> Case:
    return classified(ClassifierChain(LogisticRegression(max_iter=300)), lambda f: np.c_[(f["edad"] > 50).astype(int), f["moroso"].astype(int)])
