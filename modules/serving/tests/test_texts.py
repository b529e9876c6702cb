"""Texts that nobody expects, through the gateway: alone and beside others."""

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

from modelgate_serving import InvalidInput, serve

ODD = ["", " ", "a", "\n", " \t ", "Dr. Ñandú, x@y.org", "  ", "日本 5", "a\nb", "aa  bb", ",", "Dr."]


def texts(count: int) -> list[str]:
    rng = np.random.default_rng(1)
    pieces = ["a", "Dr.", " ", "  ", "\n", ",", "ñ", "5", "x@y.org"]
    return [*ODD, *("".join(rng.choice(pieces, rng.integers(0, 6))) for _ in range(count - len(ODD)))]


def parts(frame: pd.DataFrame) -> pd.DataFrame:
    text = frame["text"]
    return pd.DataFrame(
        {
            "length": text.str.len(),
            "doctor": text.str.lower().str.contains(r"dr\."),
            "end": text.str.strip().str.split(",").str[-1].str[:2],
            "cost": frame["cost"].fillna(0.0),
        }
    )


ENCODED = ColumnTransformer([("end", OneHotEncoder(handle_unknown="ignore"), ["end"])], remainder="passthrough")
STEPS = {
    "parts": make_pipeline(FunctionTransformer(parts), ENCODED),
    "characters": ColumnTransformer(
        [
            ("text", TfidfVectorizer(analyzer="char", ngram_range=(1, 3)), "text"),
            ("words", TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 3)), "text"),
            ("cost", SimpleImputer(), ["cost"]),
        ]
    ),
}


@pytest.mark.parametrize("name", STEPS)
def test_texts_that_nobody_expects(name):
    frame = pd.DataFrame({"text": pd.Series(texts(200), dtype=object), "cost": np.arange(200.0)})
    frame.loc[::7, "cost"] = np.nan
    target = frame["text"].str.contains("Dr").to_numpy()
    model = make_pipeline(STEPS[name], LogisticRegression(max_iter=500)).fit(frame, target)
    with serve(model, frame) as handle:
        np.testing.assert_allclose(handle.predict_proba(frame), model.predict_proba(frame), atol=1e-6)
        for row in range(len(ODD)):
            one = frame.iloc[[row]]
            np.testing.assert_allclose(
                handle.predict_proba(one), model.predict_proba(one), atol=1e-6, err_msg=repr(one)
            )


def test_an_encoder_beside_texts_refuses_what_it_does_not_know():
    frame = pd.DataFrame({"text": pd.Series(texts(200), dtype=object), "shop": ["A", "B", "C", "D"] * 50})
    steps = ColumnTransformer([("text", TfidfVectorizer(), "text"), ("shop", OneHotEncoder(drop="first"), ["shop"])])
    model = make_pipeline(steps, LogisticRegression()).fit(frame, frame["shop"] == "B")
    with serve(model, frame) as handle:
        np.testing.assert_allclose(handle.predict_proba(frame), model.predict_proba(frame), atol=1e-6)
        with pytest.raises(InvalidInput):
            handle.predict(frame.head(3).assign(shop=["A", "Z", "B"]))
        assert len(handle.predict(frame.head(3))) == 3
