"""Follows fitted transformers and notes what each does to a column."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
)

from .errors import refuse
from .features import Feature
from .frame import is_missing
from .functions import Unrecognised, recognise

Path = tuple[str, ...]


def walk(transformer: Any, features: list[Feature], path: Path) -> list[Feature]:
    """The features after `transformer`. Raises `CannotExport`, naming `path` and the columns."""
    if transformer is None or (isinstance(transformer, str) and transformer == "passthrough"):
        return features
    if isinstance(transformer, str) and transformer == "drop":
        return []
    # The exact type: a subclass may do something else.
    rule = RULES.get(type(transformer))
    if rule is None:
        raise refuse(path, transformer, _columns(features))
    expected = getattr(transformer, "n_features_in_", len(features))
    encoded = [feature for feature in features if feature.encoded]
    if rule is _function and transformer.func is None:
        return features
    if encoded or expected != len(features):
        raise refuse(
            path,
            transformer,
            _columns(encoded or features),
            "it works on the columns of a OneHotEncoder, behind which only the model may come",
            "put this step beside the encoder, inside the ColumnTransformer, "
            "for the numeric columns only",
        )
    if rule in NUMERIC and (text := [f for f in features if f.kind == "text"]):
        raise refuse(
            path,
            transformer,
            _columns(text),
            "it cannot work on text",
            "encode the column with OneHotEncoder or OrdinalEncoder before it",
        )
    return rule(transformer, features, path)


def _columns(features: Sequence[Feature]) -> list[str]:
    return [feature.column for feature in features]


def _pipeline(pipeline: Pipeline, features: list[Feature], path: Path) -> list[Feature]:
    for name, step in pipeline.steps:
        features = walk(step, features, (*path, name))
    return features


def _column_transformer(
    transformer: ColumnTransformer, features: list[Feature], path: Path
) -> list[Feature]:
    out: list[Feature] = []
    for name, fitted, columns in transformer.transformers_:
        # Names, lists, slices, masks and callables, all as positions of the frame seen in `fit`.
        places = transformer._transformer_to_input_indices.get(name, columns)
        if len(places):
            out += walk(fitted, [features[place] for place in places], (*path, name))
    return out


def _function(
    transformer: FunctionTransformer, features: list[Feature], path: Path
) -> list[Feature]:
    try:
        casts = recognise(
            (lambda data: transformer.func(data, **transformer.kw_args))
            if transformer.kw_args
            else transformer.func,
            _columns(features),
            [feature.kind for feature in features],
        )
    except Unrecognised as error:
        name = getattr(transformer.func, "__name__", "func")
        raise refuse(
            path,
            transformer,
            _columns(features),
            f"Python's {name} cannot run in modelgate: {error}",
            "a FunctionTransformer may truncate to integers (modelgate_exporter.truncate) or round "
            "to float32; compute other features before the pipeline, or write a module of your own "
            "(modules/BUNDLE.md)",
        ) from error
    return [
        feature.then("cast", None, {"to": cast}) if cast else feature
        for feature, cast in zip(features, casts, strict=True)
    ]


def _standard(scaler: StandardScaler, features: list[Feature], path: Path) -> list[Feature]:
    fields = {"mean": scaler.mean_ if scaler.with_mean else None, "scale": scaler.scale_}
    return _affine("standard", scaler, features, path, fields)


def _robust(scaler: RobustScaler, features: list[Feature], path: Path) -> list[Feature]:
    fields = {
        "center": scaler.center_ if scaler.with_centering else None,
        "scale": scaler.scale_ if scaler.with_scaling else None,
    }
    return _affine("robust", scaler, features, path, fields)


def _min_max(scaler: MinMaxScaler, features: list[Feature], path: Path) -> list[Feature]:
    clip = {"clip": [float(bound) for bound in scaler.feature_range]} if scaler.clip else {}
    fields = {"scale": scaler.scale_, "min": scaler.min_}
    return _affine("min_max", scaler, features, path, fields, clip)


def _max_abs(scaler: MaxAbsScaler, features: list[Feature], path: Path) -> list[Feature]:
    scaled = _affine("max_abs", scaler, features, path, {"scale": scaler.scale_})
    if not getattr(scaler, "clip", False):
        return scaled
    clip = {"scale": 1.0, "min": 0.0}
    return [feature.then("min_max", clip, {"clip": [-1.0, 1.0]}) for feature in scaled]


def _affine(
    op: str,
    scaler: Any,
    features: list[Feature],
    path: Path,
    fields: dict[str, Any],
    shared: dict[str, Any] | None = None,
) -> list[Feature]:
    out = []
    for place, feature in enumerate(features):
        own = {key: None if of is None else float(of[place]) for key, of in fields.items()}
        if not all(value is None or math.isfinite(value) for value in own.values()):
            raise refuse(
                path,
                scaler,
                [feature.column],
                "the column had no value when it was fitted",
                "leave the column out, or fit on rows that have it",
            )
        out.append(feature.then(op, own, shared))
    return out


def _impute(imputer: SimpleImputer, features: list[Feature], path: Path) -> list[Feature]:
    if not is_missing(imputer.missing_values):
        raise refuse(
            path,
            imputer,
            _columns(features),
            f"it takes {imputer.missing_values!r} for a missing value, and modelgate only null "
            "and NaN",
            "replace the marker by NaN before the pipeline, and leave missing_values as it is",
        )
    out = []
    for feature, value in zip(features, imputer.statistics_, strict=True):
        if feature.none and feature.kind == "text" and imputer.missing_values is not None:
            out.append(feature)  # to scikit-learn, None is a text like others
        elif not is_missing(value):
            text = feature.kind == "text"
            fill = str(value) if text else float(value)
            out.append(feature.then("impute", {"values": fill}, text=text))
        elif imputer.keep_empty_features:
            out.append(feature)
        # else: a column without any value in `fit` is left out, as scikit-learn does
    if imputer.add_indicator:
        if any(features[place].none for place in imputer.indicator_.features_):
            raise refuse(path, imputer, _columns(features), "None is no missing value to it")
        out += [features[place].then("missing") for place in imputer.indicator_.features_]
    return out


def _one_hot(encoder: OneHotEncoder, features: list[Feature], path: Path) -> list[Feature]:
    unknown = {
        "error": "error",
        "ignore": "ignore",
        "infrequent_if_exist": "infrequent",
        "warn": "infrequent",
    }[encoder.handle_unknown]
    dropped = encoder.drop_idx_ if encoder.drop_idx_ is not None else [None] * len(features)
    return [
        feature.then(
            "one_hot",
            {
                "categories": _categories(encoder, feature, place, path),
                "drop": dropped[place],
                "infrequent": _infrequent(encoder, place),
            },
            {"unknown": unknown},
        )
        for place, feature in enumerate(features)
    ]


def _ordinal(encoder: OrdinalEncoder, features: list[Feature], path: Path) -> list[Feature]:
    grouped = [f for place, f in enumerate(features) if _infrequent(encoder, place)]
    if grouped:
        raise refuse(
            path,
            encoder,
            _columns(grouped),
            "modelgate's ordinal operation has no infrequent categories",
            "leave out min_frequency and max_categories, or use OneHotEncoder, which may have them",
        )
    shared: dict[str, Any] = {"unknown": "error"}
    if encoder.handle_unknown == "use_encoded_value":
        shared = {"unknown": "value", "unknown_value": encoder.unknown_value}
    out = []
    for place, feature in enumerate(features):
        categories = _categories(encoder, feature, place, path)
        # A category None has a place like others; a NaN has a value of its own.
        marked = None in categories and not any(value is None for value in encoder.categories_[place])
        missing = {"missing_value": encoder.encoded_missing_value} if marked else {}
        out.append(feature.then("ordinal", {"categories": categories}, shared | missing))
    return out


def _infrequent(encoder: Any, place: int) -> list[int]:
    if not getattr(encoder, "_infrequent_enabled", False):
        return []
    places = encoder._infrequent_indices[place]
    return [] if places is None else [int(found) for found in places]


def _categories(encoder: Any, feature: Feature, place: int, path: Path) -> list[Any]:
    categories: list[Any] = []
    for value in encoder.categories_[place]:
        if is_missing(value):
            value = None
        elif feature.kind == "text":
            value = str(value)
        elif feature.kind == "bool":
            value = bool(value)
        elif isinstance(value, str):
            raise refuse(
                path,
                encoder,
                [feature.column],
                f"its category {value!r} is text, and the sample frame's column is not",
                "give the column the type it was fitted with",
            )
        elif abs(value) >= 2**53:
            raise refuse(
                path,
                encoder,
                [feature.column],
                f"its category {value} is too large to be told from its neighbours",
                "make the column text before the pipeline is fitted",
            )
        else:
            value = float(value)
            value = int(value) if value.is_integer() else value
        if value in categories and type(value) in {type(known) for known in categories}:
            raise refuse(
                path,
                encoder,
                [feature.column],
                f"it has the category {value!r} twice (None and NaN are both null in a request)",
                "use one mark for missing values before the pipeline is fitted",
            )
        categories.append(value)
    return categories


Rule = Callable[[Any, list[Feature], Path], list[Feature]]
NUMERIC: set[Rule] = {_standard, _robust, _min_max, _max_abs}
RULES: dict[type, Rule] = {
    Pipeline: _pipeline,
    ColumnTransformer: _column_transformer,
    FunctionTransformer: _function,
    StandardScaler: _standard,
    RobustScaler: _robust,
    MinMaxScaler: _min_max,
    MaxAbsScaler: _max_abs,
    SimpleImputer: _impute,
    OneHotEncoder: _one_hot,
    OrdinalEncoder: _ordinal,
}
