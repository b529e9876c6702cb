"""Writes reference.json: what scikit-learn makes of seeded frames, for the tests of the tabular module.

Run by hand with scikit-learn 1.9 and pandas 3: python reference.py
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
)

ROWS = 70  # more than one tile of the module
random = np.random.default_rng(20240711)
cases: list[dict[str, Any]] = []


def plain(value: Any) -> Any:
    """A JSON value; NaN and None are null."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return None
    return value.item() if isinstance(value, np.generic) else value


def numbers(missing: float = 0.0) -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "a": random.normal(2700, 300, ROWS),
            "b": random.exponential(3, ROWS) - 2,
            "c": random.integers(-50, 50, ROWS) + random.choice([0.0, 0.5, 0.25], ROWS),
        }
    )
    return frame.mask(random.random(frame.shape) < missing)


def words(missing: float = 0.0, by: Any = None) -> pd.DataFrame:
    known = ["C7746", "C2702", "ñandú", "", "a rather long name of a category"]
    frame = pd.DataFrame({"s": random.choice(known, ROWS), "t": random.choice(["x", "y", "z"], ROWS)})
    frame = frame.astype(object)
    return frame.mask(random.random(frame.shape) < missing, by)


def case(
    name: str,
    fitted: Any,
    test: pd.DataFrame,
    steps: list[dict[str, Any]],
    datatypes: dict[str, str] | None = None,
    output: str = "f64",
) -> None:
    expected = fitted.transform(test)
    expected = np.asarray(expected.toarray() if hasattr(expected, "toarray") else expected, dtype=np.float64)
    if output == "f32":
        expected = expected.astype(np.float32).astype(np.float64)
    text = {column: test[column].dtype == object for column in test}
    inputs = [
        {
            "name": column,
            "datatype": (datatypes or {}).get(column, "bytes" if text[column] else "f64"),
            "nullable": bool(test[column].isna().any()),
        }
        for column in test
    ]
    cases.append(
        {
            "name": name,
            "config": {
                "inputs": inputs,
                "output": {"name": "X", "datatype": output},
                "blocks": [{"columns": list(test), "steps": steps}],
            },
            "rows": [[plain(value) for value in row] for row in test.itertuples(index=False)],
            "expected": [[plain(value) for value in row] for row in expected],
        }
    )


def lists(values: Any) -> list[Any]:
    return [plain(value) for value in values]


def categories(encoder: Any) -> list[list[Any]]:
    return [lists(column) for column in encoder.categories_]


def scalers() -> None:
    fit, test = numbers(), numbers(missing=0.1)
    s = StandardScaler().fit(fit)
    standard = {"op": "standard", "mean": lists(s.mean_), "scale": lists(s.scale_)}
    case("standard", s, test, [standard])
    case("standard to single precision", s, test, [standard], output="f32")
    s = StandardScaler(with_mean=False).fit(fit)
    case("standard without mean", s, test, [{"op": "standard", "mean": None, "scale": lists(s.scale_)}])
    s = StandardScaler(with_std=False).fit(fit)
    case("standard without scale", s, test, [{"op": "standard", "mean": lists(s.mean_), "scale": None}])
    m = MinMaxScaler(feature_range=(-1, 2)).fit(fit)
    min_max = {"op": "min_max", "scale": lists(m.scale_), "min": lists(m.min_)}
    case("min_max", m, test, [min_max])
    m = MinMaxScaler(clip=True).fit(fit[:20])
    clipped = {"op": "min_max", "scale": lists(m.scale_), "min": lists(m.min_), "clip": [0, 1]}
    case("min_max with clip", m, test, [clipped])
    a = MaxAbsScaler().fit(fit)
    case("max_abs", a, test, [{"op": "max_abs", "scale": lists(a.scale_)}])
    r = RobustScaler(quantile_range=(20, 70)).fit(fit)
    robust = {"op": "robust", "center": lists(r.center_), "scale": lists(r.scale_)}
    case("robust", r, test, [robust])
    p = make_pipeline(FunctionTransformer(np.trunc), MinMaxScaler()).fit(fit)
    m = p[-1]
    min_max = {"op": "min_max", "scale": lists(m.scale_), "min": lists(m.min_)}
    case("truncated, then min_max", p, test, [{"op": "cast", "to": "i64"}, min_max])
    p = make_pipeline(FunctionTransformer(lambda x: x.astype(np.float32).astype(np.float64)), a).fit(fit)
    case("rounded, then max_abs", p, test, [{"op": "cast", "to": "f32"}, {"op": "max_abs", "scale": lists(p[-1].scale_)}])


def imputers() -> None:
    fit, test = numbers(missing=0.2), numbers(missing=0.2)
    for strategy in ("mean", "median", "most_frequent"):
        i = SimpleImputer(strategy=strategy).fit(fit)
        case(f"impute {strategy}", i, test, [{"op": "impute", "values": lists(i.statistics_)}])
    i = SimpleImputer(strategy="mean", add_indicator=True).fit(fit)
    case("impute with indicator", i, test, [{"op": "impute", "values": lists(i.statistics_), "indicator": [0, 1, 2]}])
    p = make_pipeline(SimpleImputer(strategy="median"), StandardScaler()).fit(fit)
    steps = [
        {"op": "impute", "values": lists(p[0].statistics_)},
        {"op": "standard", "mean": lists(p[1].mean_), "scale": lists(p[1].scale_)},
    ]
    case("impute, then standard", p, test, steps)
    fit, test = words(missing=0.2), words(missing=0.2)
    p = make_pipeline(SimpleImputer(missing_values=None, strategy="most_frequent"), OneHotEncoder()).fit(fit)
    steps = [
        {"op": "impute", "values": lists(p[0].statistics_)},
        {"op": "one_hot", "categories": categories(p[1]), "unknown": "error"},
    ]
    case("impute strings, then one_hot", p, test, steps)
    p = make_pipeline(
        SimpleImputer(missing_values=None, strategy="constant", fill_value="none"),
        OneHotEncoder(handle_unknown="ignore", categories=[["", "C2702"], ["x", "y"]]),
    ).fit(fit)
    steps = [
        {"op": "impute", "values": ["none", "none"]},
        {"op": "one_hot", "categories": categories(p[1]), "unknown": "ignore"},
    ]
    case("impute an unknown string, then one_hot", p, test, steps)


def one_hots() -> None:
    fit, test = words(missing=0.2), words(missing=0.2)
    test.iloc[3] = ["new", None]
    test.iloc[66] = [None, "newer"]
    e = OneHotEncoder(handle_unknown="ignore").fit(fit)
    case("one_hot", e, test, [{"op": "one_hot", "categories": categories(e), "unknown": "ignore"}])
    e = OneHotEncoder(handle_unknown="ignore").fit(words())
    case("one_hot that never saw a missing one", e, test, [{"op": "one_hot", "categories": categories(e), "unknown": "ignore"}])
    for drop in ("first", "if_binary"):
        known = pd.DataFrame({"s": ["b", "a", "b", None] * 20, "t": ["x", "y"] * 40}, dtype=object)
        e = OneHotEncoder(drop=drop, handle_unknown="ignore").fit(known)
        step = {"op": "one_hot", "categories": categories(e), "unknown": "ignore", "drop": lists(e.drop_idx_)}
        case(f"one_hot that drops {drop}", e, test.assign(s=known["s"]), [step])
    many = pd.DataFrame({"s": list("aaaaabbbbbccccde") * 4, "t": list("zyxwvutssssssrrr") * 4}, dtype=object)
    probe = pd.DataFrame({"s": list("abcdeq?") * 10, "t": list("zsrvq?x") * 10}, dtype=object)
    for drop in (None, "first"):
        e = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=10, drop=drop).fit(many)
        infrequent = [
            [list(column).index(value) for value in (rare if rare is not None else [])]
            for column, rare in zip(e.categories_, e.infrequent_categories_, strict=True)
        ]
        step = {"op": "one_hot", "categories": categories(e), "unknown": "infrequent", "infrequent": infrequent}
        if drop:
            step["drop"] = lists(e.drop_idx_)
        case(f"one_hot with infrequent ones, drops {drop}", e, probe, [step])
    fit = pd.DataFrame({"n": [3, 1, -2, 7] * 20, "k": [True, False] * 40})
    test = pd.DataFrame({"n": [3, 1, -2, 7, 9, 0, 1] * 10, "k": [True, False] * 35})
    e = OneHotEncoder(handle_unknown="ignore").fit(fit)
    step = {"op": "one_hot", "categories": categories(e), "unknown": "ignore"}
    case("one_hot of integers and booleans", e, test, [step], {"n": "i64", "k": "bool"})
    fit = pd.DataFrame({"f": [0.5, 1.5, np.nan, -0.0] * 20})
    e = OneHotEncoder(handle_unknown="ignore").fit(fit)
    step = {"op": "one_hot", "categories": categories(e), "unknown": "ignore"}
    case("one_hot of floats", e, pd.DataFrame({"f": [0.0, 1.5, np.nan, 9.0, -0.0] * 14}), [step])


def ordinals() -> None:
    test = words(missing=0.2, by=np.nan)
    test.iloc[5] = ["new", "newer"]
    fit = words(missing=0.2, by=np.nan)
    e = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1).fit(fit)
    step = {"op": "ordinal", "categories": categories(e), "unknown": "value", "unknown_value": -1, "missing_value": None}
    case("ordinal", e, test, [step])
    e = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan, encoded_missing_value=-5).fit(fit)
    step = step | {"unknown_value": None, "missing_value": -5}
    case("ordinal with other values", e, test, [step])
    e = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1).fit(words())
    step = step | {"categories": categories(e), "unknown_value": -1, "missing_value": None}
    case("ordinal that never saw a missing one", e, test, [step])
    p = make_pipeline(
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan), SimpleImputer(), StandardScaler()
    ).fit(fit)
    step = {
        "op": "ordinal",
        "categories": categories(p[0]),
        "unknown": "value",
        "unknown_value": None,
        "missing_value": None,
    }
    steps = [
        step,
        {"op": "impute", "values": lists(p[1].statistics_)},
        {"op": "standard", "mean": lists(p[2].mean_), "scale": lists(p[2].scale_)},
    ]
    case("ordinal, then impute and standard", p, test, steps)
    # A None, unlike a NaN, is a category like any other.
    e = OrdinalEncoder().fit(words(missing=0.2))
    step = {"op": "ordinal", "categories": categories(e), "unknown": "error"}
    case("ordinal with a None", e, words(missing=0.2), [step])


scalers()
imputers()
one_hots()
ordinals()
text = "[\n" + ",\n".join(json.dumps(case, allow_nan=False) for case in cases) + "\n]\n"
(Path(__file__).parent / "reference.json").write_text(text)
print(len(cases), "cases,", len(text), "bytes")
