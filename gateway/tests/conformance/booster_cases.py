"""XGBoost and LightGBM, as onnxmltools writes them."""

import lightgbm
import numpy as np
import onnxmltools
import xgboost
from onnxmltools.convert.common.data_types import FloatTensorType

from case import case
from sklearn_cases import FEATURES, ROWS, X, XN, Y2, Y3, YR

INITIAL = [("X", FloatTensorType([None, FEATURES]))]
RNG = np.random.default_rng(5)
CATEGORIES = np.column_stack([RNG.integers(0, 12, 240), X[:, 0]]).astype(np.float32)
YC = np.isin(CATEGORIES[:, 0], [1, 3, 7, 8]).astype(np.int64) ^ (X[:, 0] > 1)


def xgb(name, model, y, x=X, scores=True, family="classifier", tolerance=1e-4, initial=INITIAL, **fit):
    model.fit(x, y, **fit)
    rows = x[-ROWS:]

    def library():
        if family == "classifier":
            return [model.predict(rows), model.predict_proba(rows)]
        return [model.predict(rows).reshape(ROWS, -1)]

    # onnxmltools knows no ranker: its trees are those of a regressor.
    told = model
    if isinstance(model, xgboost.XGBRanker):
        told = xgboost.XGBRegressor()
        told.load_model(model.get_booster().save_raw())
    convert = lambda: onnxmltools.convert_xgboost(told, initial_types=initial, target_opset=15)
    case(name, family, convert, {"X": rows}, library, tolerance)


def lgbm(name, model, y, x=X, family="classifier", tolerance=1e-4, initial=INITIAL, zipmap=False, **fit):
    model.fit(x, y, **fit)
    rows = x[-ROWS:]

    def library():
        if family == "classifier":
            return [model.predict(rows), model.predict_proba(rows)]
        return [model.predict(rows).reshape(ROWS, -1)]

    convert = lambda: onnxmltools.convert_lightgbm(model, initial_types=initial, target_opset=15, zipmap=zipmap)
    case(name, family, convert, {"X": rows}, library, tolerance)


def main():
    small = {"n_estimators": 8, "max_depth": 3, "random_state": 0}
    xgb("xgboost_classifier_binary", xgboost.XGBClassifier(**small), Y2)
    xgb("xgboost_classifier_multi", xgboost.XGBClassifier(**small), Y3)
    xgb("xgboost_classifier_missing", xgboost.XGBClassifier(**small), Y2, XN)
    xgb("xgboost_classifier_missing_multi", xgboost.XGBClassifier(**small), Y3, XN)
    xgb("xgboost_forest_classifier", xgboost.XGBRFClassifier(**small), Y2)
    xgb("xgboost_regressor", xgboost.XGBRegressor(**small), YR, family="regressor")
    xgb("xgboost_regressor_missing", xgboost.XGBRegressor(**small), YR, XN, family="regressor")
    xgb("xgboost_regressor_logistic", xgboost.XGBRegressor(objective="reg:logistic", **small), Y2, family="regressor")
    xgb("xgboost_regressor_poisson", xgboost.XGBRegressor(objective="count:poisson", **small), np.abs(YR), family="regressor")
    xgb("xgboost_forest_regressor", xgboost.XGBRFRegressor(**small), YR, family="regressor")
    groups = {"group": [24] * 10}
    xgb("xgboost_ranker", xgboost.XGBRanker(**small), Y3, family="ranker", **groups)
    quiet = small | {"verbose": -1, "min_child_samples": 5}
    lgbm("lightgbm_classifier_binary", lightgbm.LGBMClassifier(**quiet), Y2)
    lgbm("lightgbm_classifier_multi", lightgbm.LGBMClassifier(**quiet), Y3)
    lgbm("lightgbm_classifier_zipmap", lightgbm.LGBMClassifier(**quiet), Y3, zipmap=True)
    lgbm("lightgbm_classifier_missing", lightgbm.LGBMClassifier(**quiet), Y2, XN)
    lgbm("lightgbm_classifier_missing_multi", lightgbm.LGBMClassifier(**quiet), Y3, XN)
    lgbm("lightgbm_classifier_ova", lightgbm.LGBMClassifier(objective="multiclassova", **quiet), Y3)
    lgbm("lightgbm_forest", lightgbm.LGBMClassifier(boosting_type="rf", subsample=0.7, subsample_freq=1, **quiet), Y2)
    lgbm("lightgbm_dart", lightgbm.LGBMClassifier(boosting_type="dart", **quiet), Y2)
    lgbm("lightgbm_regressor", lightgbm.LGBMRegressor(**quiet), YR, family="regressor")
    lgbm("lightgbm_regressor_missing", lightgbm.LGBMRegressor(**quiet), YR, XN, family="regressor")
    lgbm("lightgbm_regressor_poisson", lightgbm.LGBMRegressor(objective="poisson", **quiet), np.abs(YR), family="regressor")
    lgbm("lightgbm_regressor_gamma", lightgbm.LGBMRegressor(objective="gamma", **quiet), np.abs(YR) + 0.1, family="regressor")
    lgbm("lightgbm_ranker", lightgbm.LGBMRanker(**quiet), Y3, family="ranker", **groups)
    initial = [("X", FloatTensorType([None, 2]))]
    lgbm("lightgbm_categories", lightgbm.LGBMClassifier(**quiet, min_data_per_group=5, cat_smooth=1), YC, CATEGORIES,
         initial=initial, categorical_feature=[0])
