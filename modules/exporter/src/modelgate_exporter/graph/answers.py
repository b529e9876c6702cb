"""The estimator at the end of a pipeline, and those within it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sklearn.pipeline import Pipeline

from ..model import found
from . import convert, forests, kernels, linear, meta, neighbours, outliers, pairs, processes
from .checks import finite
from .columns import Col, Context
from .result import Result
from .steps import Columns, walk

Rule = Callable[[Any, list[Col], Context], Result]
BOOSTERS = ("sklearn", "xgboost", "lightgbm", "catboost")


def answer(step: Any, given: Columns, context: Context) -> Result:
    """The answers of an estimator to columns."""
    step = found(step)
    if isinstance(step, Pipeline):
        *before, (name, last) = step.steps
        for inner_name, inner in before:
            given = walk(inner, given, context.at(inner_name))
        return answer(last, given, context.at(name))
    kind = type(step)
    names = {base.__name__: base.__module__.partition(".")[0] for base in kind.__mro__}
    if kind.__module__.partition(".")[0] in ("sklearn", "imblearn"):
        if kind.__name__ in COMPOSED:
            return COMPOSED[kind.__name__](step, given, context)
        if kind.__name__ in RULES:
            return RULES[kind.__name__](step, _checked(step, given, context), context)
    if any(names.get(base) == library for base, library in (("BaseHistGradientBoosting", "sklearn"), ("LGBMModel", "lightgbm"), ("XGBModel", "xgboost"), ("CatBoost", "catboost"))):
        from .boosters import boosted

        return boosted(step, given, context)
    if kind.__module__.partition(".")[0] not in BOOSTERS:
        raise context.refuse(
            step, given.cols, "it is an estimator of your own, which the exporter cannot read",
            "end the pipeline with one of scikit-learn, XGBoost, LightGBM or CatBoost, or write it as a module of your own (modules/BUNDLE.md)",
        )  # fmt: skip
    cols = _checked(step, given, context)
    return convert.estimator(step, context.matrix(cols, step), cols, context)


def _checked(step: Any, given: Columns, context: Context) -> list[Col]:
    expected = getattr(step, "n_features_in_", None)
    if expected is not None and expected != len(given.cols):
        raise context.refuse(step, given.cols, f"it was fitted on {expected} columns, and gets {len(given.cols)}", "please report this pipeline")
    finite(context.graph, step, given.cols)
    return given.cols


def _vectors(step: Any, cols: list[Col], context: Context) -> Result:
    if step.probability is True:
        # Its probabilities are found by an iteration, which one operator in single precision does.
        made = convert.estimator(step, context.matrix(cols, step), cols, context, wide=False)
        scores = kernels.vector_classifier(step, cols, context)
        made.decision, made.decision_width = scores.decision, scores.decision_width
        return made
    return kernels.vector_classifier(step, cols, context)


def _process_classifier(step: Any, given: Columns, context: Context) -> Result:
    inner = step.base_estimator_
    if hasattr(inner, "estimators_"):
        return answer(inner, given, context)
    return processes.classifier(inner, _checked(step, given, context), context)


def _eliminated(step: Any, given: Columns, context: Context) -> Result:
    """RFE and RFECV at the end of a pipeline: their estimator over the features that are left."""
    cols = _checked(step, given, context)
    kept = [col for col, stays in zip(cols, step.support_, strict=True) if stays]
    return answer(step.estimator_, Columns([col.named(at) for at, col in enumerate(kept)], False), context.at("estimator"))


_META = meta.Meta(answer)
_PAIRS = pairs.Pairs(answer)
COMPOSED: dict[str, Callable[[Any, Columns, Context], Result]] = {
    "TransformedTargetRegressor": _META.target_transformed, "FixedThresholdClassifier": _META.threshold,
    "TunedThresholdClassifierCV": _META.threshold, "MultiOutputRegressor": _META.several_regressors,
    "MultiOutputClassifier": _META.several_classifiers, "RegressorChain": _META.chain, "ClassifierChain": _META.chain,
    "VotingClassifier": _META.voting_classifier, "VotingRegressor": _META.voting_regressor,
    "StackingClassifier": _META.stacking, "StackingRegressor": _META.stacking,
    "CalibratedClassifierCV": _META.calibrated, "BaggingClassifier": _META.bagging, "BaggingRegressor": _META.bagging,
    "AdaBoostClassifier": _META.ada_boost, "OneVsRestClassifier": _META.one_vs_rest, "FrozenEstimator": _META.frozen,
    "BalancedBaggingClassifier": _META.bagging, "EasyEnsembleClassifier": _META.bagging, "RUSBoostClassifier": _META.ada_boost,
    "SelfTrainingClassifier": _META.frozen, "RANSACRegressor": _META.frozen, "OneVsOneClassifier": _PAIRS.one_vs_one,
    "OutputCodeClassifier": _PAIRS.output_code, "GaussianProcessClassifier": _process_classifier,
    "RFE": _eliminated, "RFECV": _eliminated,
}  # fmt: skip

RULES: dict[str, Rule] = {
    **dict.fromkeys((
        "LinearRegression", "Ridge", "RidgeCV", "Lasso", "LassoCV", "ElasticNet", "ElasticNetCV", "MultiTaskLasso",
        "MultiTaskLassoCV", "MultiTaskElasticNet", "MultiTaskElasticNetCV", "Lars", "LarsCV", "LassoLars", "LassoLarsCV",
        "LassoLarsIC", "OrthogonalMatchingPursuit", "OrthogonalMatchingPursuitCV", "BayesianRidge", "ARDRegression",
        "HuberRegressor", "QuantileRegressor", "SGDRegressor", "LinearSVR", "TheilSenRegressor", "PassiveAggressiveRegressor",
    ), linear.regressor),
    **dict.fromkeys(("PoissonRegressor", "GammaRegressor", "TweedieRegressor"), linear.generalized),
    **dict.fromkeys(("PLSRegression", "PLSCanonical", "CCA"), linear.partial_least_squares),
    **dict.fromkeys(("LogisticRegression", "LogisticRegressionCV"), linear.logistic),
    **dict.fromkeys(("LinearSVC", "RidgeClassifier", "RidgeClassifierCV", "Perceptron", "PassiveAggressiveClassifier"), linear.classifier),
    "SGDClassifier": linear.sgd, "LinearDiscriminantAnalysis": linear.discriminant,
    "QuadraticDiscriminantAnalysis": linear.quadratic, "GaussianNB": linear.gaussian_bayes,
    "MultinomialNB": linear.counted_bayes, "ComplementNB": linear.counted_bayes, "BernoulliNB": linear.binary_bayes,
    "MLPClassifier": linear.network, "MLPRegressor": linear.network,
    "_ConstantPredictor": linear.always, "CategoricalNB": linear.categorical_bayes, "DummyClassifier": linear.dummy, "DummyRegressor": linear.dummy,
    **dict.fromkeys((
        "DecisionTreeClassifier", "DecisionTreeRegressor", "ExtraTreeClassifier", "ExtraTreeRegressor",
        "RandomForestClassifier", "RandomForestRegressor", "ExtraTreesClassifier", "ExtraTreesRegressor",
        "BalancedRandomForestClassifier",
    ), forests.forest),
    "GradientBoostingClassifier": forests.gradient, "GradientBoostingRegressor": forests.gradient,
    "IsolationForest": forests.isolation, "EllipticEnvelope": outliers.elliptic, "LocalOutlierFactor": outliers.local,
    "SGDOneClassSVM": outliers.linear, "KernelRidge": kernels.ridge,
    "SVC": _vectors, "NuSVC": _vectors, "SVR": kernels.vector_regressor, "NuSVR": kernels.vector_regressor,
    "OneClassSVM": kernels.one_class, "KNeighborsClassifier": neighbours.classifier,
    "KNeighborsRegressor": neighbours.regressor,
    "RadiusNeighborsClassifier": neighbours.radius_classifier, "RadiusNeighborsRegressor": neighbours.radius_regressor,
    "KMeans": kernels.centers, "MiniBatchKMeans": kernels.centers,
    "MeanShift": kernels.centers, "AffinityPropagation": kernels.centers, "Birch": kernels.subclusters,
    "NearestCentroid": kernels.nearest_centroid,
    "GaussianMixture": kernels.mixture, "BayesianGaussianMixture": kernels.mixture,
    "GaussianProcessRegressor": processes.regressor, "_BinaryGaussianProcessClassifierLaplace": processes.classifier, "IsotonicRegression": meta.isotonic_regressor,
}  # fmt: skip
