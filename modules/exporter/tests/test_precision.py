"""Thresholds keep the precision that the library compares in, and nothing is written unseen."""

import importlib
import json

import numpy as np
import pandas as pd
import pytest
from conftest import Bundle
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import Pipeline
from test_models import served

from modelgate_exporter import CannotExport, export
from modelgate_exporter.frame import rows as requests

route_module = importlib.import_module("modelgate_exporter.route")
FRESH = 20_000


@pytest.fixture(autouse=True)
def all_generated_rows(monkeypatch, few_generated_rows):
    monkeypatch.setattr(route_module, "GENERATED_ROWS", 4_000)


def places(count: int, seed: int) -> pd.DataFrame:
    """Coordinates on a grid finer than single precision tells apart, and a category."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "lat": 4_649_776.22 + rng.integers(0, 4000, count) / 1024,
            "lon": -74.0817 + rng.integers(0, 4000, count) * 1e-9,
            "floor": rng.integers(0, 30, count),
        }
    )
    frame.loc[rng.random(count) < 0.05, "floor"] = np.nan
    frame["use"] = pd.Categorical(
        rng.choice(["flat", "office", "shop", "yard"], count), ["flat", "office", "shop", "yard"]
    )
    return frame


def target(frame: pd.DataFrame) -> pd.Series:
    cell = ((frame["lat"] - 4_649_776.22) * 256).astype(int) + ((frame["lon"] + 74.0817) * 2e8).astype(int)
    return cell % 3 + (frame["use"] == "shop") * (frame["floor"].fillna(9) > 8)


def boosters() -> list:
    import lightgbm
    import xgboost

    return [
        HistGradientBoostingClassifier(max_iter=60, random_state=1),
        HistGradientBoostingRegressor(loss="poisson", max_iter=40, random_state=1),
        lightgbm.LGBMClassifier(n_estimators=60, num_leaves=63, verbose=-1),
        lightgbm.LGBMClassifier(n_estimators=30, objective="multiclassova", num_class=4, verbose=-1),
        lightgbm.LGBMRegressor(n_estimators=40, objective="tweedie", verbose=-1),
        xgboost.XGBClassifier(n_estimators=40, max_depth=5),
        xgboost.XGBRegressor(n_estimators=40, objective="count:poisson"),
    ]


@pytest.mark.parametrize("place", range(7))
def test_boosters_compare_as_their_library_does(place, tmp_path):
    booster = boosters()[place]
    frame, fresh = places(6_000, 1), places(FRESH, 2)
    if not isinstance(booster, (HistGradientBoostingClassifier, HistGradientBoostingRegressor)):
        frame, fresh = frame.drop(columns="use"), fresh.drop(columns="use")
        labels = target(places(6_000, 1))
    else:
        labels = target(frame)
    done = export(booster.fit(frame, labels), frame, tmp_path / "b")
    assert done.compared.generated > 4_000, done
    bundle = Bundle(done)
    double = type(booster).__name__.startswith(("Hist", "LGBM"))
    assert (done.datatype, bundle.tabular["output"]["datatype"]) == (("f64",) * 2 if double else ("f32",) * 2)
    kinds = {entry["name"]: entry["datatype"] for entry in bundle.tabular["inputs"]}
    answers = served(bundle, requests(fresh, kinds))
    expected = booster.predict(fresh)
    if "probabilities" in answers:
        assert (answers["prediction"] == expected).all()
        np.testing.assert_allclose(answers["probabilities"], booster.predict_proba(fresh), atol=1e-6)
    else:
        np.testing.assert_allclose(answers["prediction"], expected, rtol=1e-6)


def test_binary_boosters_and_labels(tmp_path):
    import lightgbm
    import xgboost

    frame = places(3_000, 3).drop(columns="use")
    words = np.where(target(places(3_000, 3)) > 1, "yes", "no")
    for booster, labels in [
        (lightgbm.LGBMClassifier(n_estimators=20, verbose=-1), words),
        (HistGradientBoostingClassifier(max_iter=20), words == "yes"),
        (xgboost.XGBClassifier(n_estimators=20), (words == "yes").astype(int)),
    ]:
        folder = tmp_path / type(booster).__name__
        bundle = Bundle(export(booster.fit(frame, labels), frame, folder))
        kinds = {entry["name"]: entry["datatype"] for entry in bundle.tabular["inputs"]}
        answers = served(bundle, requests(frame, kinds))
        assert (answers["prediction"] == booster.predict(frame)).all()
        np.testing.assert_allclose(answers["probabilities"], booster.predict_proba(frame), atol=1e-6)


def test_lightgbm_categories(tmp_path):
    import lightgbm

    frame, fresh = places(4_000, 4), places(8_000, 5)
    labels = target(frame)
    for data in (frame, fresh):
        data["use"] = data["use"].cat.codes.astype(float)
        data.loc[::17, "use"] = np.nan
    booster = lightgbm.LGBMClassifier(n_estimators=30, verbose=-1)
    booster.fit(frame, labels, categorical_feature=["use"])
    bundle = Bundle(export(booster, frame, tmp_path / "b"))
    fresh.loc[::23, "use"] = 7.0  # no such category
    kinds = {entry["name"]: entry["datatype"] for entry in bundle.tabular["inputs"]}
    answers = served(bundle, requests(fresh, kinds))
    assert (answers["prediction"] == booster.predict(fresh)).all()


@pytest.mark.parametrize("options", [{"linear_tree": True}])
def test_what_a_booster_has_no_equivalent_for_is_refused(options, tmp_path):
    import lightgbm

    frame = places(500, 6)[["lat", "floor"]]
    booster = lightgbm.LGBMRegressor(n_estimators=5, verbose=-1, **options).fit(frame, frame["lat"] % 1)
    with pytest.raises(CannotExport, match="train it without that"):
        export(booster, frame, tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_double_precision_where_single_does_not_do(tmp_path):
    """A linear model over large numbers that nearly cancel."""
    rng = np.random.default_rng(7)
    frame = pd.DataFrame({"x": 4e7 + rng.normal(0, 1, 500), "y": 4e7 + rng.normal(0, 1, 500)})
    model = LinearRegression().fit(frame, frame["x"] - frame["y"])
    done = export(Pipeline([("m", model)]), frame, tmp_path / "b")
    assert done.datatype == "f64" and done.compared.largest < 1e-6, done
    bundle = Bundle(done)
    answers = served(bundle, json.loads(frame.to_json(orient="records", double_precision=15)))
    np.testing.assert_allclose(answers["prediction"], model.predict(frame), atol=1e-5)


def test_the_report_says_what_was_compared(tmp_path):
    frame = places(800, 8)[["lat", "floor"]]
    model = HistGradientBoostingRegressor(max_iter=5).fit(frame, frame["lat"])
    text = str(export(model, frame, tmp_path / "b"))
    assert "compared on 800 rows of the sample and" in text and "the largest difference is" in text
    one = str(export(model, frame[:1], tmp_path / "one"))
    assert "compared on 1 row of the sample" in one and "a sample of one row shows neither" in one
