"""category_encoders and feature_engine: values that the training had not are answered as the pipeline does, or refused."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from modelgate_exporter import CannotExport, export
from modelgate_exporter.written import Written

sys.path.insert(0, str(Path(__file__).parent / "pipelines"))
kinds = importlib.import_module("kinds")
measure = importlib.import_module("measure")

NAMES = [
    "categories_CountEncoder", "categories_LeaveOneOutEncoder", "categories_TargetEncoder_nan", "categories_in_columns",
    "engineered_rare", "engineered_bins", "engineered_powers", "engineered_sums",
]  # fmt: skip
COLS = ["city", "plan"]


@pytest.mark.parametrize("name", NAMES)
def test_answers_as_the_pipeline(name):
    factory = dict(kinds.cases()).get(name)
    assert factory is not None, "install category_encoders and feature_engine, as gateway/tests/py/requirements.txt names them"
    line = measure.measured(factory, 400, None, 0)
    assert line["state"] == "exported", line


@pytest.fixture
def data():
    rng = np.random.default_rng(5)
    count = 400
    frame = pd.DataFrame(
        {
            "age": rng.integers(18, 90, count).astype(float),
            "city": rng.choice(["lima", "quito", "cusco"], count),
            "plan": rng.choice(["a", "b"], count),
            "amount": rng.gamma(2, 50, count) + 1,
        }
    ).astype({"city": object, "plan": object})
    return frame, ((frame["age"] > 50) & (frame["city"] != "lima") | (frame["amount"] > 120)).astype(int)


def holding(frame, column, value, rows=20):
    """Rows of which every other one has a value in a column."""
    given = frame.head(rows).copy()
    cells = given[column].to_numpy(copy=True)
    cells[::2] = value
    given[column] = pd.Series(cells, index=given.index, dtype=given[column].dtype)
    return given


def agrees(pipeline, bundle, rows):
    """The bundle's answers are the pipeline's; where this refuses the rows, so does the bundle."""
    try:
        said = pipeline.predict_proba(rows)
    except (ValueError, TypeError):
        with pytest.raises(Exception, match=r"missing value|out of data bounds|unknown category"):
            bundle.answers(bundle.cells(rows))
        return False
    np.testing.assert_allclose(bundle.answers(bundle.cells(rows))["probabilities"], said, atol=1e-6)
    return True


@pytest.mark.parametrize(
    ("name", "options", "answered"),
    [
        ("OneHotEncoder", {"handle_unknown": "indicator"}, True),
        ("OneHotEncoder", {"handle_unknown": "error"}, False),
        ("OrdinalEncoder", {}, True),
        ("CatBoostEncoder", {"handle_unknown": "error"}, False),
        ("LeaveOneOutEncoder", {"handle_unknown": "return_nan"}, False),
        ("RankHotEncoder", {}, True),
        ("BackwardDifferenceEncoder", {}, True),
        ("GrayEncoder", {"handle_unknown": "return_nan"}, False),
    ],
)
def test_unknown_categories_of_encoders(data, tmp_path, name, options, answered):
    library = pytest.importorskip("category_encoders")
    frame, target = data
    pipeline = make_pipeline(getattr(library, name)(cols=COLS, **options), LogisticRegression(max_iter=500)).fit(frame, target)
    bundle = Written(export(pipeline, frame, tmp_path / "b", quiet=True))
    assert agrees(pipeline, bundle, frame)
    assert agrees(pipeline, bundle, holding(frame, "city", "never seen")) == answered


@pytest.mark.parametrize("mark", [None, np.nan])
@pytest.mark.parametrize("name", ["TargetEncoder", "CountEncoder", "LeaveOneOutEncoder"])
def test_missing_categories_of_encoders(data, tmp_path, name, mark):
    library = pytest.importorskip("category_encoders")
    frame, target = data
    frame = holding(frame, "city", mark, len(frame))
    pipeline = make_pipeline(getattr(library, name)(cols=COLS), HistGradientBoostingClassifier(max_iter=10)).fit(frame, target)
    bundle = Written(export(pipeline, frame, tmp_path / "b", quiet=True))
    assert agrees(pipeline, bundle, frame)
    assert agrees(pipeline, bundle, holding(frame, "plan", "never seen"))


def test_hashes_are_refused(data, tmp_path):
    library = pytest.importorskip("category_encoders")
    pipeline = make_pipeline(library.HashingEncoder(cols=COLS, max_process=1), LogisticRegression(max_iter=500)).fit(*data)
    with pytest.raises(CannotExport, match=r"on columns 'city', 'plan': it hashes every text by md5.*BinaryEncoder"):
        export(pipeline, data[0], tmp_path / "b", quiet=True)


@pytest.mark.parametrize(
    ("steps", "column", "value"),
    [
        (["encoding.OneHotEncoder(variables=COLS)"], "city", "never seen"),
        (["encoding.OrdinalEncoder(variables=COLS, unseen='raise', encoding_method='arbitrary')"], "city", "never seen"),
        (["encoding.MeanEncoder(variables=COLS)"], "plan", "never seen"),
        (["encoding.OneHotEncoder(variables=COLS)", "transformation.LogTransformer(variables=['amount'])"], "amount", 0.0),
        (["encoding.OneHotEncoder(variables=COLS)", "discretisation.ArbitraryDiscretiser({'age': [0, 30, 200]}, errors='raise')"], "age", 300.0),
        (["encoding.OneHotEncoder(variables=COLS)", "creation.RelativeFeatures(['amount'], ['age'], ['div'])"], "age", 0.0),
        (["encoding.OneHotEncoder(variables=COLS)", "creation.RelativeFeatures(['amount'], ['age'], ['div'], fill_value=-1)"], "age", 0.0),
    ],
)
def test_checks_of_rows(data, tmp_path, steps, column, value):
    pytest.importorskip("feature_engine")
    from feature_engine import creation, discretisation, encoding, transformation

    names = {"creation": creation, "discretisation": discretisation, "encoding": encoding, "transformation": transformation, "COLS": COLS}
    frame, target = data
    pipeline = make_pipeline(*[eval(step, names) for step in steps], LogisticRegression(max_iter=500)).fit(frame, target)
    bundle = Written(export(pipeline, frame, tmp_path / "b", quiet=True))
    assert agrees(pipeline, bundle, frame)
    agrees(pipeline, bundle, holding(frame, column, value))


@pytest.mark.parametrize("step", ["imputation.DropMissingData(variables=['amount'])", "outliers.OutlierTrimmer(variables=['amount'], fold=99)"])
def test_steps_that_drop_rows_are_refused(data, tmp_path, step):
    pytest.importorskip("feature_engine")
    from feature_engine import encoding, imputation, outliers

    made = eval(step, {"imputation": imputation, "outliers": outliers})
    pipeline = make_pipeline(encoding.OneHotEncoder(variables=COLS), made, LogisticRegression(max_iter=500)).fit(*data)
    with pytest.raises(CannotExport, match="cannot run row by row"):
        export(pipeline, data[0], tmp_path / "b", quiet=True)


def refusing(frame):
    if (frame["amount"] > 1e6).any() or not (frame["age"] > 0).all():
        raise ValueError("such an amount, or such an age")
    return frame


def patching(frame):
    if (frame["amount"] < 20).any():
        frame.loc[frame["amount"] < 20, "amount"] = 20.0
    return frame


def looking_up(frame):
    table = pd.DataFrame({"rate": [0.5, 2.0, np.nan], "share": [1.0, 3.0, 5.0]}, index=["a", "b", "z"])
    found = table.reindex(frame["plan"]).set_index(frame.index)
    return frame.assign(rate=found["rate"], share=table["share"].loc[frame["plan"]].to_numpy())


def in_parts(frame):
    made = np.zeros_like(frame["amount"])
    low = frame["amount"] < 60
    made[low] = np.sqrt(frame["amount"][low])
    made[~low] = np.log(frame["amount"][~low])
    return frame.assign(amount=made)


def numbers_of(frame):
    return frame.drop(columns=COLS)


@pytest.mark.parametrize(
    ("function", "column", "values"),
    [(refusing, "amount", [2e6, -1.0]), (refusing, "age", [0.0]), (patching, "amount", [3.0]), (looking_up, "plan", ["other", "z"]), (in_parts, "amount", [1.0, 60.0])],
)
def test_functions_with_checks_and_tables(data, tmp_path, function, column, values):
    frame, target = data
    steps = FunctionTransformer(function), FunctionTransformer(numbers_of)
    pipeline = make_pipeline(*steps, HistGradientBoostingClassifier(max_iter=10)).fit(frame, target)
    bundle = Written(export(pipeline, frame, tmp_path / "b", quiet=True))
    assert agrees(pipeline, bundle, frame)
    for value in values:
        try:
            agrees(pipeline, bundle, holding(frame, column, value))
        except KeyError:  # as `.loc` refuses what a table has not
            with pytest.raises(Exception, match="out of data bounds"):
                bundle.answers(bundle.cells(holding(frame, column, value)))


@pytest.mark.parametrize(
    "function",
    [
        lambda frame: frame.assign(amount=frame["amount"] * (frame["age"] > 80).any()),
        lambda frame: frame.assign(amount=frame["amount"] - (frame["age"] > 80).sum()),
        lambda frame: frame if (frame["age"] > 80).any() else frame.assign(amount=0.0),
        lambda frame: frame[frame["age"] > 0],
        lambda frame: frame.loc[frame["age"] > 0],
        lambda frame: frame.assign(amount=frame["amount"][frame["age"] > 18]),
    ],
)
def test_what_depends_on_other_rows_is_refused(data, tmp_path, function):
    pipeline = make_pipeline(FunctionTransformer(function), FunctionTransformer(numbers_of), HistGradientBoostingClassifier(max_iter=5))
    with pytest.raises(CannotExport, match=r"it computes over all rows|it looks at other rows"):
        export(pipeline.fit(*data), data[0], tmp_path / "b", quiet=True)
