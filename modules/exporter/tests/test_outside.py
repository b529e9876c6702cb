"""Functions in Python alone become a stage ahead of the others, and say why where they cannot."""

import random

import numpy as np
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

from modelgate_exporter import CannotExport, export
from modelgate_exporter.graph import foreign
from modelgate_exporter.source import Source, Uncarried
from modelgate_exporter.written import Written

TABLE = {"Lima": 3, "Cusco": float("inf")}


def helper(value, times=2):
    return TABLE.get(value, times)


def with_helper(value: "np.ndarray") -> int:
    import math

    return math.floor(helper(value))


def by_chance(value):
    return random.random()


def test_a_function_stands_by_itself():
    source = Source()
    assert source.add(with_helper) == "with_helper"
    scope = {}
    exec(source.text(), scope)
    assert scope["with_helper"]("Lima") == 3 and scope["helper"]("Cusco") == float("inf")
    name = source.add(lambda value: helper(value) + 1)
    scope = {}
    exec(source.text(), scope)
    assert scope[name]("Lima") == 4


@pytest.mark.parametrize("function", [by_chance, np.sqrt, test_a_function_stands_by_itself])
def test_a_function_that_needs_more_is_told(function):
    with pytest.raises(Uncarried):
        Source().add(function)


def reversed_text(text):
    return "".join(reversed(text))


def pipeline_of(frame):
    change = FunctionTransformer(lambda data: data.assign(city=data["city"].map(reversed_text)))
    steps = ColumnTransformer([("c", OneHotEncoder(handle_unknown="ignore"), ["city"])], remainder="passthrough")
    return make_pipeline(change, steps, LinearRegression()).fit(frame, frame["height"] * 2.0)


def test_a_stage_in_python(frame, tmp_path, capsys):
    data = frame[["city", "height"]].dropna().reset_index(drop=True)
    pipeline = pipeline_of(data)
    bundle = Written(export(pipeline, data, tmp_path / "b"))
    assert "reversed_text in a stage in Python (wasm)" in capsys.readouterr().out
    assert [stage["name"] for stage in bundle.manifest["stage"]] == ["features", "preprocess", "predict"]
    assert (tmp_path / "b" / "features.wasm").read_bytes()[:4] == b"\0asm"
    given = bundle.answers(bundle.cells(data))["prediction"]
    np.testing.assert_allclose(given, pipeline.predict(data), atol=1e-6)


def test_says_what_to_install(frame, tmp_path, monkeypatch):
    # As where it is not installed.
    monkeypatch.setattr(foreign, "installed", lambda: False)
    data = frame[["city", "height"]].dropna().reset_index(drop=True)
    with pytest.raises(CannotExport, match=r"pip install ./modules/python"):
        export(pipeline_of(data), data, tmp_path / "b", quiet=True)
