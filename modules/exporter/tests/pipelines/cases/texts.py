"""Texts: vectorizers, and functions that take parts of them."""

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import TruncatedSVD
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer, TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import ComplementNB, MultinomialNB
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, OneHotEncoder, StandardScaler

from .data import Case, case


@case
def texts_alone() -> Case:
    frame, y = opinions()
    return make_pipeline(TfidfVectorizer(), LogisticRegression()), frame["opinión"], y


def opinions(count: int = 500) -> tuple[pd.DataFrame, pd.Series]:
    rng = np.random.default_rng(6)
    good, bad = ["Excelente", "rápido", "recomiendo", "útil"], ["malo", "roto", "Lento", "devolución"]
    common = ["el", "producto", "llegó", "caja", "día", "a", "don't", "x2"]
    y = rng.random(count) < 0.5
    texts = [", ".join([*rng.choice(common, 5), *rng.choice(good if k else bad, 2)]) + "." for k in y]
    data = {"opinión": texts, "estrellas": rng.integers(1, 6, count), "precio": np.where(rng.random(count) < 0.1, np.nan, rng.gamma(3, 10, count))}
    return pd.DataFrame({**data, "tienda": rng.choice(["A", "B"], count)}), pd.Series(np.where(y, "bien", "mal"))


@case
def words_beside_numbers() -> Case:
    frame, y = opinions()
    frame = frame.dropna().reset_index(drop=True)
    steps = ColumnTransformer([("w", TfidfVectorizer(sublinear_tf=True), "opinión"), ("n", MinMaxScaler(), ["estrellas", "precio"]), ("t", OneHotEncoder(handle_unknown="ignore"), ["tienda"])])
    return make_pipeline(steps, LogisticRegression()), frame, y.iloc[: len(frame)]


@case
def pairs_of_words() -> Case:
    frame, y = opinions()
    steps = ColumnTransformer([("w", CountVectorizer(ngram_range=(1, 2), min_df=3, binary=True), "opinión")])
    return make_pipeline(steps, MultinomialNB()), frame, y


@case
def words_then_weights() -> Case:
    frame, y = opinions()
    words = Pipeline([("count", CountVectorizer(max_features=40)), ("tfidf", TfidfTransformer(norm="l1"))])
    return make_pipeline(ColumnTransformer([("w", words, "opinión"), ("n", "passthrough", ["estrellas"])]), ComplementNB()), frame, y


@case
def words_and_missing_numbers() -> Case:
    frame, y = opinions()
    steps = ColumnTransformer([("w", TfidfVectorizer(stop_words=["el", "a"], max_features=60), "opinión"), ("n", make_pipeline(SimpleImputer(), StandardScaler()), ["precio"])])
    return make_pipeline(steps, RandomForestClassifier(9, random_state=0)), frame, y


@case
def words_beside_known_categories() -> Case:
    frame, y = opinions()
    steps = ColumnTransformer([("w", TfidfVectorizer(), "opinión"), ("t", OneHotEncoder(), ["tienda"])])
    return make_pipeline(steps, LogisticRegression()), frame, y


@case
def words_reduced() -> Case:
    frame, y = opinions()
    words = make_pipeline(TfidfVectorizer(), TruncatedSVD(5, random_state=0))
    return make_pipeline(ColumnTransformer([("w", words, "opinión"), ("n", StandardScaler(), ["estrellas"])]), GradientBoostingClassifier(n_estimators=10)), frame, y


PIECES = ["a", "B", "ñ", "Łó", "Dr.", "Mr", ",", ", ", " ", "  ", "\t", "\n", "\xa0", "é", "5", "٣", "_", "x@y.org", ".", "-", "C85", "日本", "@", "("]


def odd_texts(count: int = 500) -> tuple[pd.DataFrame, pd.Series]:
    """Texts that nobody expects, beside a number."""
    rng = np.random.default_rng(4)
    texts = ["", *("".join(rng.choice(PIECES, rng.integers(0, 9))) for _ in range(count - 1))]
    frame = pd.DataFrame({"texto": pd.Series(texts, dtype=object), "precio": rng.gamma(3, 10, count)})
    return frame, pd.Series(frame["texto"].str.contains("Dr|5") ^ (frame["precio"] > 40))


def characters_of(analyzer: str) -> Case:
    frame, y = odd_texts()
    words = TfidfVectorizer(analyzer=analyzer, ngram_range=(1, 3), max_features=300, lowercase=False)
    steps = ColumnTransformer([("w", words, "texto"), ("n", StandardScaler(), ["precio"])])
    return make_pipeline(steps, LogisticRegression(max_iter=300)), frame, y


@case
def characters() -> Case:
    return characters_of("char")


@case
def characters_of_words() -> Case:
    return characters_of("char_wb")


def text_parts(frame: pd.DataFrame) -> pd.DataFrame:
    text = frame["texto"]
    return frame.assign(
        largo=text.str.len(),
        doctor=text.str.lower().str.startswith("dr").astype(int),
        correo=text.str.contains(r"\w+@\w+\.org"),
        palabras=text.str.count(r"\w+"),
        fin=text.str.strip().str.split(",").str[-1].str[:2],
        titulo=text.str.extract(r"([A-Z][a-z]+)\.", expand=False).fillna("-"),
    ).drop(columns="texto")


@case
def parts_of_texts() -> Case:
    frame, y = odd_texts()
    steps = ColumnTransformer([("c", OneHotEncoder(handle_unknown="ignore"), ["fin", "titulo"])], remainder="passthrough")
    return make_pipeline(FunctionTransformer(text_parts), steps, RandomForestClassifier(9, random_state=0)), frame, y


def text_values(frame: pd.DataFrame) -> pd.DataFrame:
    kind = frame["texto"].apply(lambda text: 2 if text.strip().endswith(".") else 1 if "@" in text else 0)
    return pd.DataFrame({"tipo": kind, "parte": frame["texto"].map(lambda text: text.split("@")[-1].upper()), "precio": frame["precio"]})


@case
def texts_one_by_one() -> Case:
    frame, y = odd_texts()
    steps = ColumnTransformer([("c", OneHotEncoder(handle_unknown="ignore"), ["parte"])], remainder="passthrough")
    return make_pipeline(FunctionTransformer(text_values), steps, RandomForestClassifier(9, random_state=0)), frame, y
