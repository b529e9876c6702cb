"""What cannot be served as scikit-learn answers is refused, saying which part and why."""

import numpy as np
import pandas as pd
import pytest
from conftest import Bundle
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    OneHotEncoder,
    OrdinalEncoder,
    PowerTransformer,
    StandardScaler,
)
from sklearn.semi_supervised import LabelPropagation
from sklearn.tree import DecisionTreeClassifier

from modelgate_exporter import CannotExport, export, reference


def refused(pipeline, frame, target, folder) -> str:
    with pytest.raises(CannotExport) as caught:
        export(pipeline.fit(frame, target), frame, folder)
    assert not folder.exists(), "a refused bundle is not written"
    return str(caught.value)


class Lenient(DecisionTreeClassifier):
    """Takes anything for a matrix."""

    def fit(self, X, y):
        return super().fit(np.zeros(X.shape), y)


def columns(*parts, remainder="drop"):
    prepare = ColumnTransformer(list(parts), remainder=remainder)
    return Pipeline([("prep", prepare), ("model", DecisionTreeClassifier())])


def test_says_the_step_the_column_and_what_to_do(frame, target, tmp_path):
    data = frame[["city", "height"]].rename(columns={"city": "review"})
    pipeline = columns(("text", TfidfVectorizer(), "review"), ("n", StandardScaler(), ["height"]))
    assert refused(pipeline, data, target, tmp_path / "b") == (
        "cannot export step 'prep' → 'text' (TfidfVectorizer) on column 'review': modelgate's "
        "tabular module has no such operation; it knows OneHotEncoder, OrdinalEncoder, "
        "StandardScaler, MinMaxScaler, MaxAbsScaler, RobustScaler, SimpleImputer, truncation, "
        "'passthrough' and 'drop'; do this step before the request, or write it as a module of "
        "your own (modules/BUNDLE.md)"
    )


@pytest.mark.parametrize(
    "transformer",
    [
        KBinsDiscretizer(3),
        PowerTransformer(),
        KNNImputer(),
        FeatureUnion([("a", StandardScaler())]),
    ],
    ids=lambda transformer: type(transformer).__name__,
)
def test_unknown_transformers(frame, target, tmp_path, transformer):
    pipeline = columns(("odd", make_pipeline(transformer), ["height", "weight"]))
    name = type(transformer).__name__
    assert refused(pipeline, frame, target, tmp_path / "b").startswith(
        f"cannot export step 'prep' → 'odd' → '{name.lower()}' ({name}) on columns 'height', "
        "'weight': modelgate's tabular module has no such operation"
    )


def test_a_subclass_may_do_something_else(frame, target, tmp_path):
    class Scaler(StandardScaler):
        def transform(self, X, copy=None):
            return super().transform(X, copy) ** 2

    told = refused(columns(("s", Scaler(), ["height"])), frame, target, tmp_path / "b")
    assert "step 'prep' → 's' (Scaler) on column 'height'" in told


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (np.log1p, "Python's log1p cannot run in modelgate"),
        (np.abs, "neither a truncation nor a rounding to float32"),
        (np.round, "neither a truncation nor a rounding to float32"),
        (np.floor, "neither a truncation nor a rounding to float32"),
        (lambda data: data.clip(0, 300), "neither a truncation"),
        (lambda data: data.iloc[:, :1], "changes the number of rows or columns"),
        (lambda data: data.astype(str), "Python's <lambda> cannot run"),
        (lambda data: data["none"], "failed on probe values"),
    ],
)
def test_other_functions(frame, target, tmp_path, function, reason):
    with np.errstate(all="ignore"):
        data = frame[["height", "weight"]]
        try:
            transformer = FunctionTransformer(function)
            transformer.fit(data).transform(data)
        except KeyError:
            transformer = FunctionTransformer(lambda data: data if len(data) > 50 else data["none"])
        pipeline = columns(("f", transformer, ["height", "weight"]))
        told = refused(pipeline, data, target, tmp_path / "b")
    assert "step 'prep' → 'f' (FunctionTransformer) on columns 'height', 'weight'" in told
    assert reason in told and "modelgate_exporter.truncate" in told


def test_functions_of_text(frame, target, tmp_path):
    lower = FunctionTransformer(lambda data: data.apply(lambda column: column.str.lower()))
    told = refused(
        columns(("t", make_pipeline(lower, OneHotEncoder()), ["city"])),
        frame,
        target,
        tmp_path / "b",
    )
    assert "it changes column 'city'" in told


def test_a_scaler_behind_an_encoder(frame, target, tmp_path):
    chain = make_pipeline(OneHotEncoder(sparse_output=False), StandardScaler())
    told = refused(columns(("c", chain, ["city"])), frame, target, tmp_path / "b")
    assert "step 'prep' → 'c' → 'standardscaler' (StandardScaler) on column 'city'" in told
    assert "behind which only the model may come" in told


def test_a_mark_for_missing_values(frame, target, tmp_path):
    imputer = SimpleImputer(missing_values=0)
    told = refused(columns(("i", imputer, ["children"])), frame, target, tmp_path / "b")
    assert "it takes 0 for a missing value, and modelgate only null and NaN" in told


def test_a_column_that_had_no_value(frame, target, tmp_path):
    frame["empty"] = np.nan
    told = refused(
        columns(("s", StandardScaler(), ["empty", "height"])), frame, target, tmp_path / "b"
    )
    assert "on column 'empty': the column had no value when it was fitted" in told


def test_numbers_too_large_for_a_category(frame, target, tmp_path):
    frame["id"] = 2**60 + frame["children"]
    told = refused(columns(("h", OneHotEncoder(), ["id"])), frame, target, tmp_path / "b")
    assert "on column 'id': its category 1152921504606846976 is too large" in told


def test_infrequent_categories_of_ordinal(frame, target, tmp_path):
    encoder = OrdinalEncoder(min_frequency=60)
    told = refused(columns(("o", encoder, ["grade", "city"])), frame, target, tmp_path / "b")
    assert "(OrdinalEncoder) on column 'city'" in told and "no infrequent categories" in told


def test_two_marks_for_missing_text(frame, target, tmp_path):
    frame["job"] = frame["job"].astype(object).where(frame["job"].notna(), None)
    frame.loc[3, "job"] = np.nan
    told = refused(columns(("h", OneHotEncoder(), ["job"])), frame, target, tmp_path / "b")
    assert "on column 'job'" in told and "None and NaN are both null" in told


def test_text_that_reaches_the_model(frame, target, tmp_path):
    pipeline = Pipeline([("model", Lenient())])
    told = refused(pipeline, frame[["city", "height"]], target, tmp_path / "b")
    assert "cannot export column 'city': its text reaches the model without an encoder" in told


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (pd.date_range("2024-01-01", periods=240), "it holds datetime64"),
        ([["a"], 1] * 120, "it mixes values of int, list"),
    ],
)
def test_columns_that_no_request_has(frame, target, tmp_path, values, words):
    frame["odd"] = values
    pipeline = columns(("p", StandardScaler(), ["height"]), ("o", "drop", ["odd"]))
    out = export(pipeline.fit(frame, target), frame, tmp_path / "dropped")
    # What the pipeline drops, requests may have all the same.
    ignored = Bundle(out).manifest["ignored_columns"]
    assert sorted(ignored) == sorted(set(frame.columns) - {"height"})
    pipeline = Pipeline([("model", Lenient())])
    frame = frame[["odd"]]
    told = refused(pipeline, frame, target, tmp_path / "b")
    assert told.startswith("cannot export column 'odd'") and words in told


def test_estimators_that_skl2onnx_does_not_convert(frame, target, tmp_path):
    pipeline = make_pipeline(StandardScaler(), LabelPropagation())
    told = refused(pipeline, frame[["height", "weight"]], target, tmp_path / "b")
    assert "cannot export step 'labelpropagation' (LabelPropagation): skl2onnx cannot" in told


def test_several_targets_of_a_classifier(frame, target, tmp_path):
    pipeline = make_pipeline(StandardScaler(), MultiOutputClassifier(LogisticRegression()))
    both = np.column_stack([target > 0, target > 1])
    told = refused(pipeline, frame[["height", "weight"]], both, tmp_path / "b")
    assert "several targets" in told


def test_a_config_that_differs_names_the_column(frame, target, tmp_path, monkeypatch):
    """The comparison with scikit-learn, which no config should ever need."""
    right = reference.transform

    def wrong(config, rows):
        matrix = right(config, rows)
        matrix[5, 1] += 0.01
        return matrix

    monkeypatch.setattr(reference, "transform", wrong)
    pipeline = columns(("s", StandardScaler(), ["height", "weight"]))
    told = refused(pipeline, frame, target, tmp_path / "b")
    assert "would be wrong on column 'weight': in row 5" in told


def test_a_graph_that_differs_is_not_written(frame, target, tmp_path, monkeypatch):
    from modelgate_exporter import model

    monkeypatch.setattr(model, "_send_missing", lambda *_: None)
    data = frame[["age", "height"]]
    told = refused(Pipeline([("tree", DecisionTreeClassifier())]), data, target, tmp_path / "b")
    assert "cannot export step 'tree': to row" in told and "the ONNX graph answers" in told


def test_a_pipeline_that_is_not_fitted(frame, tmp_path):
    with pytest.raises(ValueError, match="not fitted"):
        export(columns(("s", StandardScaler(), ["height"])), frame, tmp_path / "b")


def test_a_sample_without_a_column(frame, target, tmp_path):
    pipeline = columns(("s", StandardScaler(), ["height"])).fit(frame, target)
    with pytest.raises(ValueError, match="lacks columns of the fit: weight, city"):
        export(pipeline, frame.drop(columns=["weight", "city"]), tmp_path / "b")


def test_a_sample_without_rows(frame, target, tmp_path):
    pipeline = columns(("s", StandardScaler(), ["height"])).fit(frame, target)
    with pytest.raises(ValueError, match="no rows"):
        export(pipeline, frame[:0], tmp_path / "b")
