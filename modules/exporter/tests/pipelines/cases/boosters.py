"""Boosters with options that change how trees are summed and what is missing."""

from typing import Any

import numpy as np
import pandas as pd

from .data import Case, clients, optional


def numbers() -> tuple[pd.DataFrame, pd.Series]:
    """Numbers with zeros and missing values."""
    frame, y = clients()
    data = frame[["edad", "deuda", "ingreso mensual"]].assign(visitas=np.random.default_rng(8).poisson(0.7, len(frame)) - 1.0)
    return data, y


def lightgbm_of(**options: Any) -> Any:
    def make(library: Any) -> Case:
        data, y = numbers()
        return library.LGBMClassifier(n_estimators=15, verbose=-1, n_jobs=1, **options), data, y

    return make


def regressor_of(**options: Any) -> Any:
    def make(library: Any) -> Case:
        data, _ = numbers()
        return library.LGBMRegressor(n_estimators=15, verbose=-1, n_jobs=1, **options), data, data["deuda"] + data["edad"]

    return make


optional("lightgbm_forest", "lightgbm", lightgbm_of(boosting_type="rf", subsample_freq=1, subsample=0.6))
optional("lightgbm_forest_regressor", "lightgbm", regressor_of(boosting_type="rf", subsample_freq=1, subsample=0.6))
optional("lightgbm_zero_as_missing", "lightgbm", lightgbm_of(zero_as_missing=True))
optional("lightgbm_root_of_target", "lightgbm", regressor_of(reg_sqrt=True))
optional("xgboost_dart", "xgboost", lambda x: (x.XGBClassifier(booster="dart", n_estimators=12, rate_drop=0.3, n_jobs=1), *numbers()))
