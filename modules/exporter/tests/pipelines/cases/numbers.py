"""Steps over numbers, and estimators of numbers alone."""

import numpy as np
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.ensemble import IsolationForest, RandomForestClassifier

from sklearn.experimental import enable_iterative_imputer  # noqa: F401  isort: skip
from sklearn.feature_selection import (
    RFE,
    SelectFromModel,
    SelectKBest,
    SelectPercentile,
    VarianceThreshold,
    f_classif,
)
from sklearn.impute import IterativeImputer
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import FeatureUnion, make_pipeline, make_union
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    SplineTransformer,
    StandardScaler,
)
from sklearn.svm import OneClassSVM

from .data import amount, clients, grades, of_numbers, prepared, simple

for _name, _steps in {
    "robust": lambda: (RobustScaler(),),
    "min_max_clip": lambda: (MinMaxScaler(clip=True),),
    "max_abs_poly": lambda: (MaxAbsScaler(), PolynomialFeatures(3, interaction_only=True)),
    "normalizer": lambda: (StandardScaler(), Normalizer("l1")),
    "binarizer": lambda: (StandardScaler(), Binarizer(threshold=0.2)),
    "kbins_kmeans": lambda: (KBinsDiscretizer(5, strategy="kmeans", random_state=0),),
    "kbins_dense": lambda: (KBinsDiscretizer(4, encode="onehot-dense", strategy="uniform"),),
    "power_box_cox": lambda: (FunctionTransformer(np.abs), FunctionTransformer(lambda X: X + 1), PowerTransformer("box-cox")),
    "quantile_normal": lambda: (QuantileTransformer(n_quantiles=60, output_distribution="normal"),),
    "quantile_uniform": lambda: (QuantileTransformer(n_quantiles=600),),
    "spline_linear": lambda: (SplineTransformer(n_knots=4, extrapolation="linear"),),
    "spline_continue": lambda: (SplineTransformer(degree=2, extrapolation="continue", include_bias=False),),
    "spline_periodic": lambda: (SplineTransformer(extrapolation="periodic"),),
    "spline_quantile": lambda: (SplineTransformer(knots="quantile", degree=1),),
    "pca_whiten": lambda: (StandardScaler(), PCA(2, whiten=True)),
    "svd": lambda: (StandardScaler(), TruncatedSVD(2)),
    "union": lambda: (make_union(StandardScaler(), PCA(2), make_pipeline(MinMaxScaler(), PolynomialFeatures(2))),),
    "union_weights": lambda: (StandardScaler(), FeatureUnion([("a", PCA(1)), ("b", SelectKBest(f_classif, k=1))], transformer_weights={"a": 2.0})),
    "select_percentile": lambda: (StandardScaler(), SelectPercentile(f_classif, percentile=70)),
    "select_from_model": lambda: (SelectFromModel(RandomForestClassifier(9, random_state=0)),),
    "rfe": lambda: (StandardScaler(), RFE(LogisticRegression(), n_features_to_select=2)),
    "variance_threshold": lambda: (VarianceThreshold(), StandardScaler()),
    "kmeans_features": lambda: (StandardScaler(), KMeans(3, n_init=2, random_state=0)),
    "lda_features": lambda: (StandardScaler(), LinearDiscriminantAnalysis()),
    "iterative_imputer": lambda: (IterativeImputer(random_state=0, max_iter=3), StandardScaler()),
    "clip_ufunc": lambda: (FunctionTransformer(np.clip, kw_args={"a_min": 0, "a_max": 700}), StandardScaler()),
    "sqrt_of_abs": lambda: (FunctionTransformer(lambda X: np.sqrt(np.abs(X))), StandardScaler()),
    "log1p": lambda: (FunctionTransformer(lambda X: np.log1p(X.clip(lower=0))), StandardScaler()),
    "cyclic": lambda: (FunctionTransformer(lambda X: np.column_stack([np.sin(X["edad"] / 12), np.cos(X["edad"] / 12), X["deuda"]])), StandardScaler()),
}.items():  # fmt: skip
    simple(_name, lambda steps=_steps: of_numbers(*steps(), LogisticRegression(max_iter=500)))

simple("mixture", lambda: (make_pipeline(StandardScaler(), GaussianMixture(3, random_state=0)), clients()[0][["edad", "deuda"]], None))
simple("mini_batch_kmeans", lambda: (make_pipeline(StandardScaler(), MiniBatchKMeans(4, random_state=0, n_init=2)), clients()[0][["edad", "deuda"]], None))
simple("one_class_svm", lambda: (make_pipeline(StandardScaler(), OneClassSVM(nu=0.1)), clients()[0][["edad", "deuda"]], None))
simple("isolation_forest", lambda: (make_pipeline(prepared(), IsolationForest(n_estimators=20, random_state=0)), clients()[0], None))
simple("qda", lambda: of_numbers(StandardScaler(), QuadraticDiscriminantAnalysis()))
simple("qda_three", lambda: (lambda f: (make_pipeline(StandardScaler(), QuadraticDiscriminantAnalysis()), f[["edad", "deuda"]], grades(f)))(clients()[0]))
simple("isotonic", lambda: (IsotonicRegression(out_of_bounds="clip"), clients()[0][["deuda"]], amount(clients()[0])))
