"""Arithmetic that no operator has by itself, compared with the library's own functions."""

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
from conftest import Bundle
from onnx import TensorProto
from scipy.special import erf, psi
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import NMF
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction import DictVectorizer
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler
from sklearn.utils import murmurhash3_32

from modelgate_exporter import CannotExport, export
from modelgate_exporter.graph.build import Graph
from modelgate_exporter.graph.hashing import murmur
from modelgate_exporter.graph.processes import error_function
from modelgate_exporter.graph.topics import digamma
from modelgate_exporter.written import Written


def computed(write, values, kind, result):
    graph = Graph()
    graph.opset = 18
    shape = [None] if kind == TensorProto.STRING else [None, 1]
    graph.inputs.append(onnx.helper.make_tensor_value_info("x", kind, shape))
    model = graph.finish("one", [("y", write(graph, "x"), result, shape)])
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": values})[0]


@pytest.mark.parametrize(
    ("write", "function", "low"), [(error_function, erf, -8.0), (digamma, psi, 1e-3)], ids=["erf", "digamma"]
)
def test_functions_of_numbers(write, function, low):
    values = np.concatenate([np.linspace(low, 9, 5000), [0.46875, 4.0, 6.0]])[:, None]
    made = computed(write, values, TensorProto.DOUBLE, TensorProto.DOUBLE)
    # scikit-learn's own digamma has this error, too.
    np.testing.assert_allclose(made, function(values), rtol=1e-15 if function is erf else 1e-7, atol=1e-7 if function is psi else 1e-15)


def test_hashes_of_words():
    words = ["a", "ab", "abc", "abcd", "abcde", "ñandú", "日本語x", "łódź_9", "𝔘𝔫𝔦", "x" * 100, "two words", "٣"]
    made = computed(murmur, np.array(words, object), TensorProto.STRING, TensorProto.INT64)
    np.testing.assert_array_equal(made, [murmurhash3_32(word, seed=0, positive=True) for word in words])


TEXTS = ["good product", "Bad bad product", "arrived late, box broken", "", "good", "niño ñandú", "the box", "a the good box"] * 15


@pytest.mark.parametrize(
    "options",
    [{}, {"binary": True}, {"alternate_sign": False, "norm": "l1"}, {"ngram_range": (1, 3)}, {"stop_words": ["good"]}, {"lowercase": False}],
    ids=str,
)
def test_hashed_words(options, tmp_path):
    target = np.arange(len(TEXTS)) % 5
    pipeline = make_pipeline(HashingVectorizer(n_features=64, **options), LinearRegression()).fit(TEXTS, target)
    bundle = Written(export(pipeline, TEXTS, tmp_path / "b", quiet=True))
    rows = ["Never seen words, of which some are good", "", "x", "bad niño"]
    given = bundle.answers([{"text": text} for text in rows])["prediction"]
    np.testing.assert_allclose(given, pipeline.predict(rows), atol=1e-9)


@pytest.mark.parametrize("vectorizer", [CountVectorizer, TfidfVectorizer])
@pytest.mark.parametrize("stop", ["english", ["box", "good"]], ids=["english", "own"])
def test_stop_words_between_words(vectorizer, stop, tmp_path):
    pipeline = make_pipeline(vectorizer(stop_words=stop, ngram_range=(1, 3)), LinearRegression()).fit(TEXTS, np.arange(len(TEXTS)) % 5)
    bundle = Written(export(pipeline, TEXTS, tmp_path / "b", quiet=True))
    rows = ["the good the box", "bad good product", "", "box", "arrived the late"]
    given = bundle.answers([{"text": text} for text in rows])["prediction"]
    np.testing.assert_allclose(given, pipeline.predict(rows), atol=1e-9)


@pytest.mark.parametrize("mark", [None, np.nan], ids=["None", "NaN"])
def test_missing_texts(mark, tmp_path):
    frame = pd.DataFrame({"text": pd.Series(TEXTS, dtype=object), "stars": np.arange(float(len(TEXTS)))})
    frame["text"] = frame["text"].where(frame.index % 7 != 3, mark)
    frame.loc[5, "stars"] = np.nan

    def filled(data):
        return data.assign(text=data["text"].fillna("no text"), stars=data["stars"].fillna(-1.0))

    words = ColumnTransformer([("w", TfidfVectorizer(), "text")], remainder="passthrough")
    pipeline = make_pipeline(FunctionTransformer(filled), words, LinearRegression()).fit(frame, np.arange(len(frame)) % 5)
    folder = export(pipeline, frame, tmp_path / "b", quiet=True)
    bundle = Written(folder)
    assert bundle.tabular["texts"] == [{"column": "text", "missing": "\ue001"}]
    np.testing.assert_allclose(bundle.answers(bundle.cells(frame))["prediction"], pipeline.predict(frame), atol=1e-9)
    # Golden examples have null as requests do.
    golden = Bundle(folder).golden["examples"]
    assert any(example["input"]["text"] is None for example in golden)


def test_dictionaries(tmp_path):
    rng = np.random.default_rng(1)
    rows = [{"city": str(rng.choice(["a=b", "Lima"])), "age": int(rng.integers(1, 9))} for _ in range(120)]
    rows[3].pop("age")
    rows[7].pop("city")
    pipeline = make_pipeline(DictVectorizer(), LinearRegression()).fit(rows, np.arange(120) % 3)
    bundle = Written(export(pipeline, rows, tmp_path / "b", quiet=True))
    given = bundle.answers([{"city": "Quito", "age": 4}, {"city": None, "age": None}, {"city": "a=b", "age": None}])
    expected = pipeline.predict([{"city": "Quito", "age": 4}, {}, {"city": "a=b"}])
    np.testing.assert_allclose(given["prediction"], expected, atol=1e-9)


def test_single_floats_before_trees(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.gamma(2, 500, (400, 2)).astype(np.float32), columns=["a", "b"])
    pipeline = make_pipeline(MinMaxScaler(), RandomForestClassifier(5, random_state=0)).fit(frame, frame["a"] > frame["b"])
    bundle = Written(export(pipeline, frame, tmp_path / "b", quiet=True))
    given = bundle.answers(bundle.cells(frame))
    np.testing.assert_allclose(given["probabilities"], pipeline.predict_proba(frame), atol=1e-6)


def test_what_all_rows_decide_is_refused(frame, target, tmp_path):
    pipeline = make_pipeline(MinMaxScaler(clip=True), NMF(2, max_iter=400), LogisticRegression())
    data = frame[["height", "weight"]]
    with pytest.raises(CannotExport, match="a row's answer depends on the rows beside it; use TruncatedSVD, PCA") as caught:
        export(pipeline.fit(data, target), data, tmp_path / "b")
    assert "step 'nmf' (NMF) on columns 'height', 'weight'" in str(caught.value)
