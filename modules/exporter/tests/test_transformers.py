"""Each transformer's config, run by the reference interpreter, is scikit-learn's matrix."""

import re

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer, make_column_selector
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

from modelgate_exporter import reference, truncate

NUMBERS = ["height", "weight", "children"]


def named(case: object) -> str:
    """The name of a case, which is the same in every process: without addresses."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(case))


@pytest.mark.parametrize(
    "scaler",
    [
        StandardScaler(),
        StandardScaler(with_mean=False),
        StandardScaler(with_std=False),
        StandardScaler(with_mean=False, with_std=False),
        MinMaxScaler(),
        MinMaxScaler((-1, 3)),
        MinMaxScaler(clip=True),
        MaxAbsScaler(),
        RobustScaler(),
        RobustScaler(with_centering=False, quantile_range=(5, 95)),
        RobustScaler(with_scaling=False),
        "passthrough",
        FunctionTransformer(),
        FunctionTransformer(truncate),
        FunctionTransformer(np.trunc),
        FunctionTransformer(lambda data: data.astype(int)),
        FunctionTransformer(lambda data: data.astype("float32")),
    ],
    ids=named,
)
def test_numbers(prepare, frame, scaler):
    far = frame[NUMBERS] * [3, -2.5, 40]
    prepare(scaler, NUMBERS, far)


@pytest.mark.parametrize("scaler", [MaxAbsScaler, StandardScaler, MinMaxScaler, RobustScaler])
def test_missing_numbers_go_through_scalers(prepare, scaler):
    bundle = prepare(scaler(), ["age", "height"])
    assert bundle.inputs()["age"]["nullable"] is True
    assert "nullable" not in bundle.inputs()["height"]


def test_max_abs_may_clip(prepare, frame):
    prepare(MaxAbsScaler(clip=True), NUMBERS, frame[NUMBERS] * 9)


@pytest.mark.parametrize("strategy", ["mean", "median", "most_frequent", "constant"])
@pytest.mark.parametrize("indicator", [False, True])
def test_imputed_numbers(prepare, strategy, indicator):
    bundle = prepare(SimpleImputer(strategy=strategy, add_indicator=indicator), ["height", "age"])
    # What an imputer handles may be missing in a request, though the sample has it everywhere.
    assert bundle.inputs()["height"]["nullable"] is True
    assert bundle.ops() == [(["height", "age"], ["impute"])]
    assert bundle.tabular["blocks"][0]["steps"][0].get("indicator") == ([1] if indicator else None)


def test_a_scaler_behind_an_indicator_scales_it(prepare):
    bundle = prepare(
        make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()), ["height", "age"]
    )
    assert bundle.ops() == [
        (["height", "age"], ["impute", "standard"]),
        (["age"], ["missing", "standard"]),
    ]


@pytest.mark.parametrize("keep", [False, True])
def test_a_column_without_any_value(prepare, frame, keep):
    frame["empty"] = np.nan
    bundle = prepare(SimpleImputer(keep_empty_features=keep), ["empty", "height"])
    assert ("empty" in bundle.inputs()) is keep


@pytest.mark.parametrize("unknown", ["error", "ignore", "infrequent_if_exist"])
@pytest.mark.parametrize("drop", [None, "first", "if_binary", ["Quito", "mid"]])
@pytest.mark.parametrize("grouped", [{}, {"min_frequency": 40}, {"max_categories": 3}])
def test_one_hot(prepare, frame, unknown, drop, grouped):
    if drop == ["Quito", "mid"]:
        frame["grade"] = frame["grade"].where(frame.index % 3 > 0, "mid")
    others = pd.DataFrame({"city": ["Lima", "La Paz", "Oslo"], "grade": ["mid", "low", "none"]})
    columns = ["city", "grade"]
    encoder = OneHotEncoder(handle_unknown=unknown, drop=drop, **grouped)
    bundle = prepare(encoder, columns, None if unknown == "error" else others)
    if unknown == "error":
        with pytest.raises(reference.Refused, match="Oslo"):
            bundle.matrix([{"city": "Oslo", "grade": "mid"}])


def test_one_hot_with_every_category_infrequent(prepare):
    prepare(OneHotEncoder(min_frequency=200), ["city", "grade"])


def test_one_hot_that_drops_its_only_group(prepare):
    encoder = OneHotEncoder(min_frequency=100, drop="first", handle_unknown="infrequent_if_exist")
    others = pd.DataFrame({"city": ["Oslo", "Lima"], "grade": ["none", "low"]})
    prepare(encoder, ["city", "grade"], others)


def test_one_hot_of_numbers_and_booleans(prepare, frame):
    frame["floor"] = frame["children"] / 2
    columns = ["children", "floor", "smokes"]
    bundle = prepare(OneHotEncoder(handle_unknown="ignore"), columns)
    categories = bundle.tabular["blocks"][0]["steps"][0]["categories"]
    assert categories == [[0, 1, 2, 3, 4], [0, 0.5, 1, 1.5, 2], [False, True]]
    assert [entry["datatype"] for entry in bundle.tabular["inputs"]] == ["i64", "f64", "bool"]


@pytest.mark.parametrize("missing", [None, np.nan])
def test_one_hot_of_missing_text(prepare, frame, missing):
    frame["job"] = frame["job"].astype(object).where(frame["job"].notna(), missing)
    bundle = prepare(OneHotEncoder(handle_unknown="ignore"), ["job", "city"])
    assert bundle.tabular["blocks"][0]["steps"][0]["categories"][0][-1] is None
    assert bundle.inputs()["job"]["nullable"] is True
    assert "nullable" not in bundle.inputs()["city"]


def test_one_hot_of_missing_numbers(prepare, frame):
    frame["age"] = (frame["age"] // 20) * 20
    bundle = prepare(OneHotEncoder(drop="first"), ["age"])
    assert bundle.tabular["blocks"][0]["steps"][0]["categories"][0][-1] is None


@pytest.mark.parametrize("dtype", ["category", "string", object])
def test_kinds_of_text_columns(prepare, frame, dtype):
    frame["city"] = frame["city"].astype(dtype)
    assert prepare(OneHotEncoder(), ["city"]).inputs()["city"]["datatype"] == "bytes"


def test_imputed_text(prepare, frame):
    frame["job"] = frame["job"].astype(object)
    bundle = prepare(
        make_pipeline(SimpleImputer(strategy="constant", fill_value="none"), OneHotEncoder()),
        ["job"],
    )
    assert bundle.tabular["blocks"][0]["steps"][0] == {"op": "impute", "values": ["none"]}


def test_text_with_an_indicator(prepare, frame):
    frame["job"] = frame["job"].astype(object)
    imputer = SimpleImputer(strategy="most_frequent", add_indicator=True)
    encode = ColumnTransformer([("hot", OneHotEncoder(), [0])], remainder="passthrough")
    prepare(make_pipeline(imputer, encode), ["job"])


@pytest.mark.parametrize(
    "unknown",
    [
        {},
        {"handle_unknown": "use_encoded_value", "unknown_value": -1},
        {"handle_unknown": "use_encoded_value", "unknown_value": np.nan},
    ],
)
@pytest.mark.parametrize("missing", [{}, {"encoded_missing_value": -2}])
def test_ordinal(prepare, unknown, missing):
    others = pd.DataFrame({"job": ["mid", "nobody", np.nan], "grade": ["low", "none", "high"]})
    prepare(OrdinalEncoder(**unknown, **missing), ["job", "grade"], others if unknown else None)


def test_ordinal_with_an_order_of_its_own(prepare):
    bundle = prepare(OrdinalEncoder(categories=[["low", "mid", "high"]]), ["grade"])
    step = bundle.tabular["blocks"][0]["steps"][0]
    assert step == {"op": "ordinal", "categories": [["low", "mid", "high"]], "unknown": "error"}


def test_numbers_may_follow_ordinal(prepare):
    chain = make_pipeline(OrdinalEncoder(), SimpleImputer(strategy="median"), StandardScaler())
    bundle = prepare(chain, ["job", "city"])
    chain = ["ordinal", "impute", "standard"]
    assert bundle.ops() == [(["job"], chain), (["city"], chain)]


@pytest.mark.parametrize("remainder", ["drop", "passthrough", StandardScaler()])
def test_remainder(prepare, remainder):
    bundle = prepare(
        ColumnTransformer(
            [("city", OneHotEncoder(), ["city"]), ("out", "drop", ["children"])],
            remainder=remainder,
        ),
        ["height", "city", "children", "weight"],
    )
    # Callers need not send what the pipeline drops.
    kept = ["city"] if remainder == "drop" else ["height", "city", "weight"]
    assert list(bundle.inputs()) == kept


@pytest.mark.parametrize(
    "numbers",
    [
        ["height", "weight"],
        [0, 2],
        [-4, -2],
        slice("height", "weight"),
        slice(0, 3, 2),
        [True, False, True, False],
        np.array([True, False, True, False]),
        make_column_selector(dtype_include="floating"),
        lambda frame: ["height", "weight"],
    ],
    ids=named,
)
def test_column_selectors(prepare, frame, numbers):
    columns = ["height", "city", "weight", "grade"]
    frame["city"] = pd.factorize(frame["city"])[0]  # so that a slice by name may include it
    prepare(
        ColumnTransformer([("n", StandardScaler(), numbers), ("g", OrdinalEncoder(), ["grade"])]),
        columns,
    )


def test_a_column_in_several_blocks(prepare):
    bundle = prepare(
        ColumnTransformer(
            [
                ("a", StandardScaler(), ["height", "weight"]),
                ("b", MinMaxScaler(), ["weight"]),
                ("c", "passthrough", ["height"]),
                ("none", StandardScaler(), []),
            ]
        ),
        ["height", "weight"],
    )
    assert bundle.ops() == [
        (["height", "weight"], ["standard"]),
        (["weight"], ["min_max"]),
        (["height"], []),
    ]


def test_everything_together(prepare, frame):
    numbers = make_pipeline(
        FunctionTransformer(truncate), SimpleImputer(add_indicator=True), RobustScaler()
    )
    inner = ColumnTransformer(
        [("first", MinMaxScaler(), [0]), ("second", "passthrough", [1])], remainder="drop"
    )
    everything = ColumnTransformer(
        [
            ("hot", OneHotEncoder(handle_unknown="ignore", min_frequency=30), ["city", "job"]),
            ("numbers", numbers, ["age", "height"]),
            ("nested", make_pipeline(StandardScaler(), inner), ["weight", "children"]),
            ("ordinal", OrdinalEncoder(), ["grade"]),
        ],
        remainder="passthrough",
        verbose_feature_names_out=False,
    )
    others = frame.sample(50, random_state=1)
    others["city"] = "Oslo"
    prepare(everything, list(frame.columns), others)


def test_truncation_of_the_whole_frame_leaves_text_alone(prepare, frame):
    encode = ColumnTransformer([("hot", OneHotEncoder(), ["city"])], remainder="passthrough")
    bundle = prepare(
        make_pipeline(FunctionTransformer(truncate), encode), ["height", "children", "city"]
    )
    # Integers in the sample, but fractions are welcome, since they are cut off.
    assert bundle.inputs()["children"]["datatype"] == "f64"
    assert bundle.ops() == [(["city"], ["one_hot"]), (["height", "children"], ["cast"])]


def test_a_function_of_some_columns(prepare):
    def whole_height(frame):
        return frame.assign(height=frame["height"].astype(int))

    bundle = prepare(FunctionTransformer(whole_height), ["height", "weight"])
    assert bundle.ops() == [(["height"], ["cast"]), (["weight"], [])]


def test_pandas_output(prepare):
    chain = ColumnTransformer(
        [("hot", OneHotEncoder(sparse_output=False), ["city"])], remainder=StandardScaler()
    ).set_output(transform="pandas")
    prepare(chain, ["height", "city", "age"])


def test_extension_dtypes(prepare, frame):
    frame["children"] = frame["children"].astype("Int64")
    frame["weight"] = frame["weight"].astype("Float64")
    bundle = prepare(StandardScaler(), ["children", "weight"])
    assert [entry["datatype"] for entry in bundle.tabular["inputs"]] == ["i64", "f64"]


def test_single_precision_columns(prepare, frame):
    frame[["height", "weight"]] = frame[["height", "weight"]].astype("float32")
    bundle = prepare("passthrough", ["height", "weight"])
    assert [entry["datatype"] for entry in bundle.tabular["inputs"]] == ["f32", "f32"]


def test_truncate_keeps_what_is_missing_and_what_is_no_float():
    frame = pd.DataFrame({"a": [1.9, -1.9, np.nan], "b": [1, 2, 3], "c": ["x", "y", None]})
    result = truncate(frame)
    assert result["a"].tolist()[:2] == [1.0, -1.0] and np.isnan(result["a"][2])
    assert result["b"].equals(frame["b"]) and result["c"].equals(frame["c"])
    assert truncate(np.array([2.7, -2.7])).tolist() == [2.0, -2.0]
    assert truncate(pd.Series([2.7])).tolist() == [2.0]
