"""Whole pipelines of scikit-learn as one graph: columns of texts and numbers in, labels out."""

import locale
import os

import numpy as np
import pandas as pd
from skl2onnx import convert_sklearn, to_onnx
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, Int64TensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, OrdinalEncoder, PolynomialFeatures, StandardScaler
from sklearn.decomposition import PCA

from case import case
from sklearn_cases import ROWS, X, XN, Y2, Y3

RNG = np.random.default_rng(9)
COLORS = np.array(["red", "green", "blue", "Öl"])
FRAME = pd.DataFrame({
    "age": RNG.integers(18, 80, 240),
    "income": RNG.normal(3, 1, 240).astype(np.float32),
    "color": COLORS[RNG.integers(0, 4, 240)],
    "plan": np.array(["a", "b"])[RNG.integers(0, 2, 240)],
})
Y = np.where((FRAME["age"] > 45) ^ (FRAME["color"] == "red"), "stays", "leaves")
TYPES = [
    ("age", Int64TensorType([None, 1])), ("income", FloatTensorType([None, 1])),
    ("color", StringTensorType([None, 1])), ("plan", StringTensorType([None, 1])),
]
TEXTS = np.array([
    "The quick brown fox jumps over the lazy dog", "never jump over the lazy dog quickly", "a fox is a fox",
    "brown bread and brown butter", "quick! quick! said the fox", "dogs and foxes", "bread for the dog", "",
] * 3)
YT = np.array([0, 1, 0, 1, 0, 1, 1, 0] * 3)


def feeds(frame):
    kinds = {"age": np.int64, "income": np.float32}
    return {name: frame[name].to_numpy(kinds.get(name, object)).reshape(-1, 1) for name in frame}


def columns(encoder, numbers=None):
    numbers = numbers or StandardScaler()
    return ColumnTransformer([("numbers", numbers, ["age", "income"]), ("texts", encoder, ["color", "plan"])])


def frame_case(name, model, y=Y, types=TYPES, classifier=True, tolerance=1e-5, **kinds):
    model.fit(FRAME, y)
    rows = FRAME.iloc[-ROWS:].copy()
    options = {id(model): {"zipmap": False}} if classifier else None

    def library():
        if classifier:
            return [model.predict(rows), model.predict_proba(rows)]
        return [model.predict(rows).reshape(-1, 1)]

    convert = lambda: convert_sklearn(model, initial_types=types, options=options, **kinds)
    case(name, "pipeline", convert, feeds(rows), library, tolerance)


def text_case(name, model, rows=TEXTS[-ROWS:], **kinds):
    model.fit(TEXTS, YT)
    convert = lambda: convert_sklearn(model, initial_types=[("X", StringTensorType([None, 1]))], **kinds)

    def library():
        if hasattr(model, "predict"):
            return [model.predict(rows), model.predict_proba(rows)]
        return [model.transform(rows).toarray()]

    case(name, "text", convert, {"X": rows.reshape(-1, 1).astype(object)}, library, 1e-5)


def matrix_case(name, model, x=X, y=Y3, **kinds):
    model.fit(x, y)
    rows = x[-ROWS:]
    convert = lambda: to_onnx(model, x[:1], options={id(model): {"zipmap": False}}, **kinds)
    case(name, "pipeline", convert, {"X": rows}, lambda: [model.predict(rows), model.predict_proba(rows)], 1e-5)


def main():
    one_hot = lambda: OneHotEncoder(handle_unknown="ignore")
    frame_case("pipeline_one_hot_logistic", make_pipeline(columns(one_hot()), LogisticRegression()))
    forest = RandomForestClassifier(6, max_depth=4, random_state=0)
    frame_case("pipeline_one_hot_forest", make_pipeline(columns(one_hot()), forest))
    frame_case("pipeline_ordinal_forest", make_pipeline(columns(OrdinalEncoder()), forest))
    imputed = make_pipeline(SimpleImputer(), StandardScaler())
    frame_case("pipeline_imputed", make_pipeline(columns(one_hot(), imputed), LogisticRegression()))
    boosted = GradientBoostingRegressor(n_estimators=6, random_state=0)
    target = FRAME["income"].to_numpy() * 2 + (FRAME["color"] == "blue")
    frame_case("pipeline_regressor", make_pipeline(columns(one_hot()), boosted), target, classifier=False)
    doubles = [(name, DoubleTensorType([None, 1]) if name == "income" else kind) for name, kind in TYPES]
    frame_case("pipeline_passthrough", make_pipeline(columns(one_hot(), "passthrough"), forest))
    matrix_case("pipeline_scaled_pca", make_pipeline(StandardScaler(), PCA(3), LogisticRegression()))
    union = FeatureUnion([("scaled", MinMaxScaler()), ("products", PolynomialFeatures(2))])
    matrix_case("pipeline_union", make_pipeline(union, LogisticRegression(max_iter=500)))
    matrix_case("pipeline_imputed_double", make_pipeline(SimpleImputer(), StandardScaler(), forest), x=XN.astype(np.float64))
    # The oldest and the newest operator sets, and some between.
    for opset, ml in ((9, 1), (10, 1), (11, 1), (12, 2), (13, 2), (14, 2), (15, 3), (17, 3), (18, 3), (20, 4), (21, 5), (22, 5)):
        model = make_pipeline(StandardScaler(), RandomForestClassifier(4, max_depth=3, random_state=0))
        matrix_case(f"pipeline_opset_{opset}", model, target_opset={"": opset, "ai.onnx.ml": ml})
    text_case("count_vectorizer", CountVectorizer())
    text_case("count_vectorizer_bigrams", CountVectorizer(ngram_range=(1, 2)))
    text_case("count_vectorizer_stop_words", CountVectorizer(stop_words=["the", "a", "and"]))
    text_case("tfidf_vectorizer", TfidfVectorizer())
    text_case("tfidf_vectorizer_l1", TfidfVectorizer(norm="l1", sublinear_tf=True))
    text_case("tfidf_vectorizer_chars", TfidfVectorizer(analyzer="char", ngram_range=(1, 2)))
    text_case("tfidf_logistic", make_pipeline(TfidfVectorizer(), LogisticRegression()))
