"""Pipelines of other libraries, where these are installed."""

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import RandomForestClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression

from .data import amount, classified, clients, grades, optional, prepared, regressed

optional("xgboost_three", "xgboost", lambda x: classified(x.XGBClassifier(n_estimators=15), lambda f: grades(f).map({"bajo": 0, "medio": 1, "alto": 2})))
optional("xgboost_categories", "xgboost", lambda x: (x.XGBRegressor(n_estimators=15, enable_categorical=True), clients()[0][["edad", "deuda", "plan", "ingreso mensual"]], amount(clients()[0])))
optional("xgboost_in_voting", "xgboost", lambda x: classified(VotingClassifier([("x", x.XGBClassifier(n_estimators=9)), ("l", LogisticRegression(max_iter=300))], voting="soft")))
optional("xgboost_calibrated", "xgboost", lambda x: classified(CalibratedClassifierCV(x.XGBClassifier(n_estimators=9), cv=2, method="isotonic")))
optional("lightgbm_text_classes", "lightgbm", lambda x: classified(x.LGBMClassifier(n_estimators=15, verbose=-1), grades))
optional("lightgbm_categories", "lightgbm", lambda x: (x.LGBMRegressor(n_estimators=15, verbose=-1), clients()[0][["edad", "deuda", "plan", "ingreso mensual"]], amount(clients()[0])))
optional("lightgbm_target", "lightgbm", lambda x: regressed(TransformedTargetRegressor(x.LGBMRegressor(n_estimators=15, verbose=-1), func=np.log1p, inverse_func=np.expm1)))
optional("catboost_categories", "catboost", lambda x: (x.CatBoostClassifier(iterations=25, verbose=0, cat_features=["ciudad", "moroso"], allow_writing_files=False), clients()[0][["edad", "ciudad", "deuda", "moroso"]].astype({"moroso": str}), clients()[1]))
optional("catboost_three", "catboost", lambda x: classified(x.CatBoostClassifier(iterations=20, verbose=0, allow_writing_files=False), grades))
optional("sampler", "imblearn", lambda x: (__import__("imblearn.pipeline", fromlist=["*"]).make_pipeline(prepared(), __import__("imblearn.under_sampling", fromlist=["*"]).RandomUnderSampler(random_state=0), RandomForestClassifier(9, random_state=0)), *clients()))
optional("balanced_forest", "imblearn", lambda x: classified(__import__("imblearn.ensemble", fromlist=["*"]).BalancedRandomForestClassifier(9, random_state=0, sampling_strategy="all", replacement=True, bootstrap=False)))
