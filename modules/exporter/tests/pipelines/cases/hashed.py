"""Texts by their hashes, and texts that are missing."""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction import DictVectorizer
from sklearn.feature_extraction.text import (
    CountVectorizer,
    HashingVectorizer,
    TfidfTransformer,
    TfidfVectorizer,
)
from sklearn.feature_selection import SelectKBest, chi2
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC

from .data import Case, case, clients
from .texts import opinions


def lossy(mark: Any = None) -> tuple[pd.DataFrame, pd.Series]:
    """Opinions, of which some are missing."""
    frame, y = opinions()
    lost = np.random.default_rng(9).random(len(frame)) < 0.12
    frame["opinión"] = frame["opinión"].astype(object).where(~lost, mark)
    return frame, y


@case
def hashed_words() -> Case:
    frame, y = opinions()
    return make_pipeline(HashingVectorizer(n_features=2**14), SGDClassifier(loss="log_loss", random_state=0)), frame["opinión"], y


@case
def hashed_words_beside() -> Case:
    frame, y = opinions()
    steps = ColumnTransformer(
        [("w", HashingVectorizer(n_features=256, alternate_sign=False, norm="l1"), "opinión"), ("n", MinMaxScaler(), ["estrellas"])]
    )
    return make_pipeline(steps, MultinomialNB()), frame, y


@case
def hashed_pairs_weighted() -> Case:
    frame, y = opinions()
    words = make_pipeline(HashingVectorizer(n_features=1024, ngram_range=(1, 2), norm=None, alternate_sign=False), TfidfTransformer())
    return make_pipeline(words, LogisticRegression()), frame["opinión"], y


@case
def dictionaries() -> Case:
    frame, y = clients()
    records = FunctionTransformer(lambda data: data.to_dict(orient="records"))
    return make_pipeline(records, DictVectorizer(sparse=False), StandardScaler(), LogisticRegression()), frame[["edad", "ciudad", "deuda"]], y


@case
def dictionaries_themselves() -> Case:
    frame, y = clients()
    rows = frame[["edad", "ciudad", "deuda", "canal", "moroso"]].astype(object).to_dict("records")
    rows = [{name: value for name, value in row.items() if not pd.isna(value)} for row in rows]
    return make_pipeline(DictVectorizer(), LogisticRegression(max_iter=300)), rows, y


@case
def missing_texts_filled() -> Case:
    frame, y = lossy(np.nan)
    words = make_pipeline(FunctionTransformer(lambda text: text.fillna("")), TfidfVectorizer())
    steps = ColumnTransformer([("w", words, "opinión"), ("n", make_pipeline(SimpleImputer(), StandardScaler()), ["precio"])])
    return make_pipeline(steps, LogisticRegression()), frame, y


@case
def missing_texts_imputed() -> Case:
    frame, y = lossy(np.nan)
    fill = SimpleImputer(strategy="constant", fill_value="sin texto")
    words = make_pipeline(fill, FunctionTransformer(np.ravel), CountVectorizer(ngram_range=(1, 2), min_df=2))
    steps = ColumnTransformer([("w", words, ["opinión"]), ("t", OneHotEncoder(handle_unknown="ignore"), ["tienda"])])
    return make_pipeline(steps, LogisticRegression(max_iter=300)), frame, y


@case
def missing_texts_none() -> Case:
    frame, y = lossy(None)
    words = make_pipeline(FunctionTransformer(lambda text: text.fillna("").str.lower()), TfidfVectorizer(lowercase=False))
    return make_pipeline(ColumnTransformer([("w", words, "opinión")], remainder="drop"), LogisticRegression()), frame, y


@case
def missing_texts_of_a_class() -> Case:
    from sklearn.base import BaseEstimator, TransformerMixin

    class Clean(BaseEstimator, TransformerMixin):
        def fit(self, X: Any, y: Any = None) -> Any:
            return self

        def transform(self, X: Any) -> Any:
            X = X.copy()
            X["lost"] = X["opinión"].isna().astype(int)
            X["opinión"] = X["opinión"].fillna("nada").str.strip()
            X["largo"] = X["opinión"].str.len()
            return X

    frame, y = lossy(None)
    steps = ColumnTransformer([("w", TfidfVectorizer(), "opinión"), ("n", StandardScaler(), ["largo", "estrellas", "lost"])])
    return make_pipeline(Clean(), steps, LogisticRegression()), frame, y


@case
def two_texts_in_one() -> Case:
    frame, y = opinions()
    frame["título"] = np.random.default_rng(3).choice(["bien hecho", "fatal", "Normal"], len(frame))
    both = make_pipeline(FunctionTransformer(lambda f: f["título"] + " " + f["opinión"]), TfidfVectorizer())
    return make_pipeline(ColumnTransformer([("w", both, ["título", "opinión"])]), LogisticRegression()), frame, y


@case
def stop_words_with_pairs() -> Case:
    frame, y = opinions()
    return make_pipeline(TfidfVectorizer(stop_words=["el", "a"], ngram_range=(1, 2)), LogisticRegression()), frame["opinión"], y


@case
def texts_of_one_column_frame() -> Case:
    frame, y = opinions()
    pick = FunctionTransformer(lambda f: f["opinión"])
    return make_pipeline(pick, TfidfVectorizer(), LogisticRegression()), frame[["opinión", "estrellas"]], y


@case
def texts_of_numpy() -> Case:
    frame, y = lossy(np.nan)
    words = make_pipeline(FunctionTransformer(lambda X: X["opinión"].fillna("").values.astype("U")), CountVectorizer())
    return make_pipeline(ColumnTransformer([("w", words, ["opinión"])]), LogisticRegression()), frame, y


def by_default(model: Any, **options: Any) -> Case:
    """Texts of few words, some of them twice, hashed into 2**20 columns."""
    frame, y = opinions()
    texts = frame["opinión"] + " " + frame["opinión"].str[-12:]
    return make_pipeline(HashingVectorizer(**options), model), texts, y


@case
def hashed_by_default() -> Case:
    return by_default(SGDClassifier(random_state=0))


@case
def hashed_by_default_in_pairs() -> Case:
    return by_default(LogisticRegression(), ngram_range=(1, 2), norm="l1", stop_words=None)


@case
def hashed_by_default_binary() -> Case:
    return by_default(LogisticRegression(), binary=True)


@case
def hashed_by_default_for_bayes() -> Case:
    return by_default(MultinomialNB(), alternate_sign=False, norm=None)


@case
def hashed_by_default_and_selected() -> Case:
    frame, y = opinions()
    return make_pipeline(HashingVectorizer(alternate_sign=False), SelectKBest(chi2, k=30), RandomForestClassifier(9, random_state=0)), frame["opinión"], y


@case
def hashed_by_default_beside() -> Case:
    frame, y = opinions()
    frame["stars"] = np.where(y == "bien", "many", "few")
    labels = pd.Series(np.where(frame["estrellas"] > 3, "c", y))
    steps = ColumnTransformer([("n", MinMaxScaler(), ["estrellas"]), ("w", HashingVectorizer(), "opinión"), ("t", OneHotEncoder(), ["tienda"])])
    return make_pipeline(steps, CalibratedClassifierCV(LinearSVC(), cv=3)), frame, labels
