"""Fitted pipelines of every kind that the exporter knows, small enough to be fitted in a moment.

`cases()` yields names and factories; a factory gives (pipeline, frame, target). `measure.py` exports each
and compares it on fresh rows; `test_kinds.py` does so on a few.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor, make_column_selector
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
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
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer, TfidfVectorizer
from sklearn.feature_selection import (
    RFE,
    SelectFromModel,
    SelectKBest,
    SelectPercentile,
    VarianceThreshold,
    f_classif,
)
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Matern, WhiteKernel
from sklearn.impute import IterativeImputer, SimpleImputer
from sklearn.isotonic import IsotonicRegression
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
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import (
    ClassifierChain,
    MultiOutputClassifier,
    MultiOutputRegressor,
    RegressorChain,
)
from sklearn.naive_bayes import BernoulliNB, ComplementNB, GaussianNB, MultinomialNB
from sklearn.neighbors import KNeighborsRegressor, NearestCentroid
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline, make_union
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    SplineTransformer,
    StandardScaler,
)
from sklearn.svm import SVC, SVR, LinearSVC, LinearSVR, NuSVC, OneClassSVM
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

Case = tuple[Any, Any, Any]
_CASES: dict[str, Callable[[], Case]] = {}


def case(factory: Callable[[], Case]) -> Callable[[], Case]:
    """Adds a pipeline to the list."""
    _CASES[factory.__name__] = factory
    return factory


def cases() -> Iterator[tuple[str, Callable[[], Case]]]:
    """Names and factories."""
    yield from _CASES.items()


def clients(count: int = 600, seed: int = 1) -> tuple[pd.DataFrame, pd.Series]:
    """A bank's clients: numbers, texts, truths, missing values of several kinds."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "edad": rng.integers(18, 90, count),
            "ingreso mensual": np.where(rng.random(count) < 0.1, np.nan, rng.gamma(3, 900, count).round(2)),
            "deuda": rng.gamma(2, 500, count).round(2),
            "hijos": pd.array(np.where(rng.random(count) < 0.08, None, rng.integers(0, 4, count)), dtype="Int64"),
            "ciudad": rng.choice(["Lima", "Cusco", "Iquitos", "Ñaña"], count, p=[0.5, 0.3, 0.15, 0.05]),
            "plan": pd.Categorical(np.where(rng.random(count) < 0.05, None, rng.choice(["oro", "plata", "base"], count))),
            "moroso": rng.random(count) < 0.3,
            "canal": np.where(rng.random(count) < 0.1, None, rng.choice(["web", "app", "agencia"], count)),
        }
    )
    score = (frame["edad"] < 40) + frame["moroso"] * 1.5 + (frame["ciudad"] == "Lima") * 0.5 + rng.normal(0, 0.5, count)
    return frame, (score > 1.2).astype(int).rename("fuga")


def amount(frame: pd.DataFrame, seed: int = 2) -> pd.Series:
    """Something to predict as a number."""
    rng = np.random.default_rng(seed)
    return (frame["edad"] * 12 + frame["deuda"] + (frame["ciudad"] == "Lima") * 300 + rng.gamma(2, 40, len(frame))).rename("monto")


def grades(frame: pd.DataFrame) -> pd.Series:
    """Three classes of text."""
    value = frame["deuda"] + frame["edad"] * 10
    return pd.cut(value, [-1, value.quantile(0.4), value.quantile(0.75), 1e9], labels=["bajo", "medio", "alto"]).astype(str)


NUMBERS = ["edad", "ingreso mensual", "deuda"]
TEXTS = ["ciudad", "plan", "canal"]


def prepared(scaler: Any = None) -> ColumnTransformer:
    """The usual preprocessing."""
    numbers = make_pipeline(SimpleImputer(strategy="median"), scaler or StandardScaler())
    texts = make_pipeline(SimpleImputer(strategy="constant", fill_value="?"), OneHotEncoder(handle_unknown="ignore"))
    return ColumnTransformer([("numbers", numbers, NUMBERS), ("texts", texts, TEXTS)], sparse_threshold=0)


def classified(model: Any, target: Any = None, scaler: Any = None) -> Case:
    frame, y = clients()
    return make_pipeline(prepared(scaler), model), frame, y if target is None else target(frame)


def regressed(model: Any, target: Any = None) -> Case:
    frame, _ = clients()
    return make_pipeline(prepared(), model), frame, amount(frame) if target is None else target(frame)


def of_numbers(*steps: Any, labels: bool = True) -> Case:
    """Steps over numbers alone."""
    frame, y = clients()
    data = frame[["edad", "deuda"]].astype(float).assign(otro=np.sin(frame["edad"]) * frame["deuda"])
    return make_pipeline(*steps), data, y if labels else amount(frame)


# The estimators.


def simple(name: str, factory: Callable[[], Case]) -> None:
    factory.__name__ = name
    case(factory)


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

# Steps over numbers.

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


# Whole pipelines.


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
def own_class() -> Case:
    frame, y = clients()
    return Pipeline([("own", Ratios()), ("prep", ratios_prepared()), ("model", LogisticRegression(max_iter=500))]), frame, y


class Ratios(BaseEstimator, TransformerMixin):
    """The code of a team: new columns of old ones."""

    def __init__(self, limit: float = 600.0) -> None:
        self.limit = limit

    def fit(self, X: Any, y: Any = None) -> Any:
        self.mean_ = float(X["deuda"].mean())
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X: Any) -> Any:
        X = X.copy()
        X["ratio"] = X["deuda"] / (X["ingreso mensual"].fillna(self.mean_) + 1)
        X["joven"] = np.where(X["edad"] < 30, 1, 0)
        X["deudor"] = (X["deuda"] > self.limit) & ~X["moroso"]
        X["grupo"] = X["edad"].apply(lambda v: "a" if v < 25 else ("b" if v < 60 else "c"))
        X["es_lima"] = X["ciudad"].isin(["Lima", "Ñaña"]).astype(int)
        X["tarifa"] = X["canal"].map({"web": 1.0, "app": 2.0}).fillna(0)
        X.loc[X["deuda"] > 2000, "deuda"] = 2000
        return X.drop(columns=["hijos"])


def ratios_prepared() -> ColumnTransformer:
    numbers = ["ratio", "joven", "deuda", "edad", "es_lima", "tarifa"]
    return ColumnTransformer(
        [("n", StandardScaler(), numbers), ("g", OneHotEncoder(), ["grupo", "deudor"]), ("t", OneHotEncoder(handle_unknown="ignore"), ["ciudad"])]
    )


@case
def lambda_assign_chain() -> Case:
    frame, _ = clients()
    add = FunctionTransformer(lambda X: X.assign(neto=lambda d: d["ingreso mensual"] - d["deuda"], tramo=pd.cut(X["edad"], [0, 30, 60, 120], labels=["j", "m", "v"]).astype(object)))
    steps = ColumnTransformer(
        [("n", make_pipeline(SimpleImputer(), StandardScaler()), ["neto", "edad"]), ("t", OneHotEncoder(handle_unknown="ignore"), ["tramo", "ciudad"])]
    )
    return make_pipeline(add, steps, Ridge()), frame, amount(frame)


@case
def row_wise_apply() -> Case:
    frame, y = clients()

    def risk(row: Any) -> float:
        if row["moroso"] and row["edad"] < 30:
            return 2.0
        return 1.0 if row["deuda"] > 900 else 0.0

    add = FunctionTransformer(lambda X: pd.DataFrame({"riesgo": X.apply(risk, axis=1), "edad": X["edad"]}))
    return make_pipeline(add, StandardScaler(), LogisticRegression()), frame, y


@case
def shares_of_categories() -> Case:
    class Shares(BaseEstimator, TransformerMixin):
        def fit(self, X: Any, y: Any = None) -> Any:
            self.shares_ = {name: X[name].value_counts(normalize=True).to_dict() for name in X.columns}
            return self

        def transform(self, X: Any) -> Any:
            made = pd.DataFrame(index=X.index)
            for name in X.columns:
                made[name] = X[name].map(self.shares_[name]).fillna(0)
            return made

    frame, y = clients()
    steps = ColumnTransformer([("s", Shares(), ["ciudad", "canal"]), ("n", StandardScaler(), ["edad"])])
    return make_pipeline(steps, GradientBoostingClassifier(n_estimators=9)), frame, y


@case
def question_marks() -> Case:
    frame, y = clients()
    frame["canal"] = frame["canal"].fillna("?").astype(object)
    inner = make_pipeline(SimpleImputer(missing_values="?", strategy="most_frequent"), OneHotEncoder())
    return make_pipeline(ColumnTransformer([("i", inner, ["canal"]), ("n", StandardScaler(), ["edad"])]), LogisticRegression()), frame, y


@case
def texts_alone() -> Case:
    frame, y = opinions()
    return make_pipeline(TfidfVectorizer(), LogisticRegression()), frame["opinión"], y


@case
def numbers_as_text() -> Case:
    frame, y = clients()
    steps = ColumnTransformer(
        [("t", make_pipeline(FunctionTransformer(lambda X: X.astype(str)), OneHotEncoder(handle_unknown="ignore")), ["edad", "ciudad"]), ("n", StandardScaler(), ["deuda"])]
    )
    return make_pipeline(steps, LogisticRegression(max_iter=300)), frame, y


@case
def select_numpy_columns() -> Case:
    frame, y = clients()
    data = frame[["edad", "deuda"]].to_numpy(float)
    add = FunctionTransformer(lambda X: np.c_[X, X[:, 0] * X[:, 1], np.maximum(X[:, 0], 40)])
    return make_pipeline(add, StandardScaler(), LogisticRegression()), data, y


@case
def dates() -> Case:
    frame, y = dated()

    def parts(X: Any) -> Any:
        when = X["alta"]
        return pd.DataFrame(
            {
                "anyo": when.dt.year, "mes": when.dt.month, "dia": when.dt.dayofweek, "finde": (when.dt.dayofweek >= 5).astype(int),
                "antiguedad": (pd.Timestamp("2025-01-01") - when).dt.days, "trimestre": when.dt.quarter, "hora": when.dt.hour,
                "del_anyo": when.dt.dayofyear, "fin": when.dt.is_month_end.astype(int),
            }
        )  # fmt: skip

    steps = ColumnTransformer([("d", make_pipeline(FunctionTransformer(parts), StandardScaler()), ["alta"]), ("n", StandardScaler(), ["edad"])])
    return make_pipeline(steps, LogisticRegression(max_iter=300)), frame, y


@case
def dates_between() -> Case:
    frame, y = dated()
    frame["baja"] = frame["alta"] + pd.to_timedelta(np.random.default_rng(3).integers(1, 900, len(frame)), unit="D")
    add = FunctionTransformer(lambda X: X.assign(dias=(X["baja"] - X["alta"]).dt.days, semanas=(X["baja"] - X["alta"]) / pd.Timedelta(days=7)))
    steps = ColumnTransformer([("n", StandardScaler(), ["dias", "semanas", "edad"])])
    return make_pipeline(add, steps, GradientBoostingClassifier(n_estimators=10)), frame, y


def dated() -> tuple[pd.DataFrame, pd.Series]:
    frame, y = clients()
    rng = np.random.default_rng(4)
    frame["alta"] = pd.Timestamp("2019-12-25") + pd.to_timedelta(rng.integers(0, 60 * 24 * 1200, len(frame)), unit="min")
    return frame, y


def opinions(count: int = 500) -> tuple[pd.DataFrame, pd.Series]:
    rng = np.random.default_rng(6)
    good, bad = ["Excelente", "rápido", "recomiendo", "útil"], ["malo", "roto", "Lento", "devolución"]
    common = ["el", "producto", "llegó", "caja", "día", "a", "don't", "x2"]
    y = rng.random(count) < 0.5
    texts = [", ".join([*rng.choice(common, 5), *rng.choice(good if k else bad, 2)]) + "." for k in y]
    data = {"opinión": texts, "estrellas": rng.integers(1, 6, count), "precio": np.where(rng.random(count) < 0.1, np.nan, rng.gamma(3, 10, count))}
    return pd.DataFrame({**data, "tienda": rng.choice(["A", "B"], count)}), pd.Series(np.where(y, "bien", "mal"))


@case
def words_beside_numbers() -> Case:
    frame, y = opinions()
    frame = frame.dropna().reset_index(drop=True)
    steps = ColumnTransformer([("w", TfidfVectorizer(sublinear_tf=True), "opinión"), ("n", MinMaxScaler(), ["estrellas", "precio"]), ("t", OneHotEncoder(handle_unknown="ignore"), ["tienda"])])
    return make_pipeline(steps, LogisticRegression()), frame, y.iloc[: len(frame)]


@case
def pairs_of_words() -> Case:
    frame, y = opinions()
    steps = ColumnTransformer([("w", CountVectorizer(ngram_range=(1, 2), min_df=3, binary=True), "opinión")])
    return make_pipeline(steps, MultinomialNB()), frame, y


@case
def words_then_weights() -> Case:
    frame, y = opinions()
    words = Pipeline([("count", CountVectorizer(max_features=40)), ("tfidf", TfidfTransformer(norm="l1"))])
    return make_pipeline(ColumnTransformer([("w", words, "opinión"), ("n", "passthrough", ["estrellas"])]), ComplementNB()), frame, y


@case
def words_and_missing_numbers() -> Case:
    frame, y = opinions()
    steps = ColumnTransformer([("w", TfidfVectorizer(stop_words=["el", "a"], max_features=60), "opinión"), ("n", make_pipeline(SimpleImputer(), StandardScaler()), ["precio"])])
    return make_pipeline(steps, RandomForestClassifier(9, random_state=0)), frame, y


@case
def words_beside_known_categories() -> Case:
    frame, y = opinions()
    steps = ColumnTransformer([("w", TfidfVectorizer(), "opinión"), ("t", OneHotEncoder(), ["tienda"])])
    return make_pipeline(steps, LogisticRegression()), frame, y


@case
def words_reduced() -> Case:
    frame, y = opinions()
    words = make_pipeline(TfidfVectorizer(), TruncatedSVD(5, random_state=0))
    return make_pipeline(ColumnTransformer([("w", words, "opinión"), ("n", StandardScaler(), ["estrellas"])]), GradientBoostingClassifier(n_estimators=10)), frame, y


PIECES = ["a", "B", "ñ", "Łó", "Dr.", "Mr", ",", ", ", " ", "  ", "\t", "\n", "\xa0", "é", "5", "٣", "_", "x@y.org", ".", "-", "C85", "日本", "@", "("]


def odd_texts(count: int = 500) -> tuple[pd.DataFrame, pd.Series]:
    """Texts that nobody expects, beside a number."""
    rng = np.random.default_rng(4)
    texts = ["", *("".join(rng.choice(PIECES, rng.integers(0, 9))) for _ in range(count - 1))]
    frame = pd.DataFrame({"texto": pd.Series(texts, dtype=object), "precio": rng.gamma(3, 10, count)})
    return frame, pd.Series(frame["texto"].str.contains("Dr|5") ^ (frame["precio"] > 40))


def characters_of(analyzer: str) -> Case:
    frame, y = odd_texts()
    words = TfidfVectorizer(analyzer=analyzer, ngram_range=(1, 3), max_features=300, lowercase=False)
    steps = ColumnTransformer([("w", words, "texto"), ("n", StandardScaler(), ["precio"])])
    return make_pipeline(steps, LogisticRegression(max_iter=300)), frame, y


@case
def characters() -> Case:
    return characters_of("char")


@case
def characters_of_words() -> Case:
    return characters_of("char_wb")


def text_parts(frame: pd.DataFrame) -> pd.DataFrame:
    text = frame["texto"]
    return frame.assign(
        largo=text.str.len(),
        doctor=text.str.lower().str.startswith("dr").astype(int),
        correo=text.str.contains(r"\w+@\w+\.org"),
        palabras=text.str.count(r"\w+"),
        fin=text.str.strip().str.split(",").str[-1].str[:2],
        titulo=text.str.extract(r"([A-Z][a-z]+)\.", expand=False).fillna("-"),
    ).drop(columns="texto")


@case
def parts_of_texts() -> Case:
    frame, y = odd_texts()
    steps = ColumnTransformer([("c", OneHotEncoder(handle_unknown="ignore"), ["fin", "titulo"])], remainder="passthrough")
    return make_pipeline(FunctionTransformer(text_parts), steps, RandomForestClassifier(9, random_state=0)), frame, y


def text_values(frame: pd.DataFrame) -> pd.DataFrame:
    kind = frame["texto"].apply(lambda text: 2 if text.strip().endswith(".") else 1 if "@" in text else 0)
    return pd.DataFrame({"tipo": kind, "parte": frame["texto"].map(lambda text: text.split("@")[-1].upper()), "precio": frame["precio"]})


@case
def texts_one_by_one() -> Case:
    frame, y = odd_texts()
    steps = ColumnTransformer([("c", OneHotEncoder(handle_unknown="ignore"), ["parte"])], remainder="passthrough")
    return make_pipeline(FunctionTransformer(text_values), steps, RandomForestClassifier(9, random_state=0)), frame, y


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


def optional(name: str, module: str, factory: Callable[[Any], Case]) -> None:
    """A pipeline of another library, where that is installed."""
    try:
        imported = __import__(module, fromlist=["*"])
    except ImportError:
        return
    simple(name, lambda: factory(imported))


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
