"""Every estimator behind the usual preprocessing."""

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.cross_decomposition import PLSRegression
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    BaggingRegressor,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Matern, WhiteKernel
from sklearn.linear_model import (
    BayesianRidge,
    ElasticNetCV,
    GammaRegressor,
    HuberRegressor,
    Lasso,
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    Perceptron,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
    SGDRegressor,
    TweedieRegressor,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import BernoulliNB, GaussianNB
from sklearn.neighbors import KNeighborsRegressor, NearestCentroid
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import PowerTransformer, QuantileTransformer, StandardScaler
from sklearn.svm import SVC, SVR, LinearSVC, LinearSVR, NuSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from .data import classified, grades, regressed, simple

for _name, _model in {
    "logistic_l1": lambda: LogisticRegression(penalty="l1", solver="liblinear"),
    "logistic_cv": lambda: LogisticRegressionCV(Cs=3, max_iter=300),
    "sgd_log": lambda: SGDClassifier(loss="log_loss", random_state=0),
    "sgd_modified_huber": lambda: SGDClassifier(loss="modified_huber", random_state=0),
    "perceptron": lambda: Perceptron(random_state=0),
    "ridge_classifier": lambda: RidgeClassifier(),
    "linear_svc": lambda: LinearSVC(),
    "lda": lambda: LinearDiscriminantAnalysis(),
    "gaussian_nb": lambda: GaussianNB(),
    "bernoulli_nb": lambda: BernoulliNB(),
    "svc": lambda: SVC(),
    "svc_poly": lambda: SVC(kernel="poly"),
    "nu_svc": lambda: NuSVC(),
    "mlp_classifier": lambda: MLPClassifier(hidden_layer_sizes=(16,), max_iter=80, random_state=0),
    "tree": lambda: DecisionTreeClassifier(max_depth=5, random_state=0),
    "forest": lambda: RandomForestClassifier(15, random_state=0),
    "extra_trees": lambda: ExtraTreesClassifier(15, random_state=0),
    "gradient_boosting": lambda: GradientBoostingClassifier(n_estimators=20, random_state=0),
    "hist": lambda: HistGradientBoostingClassifier(max_iter=20, random_state=0),
    "ada_boost": lambda: AdaBoostClassifier(n_estimators=10, random_state=0),
    "bagging": lambda: BaggingClassifier(n_estimators=6, random_state=0, max_features=0.7),
    "dummy": lambda: DummyClassifier(strategy="prior"),
    "calibrated_sigmoid": lambda: CalibratedClassifierCV(LinearSVC(), cv=3),
    "calibrated_isotonic": lambda: CalibratedClassifierCV(RandomForestClassifier(10, random_state=0), method="isotonic", cv=3),
    "one_vs_rest": lambda: OneVsRestClassifier(LogisticRegression(max_iter=300)),
    "nearest_centroid": lambda: NearestCentroid(),
    "voting_hard": lambda: VotingClassifier([("a", LogisticRegression(max_iter=300)), ("b", DecisionTreeClassifier(max_depth=3)), ("c", GaussianNB())]),
    "voting_soft_weights": lambda: VotingClassifier([("a", LogisticRegression(max_iter=300)), ("b", RandomForestClassifier(9, random_state=0))], voting="soft", weights=[1, 3]),
    "stacking": lambda: StackingClassifier([("a", RandomForestClassifier(9, random_state=0)), ("b", LinearSVC())], passthrough=True, final_estimator=LogisticRegression(max_iter=500)),
}.items():  # fmt: skip
    simple(_name, lambda model=_model: classified(model()))
    if _name not in ("bernoulli_nb", "logistic_l1"):
        simple(f"{_name}_three", lambda model=_model: classified(model(), grades))

for _name, _model in {
    "linear": lambda: LinearRegression(),
    "lasso": lambda: Lasso(),
    "elastic_net_cv": lambda: ElasticNetCV(cv=3),
    "bayesian_ridge": lambda: BayesianRidge(),
    "huber": lambda: HuberRegressor(max_iter=500),
    "sgd_regressor": lambda: SGDRegressor(random_state=0),
    "linear_svr": lambda: LinearSVR(),
    "poisson": lambda: PoissonRegressor(max_iter=300),
    "gamma": lambda: GammaRegressor(max_iter=300),
    "tweedie": lambda: TweedieRegressor(power=1.5, max_iter=300),
    "svr": lambda: SVR(C=100),
    "mlp_regressor": lambda: MLPRegressor(hidden_layer_sizes=(16,), max_iter=100, random_state=0),
    "pls": lambda: PLSRegression(2),
    "tree_regressor": lambda: DecisionTreeRegressor(max_depth=5),
    "forest_regressor": lambda: RandomForestRegressor(15, random_state=0),
    "gradient_boosting_regressor": lambda: GradientBoostingRegressor(n_estimators=20),
    "hist_poisson": lambda: HistGradientBoostingRegressor(max_iter=20, loss="poisson"),
    "bagging_regressor": lambda: BaggingRegressor(Ridge(), n_estimators=5, random_state=0),
    "dummy_regressor": lambda: DummyRegressor(),
    "voting_regressor": lambda: VotingRegressor([("a", Ridge()), ("b", DecisionTreeRegressor(max_depth=3))], weights=[1, 2]),
    "stacking_regressor": lambda: StackingRegressor([("a", Ridge()), ("b", DecisionTreeRegressor(max_depth=3))]),
    "gaussian_process": lambda: GaussianProcessRegressor(ConstantKernel() * RBF() + WhiteKernel(), normalize_y=True, random_state=0),
    "gaussian_process_matern": lambda: GaussianProcessRegressor(Matern(nu=1.5), alpha=0.5, normalize_y=True),
    "knn_regressor": lambda: KNeighborsRegressor(5, weights="distance"),
    "target_log": lambda: TransformedTargetRegressor(RandomForestRegressor(9, random_state=0), func=np.log, inverse_func=np.exp),
    "target_scaled": lambda: TransformedTargetRegressor(MLPRegressor(hidden_layer_sizes=(8,), max_iter=60, random_state=0), transformer=StandardScaler()),
    "target_power": lambda: TransformedTargetRegressor(Ridge(), transformer=PowerTransformer()),
    "target_quantile": lambda: TransformedTargetRegressor(Ridge(), transformer=QuantileTransformer(n_quantiles=50)),
    "target_box_cox": lambda: TransformedTargetRegressor(Ridge(), transformer=PowerTransformer("box-cox")),
}.items():  # fmt: skip
    simple(_name, lambda model=_model: regressed(model()))
