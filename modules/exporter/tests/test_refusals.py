"""A pipeline that cannot be served as scikit-learn answers is refused, saying which part and why."""

import numpy as np
import pandas as pd
import pytest
from conftest import Bundle
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
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

    def predict(self, X, check_input=True):
        return super().predict(np.zeros(X.shape))

    def predict_proba(self, X, check_input=True):
        return super().predict_proba(np.zeros(X.shape))


def columns(*parts, remainder="drop"):
    prepare = ColumnTransformer(list(parts), remainder=remainder)
    return Pipeline([("prep", prepare), ("model", DecisionTreeClassifier())])


def test_says_the_step_the_column_and_what_to_do(frame, target, tmp_path):
    data = frame[["city", "height"]].rename(columns={"city": "review"})
    words = HashingVectorizer(n_features=2**17)
    pipeline = columns(("text", words, "review"), ("n", StandardScaler(), ["height"]))
    assert refused(pipeline, data, target, tmp_path / "b") == (
        "cannot export step 'model' (DecisionTreeClassifier): it takes 131073 columns of each row, which only a linear "
        "model and naive Bayes can take from their hashes; train the pipeline with HashingVectorizer(n_features=16384), "
        "or 65536 at most"
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
        (lambda data: data - data.mean(), "it computes over all rows"),
        (lambda data: data.rolling(2).sum(), "it calls .rolling, which computes over several rows"),
        (lambda data: data.shift(1).fillna(0), "it calls .shift, which computes over several rows"),
        (lambda data: data if (data["height"] > 150).any() else -data, "it computes over all rows"),
        (lambda data: data * len(data), "it counts rows"),
        (lambda data: data.apply(lambda column: column.rank()), "it calls .rank"),
        (lambda data: data.assign(a=[sum(range(int(v))) for v in data["height"]]), "it makes a Python number"),
    ],
)
def test_functions_that_look_at_other_rows(frame, target, tmp_path, function, reason):
    pipeline = columns(("f", FunctionTransformer(function), ["height", "weight"]))
    told = refused(pipeline, frame[["height", "weight"]], target, tmp_path / "b")
    assert "step 'prep' → 'f' (FunctionTransformer) on columns 'height', 'weight'" in told
    assert "its <lambda> cannot run row by row: line " in told and " of test_refusals.py (`" in told
    assert reason in told and "compute the feature before the pipeline" in told


def test_functions_of_text(frame, target, tmp_path):
    lower = FunctionTransformer(lambda data: data.apply(lambda column: column.str.swapcase()))
    told = refused(
        columns(("t", make_pipeline(lower, OneHotEncoder()), ["city"])),
        frame,
        target,
        tmp_path / "b",
    )
    assert "it calls .swapcase of a text, for which there is no operator" in told


def test_names_the_line_of_a_class(frame, target, tmp_path):
    class Centred(BaseEstimator, TransformerMixin):
        def fit(self, X, y=None):
            return self

        def transform(self, X):
            middle = X.groupby("children")["height"].transform("mean")
            return X.assign(height=X["height"] - middle)

    pipeline = make_pipeline(Centred(), LogisticRegression())
    told = refused(pipeline, frame[["height", "children"]], target, tmp_path / "b")
    assert "step 'centred' (Centred) on columns 'height', 'children'" in told
    assert '(`middle = X.groupby("children")["height"].transform("mean")`)' in told


def test_numbers_too_large_for_a_category(frame, target, tmp_path):
    frame["id"] = 2**60 + frame["children"]
    told = refused(columns(("h", OneHotEncoder(), ["id"])), frame, target, tmp_path / "b")
    assert "on column 'id': its category 1152921504606846976 is too large" in told


def test_two_marks_for_missing_text(frame, target, tmp_path):
    frame["job"] = frame["job"].astype(object).where(frame["job"].notna(), None)
    frame.loc[3, "job"] = np.nan
    told = refused(columns(("h", OneHotEncoder(), ["job"])), frame, target, tmp_path / "b")
    assert "column 'job'" in told and "None in some rows and NaN in others" in told


def test_text_that_reaches_the_model(frame, target, tmp_path):
    pipeline = Pipeline([("model", Lenient())])
    told = refused(pipeline, frame[["city", "height"]], target, tmp_path / "b")
    assert "step 'model' (Lenient) on columns 'city', 'height': it is an estimator of your own" in told


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (pd.date_range("2024-01-01", periods=240, tz="UTC"), "its dates have a time zone"),
        ([["a", "b"], 1] * 120, "it mixes values of int, list"),
    ],
)
def test_columns_that_no_request_has(frame, target, tmp_path, values, words):
    frame["odd"] = values
    pipeline = columns(("p", StandardScaler(), ["height"]), ("o", "drop", ["odd"]))
    out = export(pipeline.fit(frame, target), frame, tmp_path / "dropped")
    # What the pipeline drops, requests may have all the same.
    ignored = Bundle(out).manifest["ignored_columns"]
    assert sorted(ignored) == sorted(set(frame.columns) - {"height"})
    size = FunctionTransformer(lambda data: data.map(lambda v: v.month if hasattr(v, "month") else len(str(v))))
    pipeline = make_pipeline(size, DecisionTreeClassifier())
    frame = frame[["odd"]]
    told = refused(pipeline, frame, target, tmp_path / "b")
    assert told.startswith("cannot export column 'odd'") and words in told


def test_estimators_that_skl2onnx_does_not_convert(frame, target, tmp_path):
    pipeline = make_pipeline(StandardScaler(), LabelPropagation())
    told = refused(pipeline, frame[["height", "weight"]], target, tmp_path / "b")
    assert "step 'labelpropagation' (LabelPropagation) on columns 'height', 'weight'" in told
    assert "neither the exporter nor skl2onnx has it" in told


def test_a_config_that_differs_names_the_column(frame, target, tmp_path, monkeypatch):
    """The comparison with scikit-learn, which no config should ever need."""
    right = reference.transform

    def wrong(config, rows):
        matrix = right(config, rows)
        matrix[5, 1] += 1000.0
        return matrix

    monkeypatch.setattr(reference, "transform", wrong)
    pipeline = columns(("s", StandardScaler(), ["height", "weight"]))
    told = refused(pipeline, frame, target, tmp_path / "b")
    assert "cannot export the pipeline: to row 5 of the " in told


def test_a_graph_that_differs_is_not_written(frame, target, tmp_path, monkeypatch):
    from modelgate_exporter import model
    from modelgate_exporter.graph import forests

    monkeypatch.setattr(model, "_send_missing", lambda *_: None)
    monkeypatch.setattr(forests, "_divided", lambda graph, total, count: total)
    forest = RandomForestClassifier(3, random_state=1)
    told = refused(Pipeline([("forest", forest)]), frame[["age", "height"]], target, tmp_path / "b")
    assert "to row" in told and "the ONNX graph answers" in told


def test_a_pipeline_that_is_not_fitted(frame, tmp_path):
    with pytest.raises(ValueError, match="not fitted"):
        export(columns(("s", StandardScaler(), ["height"])), frame, tmp_path / "b")


def test_a_sample_without_a_column(frame, target, tmp_path):
    pipeline = columns(("s", StandardScaler(), ["height"])).fit(frame, target)
    with pytest.raises(ValueError, match="lacks columns of the fit: weight, city"):
        export(pipeline, frame.drop(columns=["weight", "city"]), tmp_path / "b")


def test_a_sample_that_the_pipeline_does_not_take(frame, target, tmp_path):
    pipeline = columns(("h", OneHotEncoder(), ["city"])).fit(frame, target)
    with pytest.raises(CannotExport, match="the pipeline fails on the sample frame .ValueError: Found unknown"):
        export(pipeline, frame.assign(city="Paris"), tmp_path / "b")


def test_a_sample_without_rows(frame, target, tmp_path):
    pipeline = columns(("s", StandardScaler(), ["height"])).fit(frame, target)
    with pytest.raises(ValueError, match="no rows"):
        export(pipeline, frame[:0], tmp_path / "b")
