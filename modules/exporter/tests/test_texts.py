"""Parts of texts in functions of the user's own, on texts that nobody expects."""

import re

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

from modelgate_exporter import CannotExport, export
from modelgate_exporter.written import Written

PIECES = ["a", "B", "ñ", "Łó", "Dr.", "Mr", ",", ", ", " ", "  ", "\t", "\n", "\xa0", "\u2003", "é", "5", "٣", "_", "x@y.org",
          ".", "-", "'", "C85", "日本", "@", "Ω", "(", "[a-z]", "\\", "#", "%"]  # fmt: skip


def texts(count: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return ["", *("".join(rng.choice(PIECES, rng.integers(0, 7))) for _ in range(count - 1))]


FUNCTIONS = {
    "lower": lambda s: s.str.lower(),
    "upper": lambda s: s.str.upper(),
    "strip": lambda s: s.str.strip(),
    "lstrip": lambda s: s.str.lstrip(),
    "rstrip": lambda s: s.str.rstrip(),
    "strip_signs": lambda s: s.str.strip(".,"),
    "len": lambda s: s.str.len(),
    "contains": lambda s: s.str.contains("Dr"),
    "contains_pattern": lambda s: s.str.contains(r"[A-Z]\w+\s?"),
    "contains_either": lambda s: s.str.contains(r"^(?:a|B).*\d\Z"),
    "contains_case": lambda s: s.str.contains("mR", case=False),
    "contains_literally": lambda s: s.str.contains("[a-z]", regex=False),
    "match": lambda s: s.str.match(r"\W"),
    "fullmatch": lambda s: s.str.fullmatch(r"[\w .]+"),
    "startswith": lambda s: s.str.startswith(("Dr", "(")),
    "endswith": lambda s: s.str.endswith("."),
    "count": lambda s: s.str.count(r"\d|ñ"),
    "replace": lambda s: s.str.replace("Dr", "Señor"),
    "replace_pattern": lambda s: s.str.replace(r"[\d@]+", "#", regex=True),
    "replace_twice": lambda s: s.str.replace("a", "").str.replace("B", "a", regex=False).str.len(),
    "title": lambda s: s.str.title(),
    "capitalize": lambda s: s.str.capitalize(),
    "words_number": lambda s: s.str.split().str.len(),
    "parts_number": lambda s: s.str.split(",").str.len(),
    "with_itself": lambda s: s.str.cat(s.str.lower(), sep="/"),
    "first": lambda s: s.str[0],
    "third": lambda s: s.str[2],
    "last": lambda s: s.str[-1],
    "last_but_one": lambda s: s.str.get(-2),
    "head": lambda s: s.str[:2],
    "tail": lambda s: s.str[-3:],
    "slice": lambda s: s.str.slice(0, 3),
    "split_first": lambda s: s.str.split(",").str[0],
    "split_last": lambda s: s.str.split("@").str[-1],
    "words_first": lambda s: s.str.split().str[0],
    "words_second": lambda s: s.str.split().str.get(1),
    "words_last": lambda s: s.str.split().str[-1],
    "extract": lambda s: s.str.extract(r"([A-Z]\w*)", expand=False),
    "extract_between": lambda s: s.str.extract(r"\s([A-Za-z]+)\.", expand=False),
    "chain": lambda s: s.str.strip().str.lower().str.split(",").str[-1].str[:2],
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_parts_of_texts(name, tmp_path):
    function = FUNCTIONS[name]

    def change(frame):
        made = function(frame["text"])
        return frame.assign(text=made)

    frame = pd.DataFrame({"text": texts(300), "number": np.arange(300.0)})
    frame["text"] = frame["text"].astype(object)
    made = change(frame)["text"]
    number = pd.api.types.is_numeric_dtype(made) or pd.api.types.is_bool_dtype(made)
    encode = "passthrough" if number else OneHotEncoder(handle_unknown="ignore")
    steps = ColumnTransformer([("text", encode, ["text"])], remainder="passthrough")
    known = pd.factorize(made.astype(str))[0] % 7
    pipeline = make_pipeline(FunctionTransformer(change), steps, LinearRegression()).fit(frame, known)
    bundle = Written(export(pipeline, frame, tmp_path / "b", quiet=True))
    assert [text["column"] for text in bundle.tabular["texts"]] == ["text"]
    # Texts that the fit has not seen, alone and beside each other.
    other = pd.DataFrame({"text": texts(500, seed=1), "number": 1.0})
    other["text"] = other["text"].astype(object)
    for rows in (other, pd.DataFrame({"text": [" Dr. ab,cd x@y.org  Mr. z"], "number": 1.0}).astype({"text": object})):
        given = bundle.answers(bundle.cells(rows))["prediction"]
        np.testing.assert_allclose(given, pipeline.predict(rows), atol=1e-8)


def test_texts_in_functions_of_one_value(tmp_path):
    def change(frame):
        return pd.DataFrame(
            {
                "kind": frame["text"].apply(lambda text: 2 if text.lower().startswith("dr") else 1 if "@" in text else 0),
                "end": frame["text"].map(lambda text: text.strip().split("@")[-1].upper()),
            }
        )

    frame = pd.DataFrame({"text": texts(300)}, dtype=object)
    steps = ColumnTransformer([("end", OneHotEncoder(handle_unknown="ignore"), ["end"])], remainder="passthrough")
    target = frame["text"].str.contains("Dr").to_numpy()
    pipeline = make_pipeline(FunctionTransformer(change), steps, LogisticRegression()).fit(frame, target)
    bundle = Written(export(pipeline, frame, tmp_path / "b", quiet=True))
    other = pd.DataFrame({"text": texts(500, seed=2)}, dtype=object)
    given = bundle.answers(bundle.cells(other))
    np.testing.assert_allclose(given["probabilities"], pipeline.predict_proba(other), atol=1e-8)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda s: s.str.replace("(a)", r"\1b", regex=True), "puts a part of what it found into the text"),
        (lambda s: s.str.replace("^a", "b", regex=True), "what stands before or behind"),
        (lambda s: s.str.swapcase(), "calls .swapcase of a text"),
        (lambda s: s.str.contains(r"\bDr"), "anchors of words"),
        (lambda s: s.str.contains("a*"), "matches an empty text"),
        (lambda s: s.str[1:3], "from the middle"),
        (lambda s: s.str.split(",").str[1], "from the middle of a split"),
        (lambda s: s.str.extract("a(.*)b", expand=False), "not certain to be found"),
        (lambda s: s.str.extract("([a-z]+)[a-z]", expand=False), "not certain to be found"),
    ],
)
def test_what_has_no_operator_is_refused(function, words, tmp_path):
    def change(frame):
        return pd.DataFrame({"text": function(frame["text"])})

    frame = pd.DataFrame({"text": texts(100)}, dtype=object)
    steps = OneHotEncoder(handle_unknown="ignore")
    pipeline = make_pipeline(FunctionTransformer(change), steps, LinearRegression()).fit(frame, np.arange(100.0))
    with pytest.raises(CannotExport, match=re.escape(words)) as caught:
        export(pipeline, frame, tmp_path / "b", quiet=True)
    assert "test_texts.py" in str(caught.value)
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("vectorizer", [CountVectorizer, TfidfVectorizer])
@pytest.mark.parametrize("analyzer", ["char", "char_wb"])
@pytest.mark.parametrize("sizes", [(1, 1), (1, 3), (2, 4), (3, 3)])
def test_characters(vectorizer, analyzer, sizes, tmp_path):
    words = texts(300)
    step = vectorizer(analyzer=analyzer, ngram_range=sizes, lowercase=False, max_features=400)
    target = np.random.default_rng(0).normal(size=300)
    pipeline = make_pipeline(step, LinearRegression()).fit(words, target)
    bundle = Written(export(pipeline, words, tmp_path / "b", quiet=True))
    for rows in (texts(500, seed=1), [""], ["a"], [" \n\t "], ["a\nb  a\t"], ["  ñ a  5  "]):
        cells = [{"text": text} for text in rows]
        given = bundle.answers(cells)["prediction"]
        np.testing.assert_allclose(given, pipeline.predict(rows), atol=1e-6)


def test_characters_of_a_given_vocabulary(tmp_path):
    words = texts(200)
    known = ["a", " ", "a ", " a ", "a b", "  ", "abcdef", "Dr", "r.", " D"]
    for analyzer in ("char", "char_wb"):
        step = CountVectorizer(analyzer=analyzer, ngram_range=(1, 3), vocabulary=known, lowercase=False)
        weights = np.arange(1.0, 11.0)
        pipeline = make_pipeline(step, LinearRegression()).fit(words, step.transform(words) @ weights)
        bundle = Written(export(pipeline, words, tmp_path / analyzer, quiet=True))
        rows = texts(300, seed=3)
        given = bundle.answers([{"text": text} for text in rows])["prediction"]
        np.testing.assert_allclose(given, pipeline.predict(rows), atol=1e-6)
