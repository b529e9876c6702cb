"""Follows the steps of a fitted pipeline and writes each into the graph."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import FeatureUnion, Pipeline

from . import approximations, categories, numeric, records, topics, words
from .asked import Inseparable, asks, encoded, refuse_hashes
from .columns import Col, Context, spread
from .linear import _dense

Rule = Callable[[Any, list[Col], Context], list[Col]]


@dataclass(frozen=True)
class Columns:
    """The input of a step: columns, as a frame or as an array."""

    cols: list[Col]
    framed: bool
    single: bool = False
    """Whether the only column comes by itself: as a series, or as an array of one dimension."""

    def of(self, cols: Sequence[Col]) -> Columns:
        """Other columns in the same shape."""
        return Columns(list(cols), self.framed)


def walk(step: Any, given: Columns, context: Context) -> Columns:
    """The columns behind a step."""
    if step is None or (isinstance(step, str) and step == "passthrough"):
        return given
    if isinstance(step, str) and step == "drop":
        return given.of([])
    if hasattr(step, "fit_resample") and not hasattr(step, "transform"):
        return given  # a sampler of imbalanced-learn works in `fit` alone
    kind = type(step)
    if isinstance(step, Pipeline) and _own(kind):
        for name, inner in step.steps:
            given = walk(inner, given, context.at(name))
        return given
    if kind is ColumnTransformer:
        return _labelled(step, _column_transformer(step, given, context), given)
    if kind is FeatureUnion:
        return _labelled(step, _union(step, given, context), given)
    if kind.__name__ == "FunctionTransformer" and _own(kind):
        return _function(step, given, context)
    return _single(step, given, context)


def _own(kind: type) -> bool:
    """Whether a class is scikit-learn's or imbalanced-learn's own."""
    return kind.__module__.partition(".")[0] in ("sklearn", "imblearn")


def _single(step: Any, given: Columns, context: Context) -> Columns:
    kind = type(step)
    name = kind.__name__
    if not _own(kind):
        return _custom(step, given, context)
    rule = RULES.get(name)
    if rule is None and hasattr(step, "get_support"):
        rule = numeric.selected
    if rule is None:
        return _labelled(step, converted(step, given.cols, context), given)
    expected = getattr(step, "n_features_in_", None)
    if expected is not None and expected != len(given.cols) and name not in ("CountVectorizer", "TfidfVectorizer", "HashingVectorizer"):
        raise context.refuse(step, given.cols, f"it was fitted on {expected} columns, and gets {len(given.cols)}", "please report this pipeline")
    return _labelled(step, rule(step, given.cols, context), given)


def _labelled(step: Any, cols: list[Col], given: Columns) -> Columns:
    """Columns under the names that the step gives them."""
    config = getattr(step, "_sklearn_output_config", {}).get("transform")
    if config is None:
        from sklearn import get_config

        config = get_config().get("transform_output", "default")
    if config not in ("pandas", "polars"):
        return Columns([col if col.label == place else col.named(place) for place, col in enumerate(cols)], False)
    try:
        names = list(step.get_feature_names_out())
    except Exception:
        names = [col.label for col in cols]
    if len(names) != len(cols):
        names = list(range(len(cols)))
    return Columns([col.named(label) for col, label in zip(cols, names, strict=True)], True)


def _column_transformer(step: Any, given: Columns, context: Context) -> list[Col]:
    made: list[Col] = []
    given = given.of(_as_fitted(step, given))
    for name, fitted, columns in step.transformers_:
        places = step._transformer_to_input_indices.get(name, columns)
        if isinstance(fitted, str) and fitted == "drop":
            continue
        if not len(places):
            continue
        part = replace(given.of([given.cols[place] for place in places]), single=isinstance(columns, (str, int)))
        made += walk(fitted, part, context.at(name)).cols
    return made


def _as_fitted(step: Any, given: Columns) -> list[Col]:
    """The columns in the order of `fit`, where frames may have them in another."""
    names = getattr(step, "feature_names_in_", None)
    labels = [col.label for col in given.cols]
    if names is None or not given.framed or list(names) == labels or not set(names) <= set(labels):
        return given.cols
    return [given.cols[labels.index(name)] for name in names]


def _union(step: Any, given: Columns, context: Context) -> list[Col]:
    made: list[Col] = []
    for name, inner in step.transformer_list:
        if isinstance(inner, str) and inner == "drop":
            continue
        cols = walk(inner, given, context.at(name)).cols
        weight = (step.transformer_weights or {}).get(name)
        if weight is not None:
            graph = context.graph
            cols = numeric.kept(cols, graph.op("Mul", context.matrix(cols, step), graph.constant([[float(weight)]])))
        made += cols
    return made


def _function(step: Any, given: Columns, context: Context) -> Columns:
    from .tracing import traced

    if step.func is None:
        return given
    keywords = step.kw_args or {}
    if step.validate:
        given = Columns(given.cols, False)
    return traced(lambda data: step.func(data, **keywords), given, step, step.func, context)


def _custom(step: Any, given: Columns, context: Context) -> Columns:
    """A transformer class of the user's: its `transform` is run on stand-ins."""
    from .tracing import traced

    transform = getattr(type(step), "transform", None)
    # scikit-learn wraps `transform` to set the output's type; the user's own function is inside.
    inner = inspect.unwrap(transform) if transform is not None else None
    if inner is None:
        raise context.refuse(step, given.cols, "it has no transform", "give it one")
    refuse_hashes(step, given.cols, context)
    if asks(step):
        with contextlib.suppress(Inseparable):
            made = encoded(step, given.cols, given.framed, context)
            config = getattr(step, "_sklearn_output_config", {}).get("transform")
            return Columns(made, bool(step.return_df) or config == "pandas")
    from .fitted import with_stand_ins

    own = with_stand_ins(step, context)
    made = traced(lambda data: inner(own, data), given, step, inner, context)
    config = getattr(step, "_sklearn_output_config", {}).get("transform")
    return made if made.framed or config != "pandas" else Columns(made.cols, True)


def converted(step: Any, cols: list[Col], context: Context) -> list[Col]:
    """A transformer that skl2onnx writes."""
    from .convert import transformer

    value, width = transformer(step, context.matrix(cols, step), cols, context)
    return spread(cols, value, width)


def _texts(step: Any, cols: list[Col], context: Context) -> list[Col]:
    return words.vectorized(step, cols, context)


def _discriminant(step: Any) -> tuple[Any, Any, Any]:
    count = step._max_components
    if step.solver == "svd":
        return step.xbar_, None, step.scalings_[:, :count]
    return None, None, step.scalings_[:, :count]


def _hashed(step: Any, cols: list[Col], context: Context) -> list[Col]:
    raise context.refuse(step, cols, "it takes lists or dictionaries", "use OneHotEncoder(max_categories=…) on the columns, or HashingVectorizer on text")


def _iterative(step: Any, cols: list[Col], context: Context) -> list[Col]:
    from .imputing import iterative

    return iterative(step, cols, context)


RULES: dict[str, Rule] = {
    "StandardScaler": numeric.standard, "RobustScaler": numeric.robust, "MinMaxScaler": numeric.min_max,
    "MaxAbsScaler": numeric.max_abs, "Normalizer": numeric.normalizer, "Binarizer": numeric.binarizer,
    "KBinsDiscretizer": numeric.bins, "PowerTransformer": numeric.power, "QuantileTransformer": numeric.quantile,
    "PolynomialFeatures": numeric.polynomial, "SplineTransformer": numeric.splines, "KNNImputer": numeric.neighbours_filled,
    "IterativeImputer": _iterative, "SimpleImputer": categories.impute, "MissingIndicator": categories.indicator,
    "OneHotEncoder": categories.one_hot, "OrdinalEncoder": categories.ordinal, "TargetEncoder": categories.target,
    "PCA": numeric.linear(numeric.pca), "IncrementalPCA": numeric.linear(numeric.pca),
    "TruncatedSVD": numeric.linear(lambda step: (None, None, step.components_.T)),
    "GaussianRandomProjection": numeric.linear(lambda step: (None, None, step.components_.T)),
    "FastICA": numeric.linear(lambda step: (getattr(step, "mean_", None) if step.whiten else None, None, step.components_.T)),
    "LinearDiscriminantAnalysis": numeric.linear(_discriminant),
    "PLSRegression": numeric.linear(lambda step: (step._x_mean, step._x_std, step.x_rotations_)),
    "PLSCanonical": numeric.linear(lambda step: (step._x_mean, step._x_std, step.x_rotations_)),
    "CCA": numeric.linear(lambda step: (step._x_mean, step._x_std, step.x_rotations_)),
    "FactorAnalysis": numeric.linear(approximations.factors), "SparsePCA": numeric.linear(approximations.sparse_components),
    "MiniBatchSparsePCA": numeric.linear(approximations.sparse_components),
    "SparseRandomProjection": numeric.linear(lambda step: (None, None, _dense(step.components_).T)),
    "NeighborhoodComponentsAnalysis": numeric.linear(lambda step: (None, None, step.components_.T)),
    "RBFSampler": approximations.fourier, "Nystroem": approximations.nystroem, "KernelPCA": approximations.kernel_components,
    "SkewedChi2Sampler": approximations.skewed, "AdditiveChi2Sampler": approximations.chi_squared,
    "PolynomialCountSketch": approximations.sketched, "RandomTreesEmbedding": approximations.leaves,
    "FeatureAgglomeration": approximations.agglomerated, "BernoulliRBM": approximations.hidden,
    "LatentDirichletAllocation": topics.topics, "NMF": approximations.of_all_rows, "MiniBatchNMF": approximations.of_all_rows,
    "KMeans": numeric.center_distances, "MiniBatchKMeans": numeric.center_distances,
    "CountVectorizer": _texts, "TfidfVectorizer": _texts, "TfidfTransformer": words.tfidf,
    "HashingVectorizer": _texts, "FeatureHasher": _hashed, "DictVectorizer": records.vectorized,
}  # fmt: skip

__all__ = ["Columns", "np", "replace", "walk"]
