"""Texts that are written anew, tokenizers of one's own, and texts that are read as numbers and dates."""

import re
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder
from sklearn.tree import DecisionTreeClassifier

from .data import Case, case
from .hashed import lossy
from .texts import odd_texts, opinions


def of_opinions(words: Any) -> Case:
    frame, y = opinions()
    return make_pipeline(words, LogisticRegression()), frame["opinión"], y


@case
def accents_taken_off() -> Case:
    return of_opinions(TfidfVectorizer(strip_accents="unicode"))


@case
def accents_to_ascii() -> Case:
    frame, y = odd_texts()
    steps = ColumnTransformer([("w", CountVectorizer(strip_accents="ascii", analyzer="char", ngram_range=(1, 2)), "texto")])
    return make_pipeline(steps, LogisticRegression(max_iter=300)), frame, y


@case
def texts_cleaned() -> Case:
    def clean(text: pd.Series) -> pd.Series:
        return text.str.lower().str.replace(r"[^a-zñó\s]", "", regex=True).str.replace("el ", "la ").str.strip()

    return of_opinions(make_pipeline(FunctionTransformer(clean), TfidfVectorizer()))


@case
def missing_texts_cleaned() -> Case:
    frame, y = lossy(np.nan)
    clean = FunctionTransformer(lambda text: text.str.replace("malo", "bueno", regex=False).fillna(""))
    steps = ColumnTransformer([("w", make_pipeline(clean, TfidfVectorizer()), "opinión")])
    return make_pipeline(steps, LogisticRegression()), frame, y


@case
def preprocessor_of_ones_own() -> Case:
    return of_opinions(TfidfVectorizer(preprocessor=lambda text: re.sub(r"\d+", " cifra ", text.lower())))


@case
def tokenizer_that_splits() -> Case:
    return of_opinions(TfidfVectorizer(tokenizer=str.split, token_pattern=None))


@case
def tokenizer_of_a_pattern() -> Case:
    return of_opinions(CountVectorizer(tokenizer=re.compile(r"[a-zñóá]+").findall, token_pattern=None, ngram_range=(1, 2), min_df=2))


@case
def analyzer_of_ones_own() -> Case:
    return of_opinions(CountVectorizer(analyzer=lambda text: text.upper().split()))


@case
def capitals_and_parts() -> Case:
    def features(frame: pd.DataFrame) -> pd.DataFrame:
        text, shop = frame["texto"], frame["tienda"]
        return pd.DataFrame(
            {"t": shop.str.title(), "c": shop.str.capitalize(), "dos": shop.str.cat(frame["canal"], sep="_"), "n": text.str.split().str.len(), "m": text.str.split(",").str.len()}
        )

    frame, y = odd_texts()
    rng = np.random.default_rng(3)
    frame["tienda"] = rng.choice(["la luna", "EL sol", "o'higgins 3b", "ñandú", ""], len(frame))
    frame["canal"] = rng.choice(["web", "app"], len(frame))
    steps = ColumnTransformer([("c", OneHotEncoder(handle_unknown="ignore"), ["t", "c", "dos"])], remainder="passthrough")
    return make_pipeline(FunctionTransformer(features), steps, DecisionTreeClassifier(max_depth=6, random_state=0)), frame, y


def when(count: int = 600) -> tuple[pd.DataFrame, pd.Series]:
    """Dates as text, in two forms, some missing or wrong, and numbers as text."""
    rng = np.random.default_rng(12)
    days = pd.Timestamp("1968-02-25") + pd.to_timedelta(rng.integers(0, 60 * 24 * 22_000, count), unit="min")
    wrong = rng.random(count) < 0.05
    frame = pd.DataFrame(
        {
            "alta": days.strftime("%Y-%m-%d %H:%M:%S"),
            "baja": pd.Series(days.strftime("%d/%m/%Y")).where(~wrong, "31/02/2020"),
            "importe": pd.Series(rng.gamma(2, 40, count).round(2)).astype(str).where(rng.random(count) > 0.06, " "),
            "código": rng.integers(0, 99, count).astype(str),
        }
    )
    return frame, pd.Series(days.month > 6) ^ (rng.random(count) < 0.1)


@case
def dates_from_texts() -> Case:
    def features(frame: pd.DataFrame) -> pd.DataFrame:
        first, last = pd.to_datetime(frame["alta"]), pd.to_datetime(frame["baja"], format="%d/%m/%Y", errors="coerce")
        return pd.DataFrame(
            {"mes": first.dt.month, "hora": first.dt.hour, "dia": last.dt.dayofweek, "lapso": (pd.Timestamp("2030-01-01") - last).dt.days}
        )

    frame, y = when()
    return make_pipeline(FunctionTransformer(features), SimpleImputer(), DecisionTreeClassifier(max_depth=6, random_state=0)), frame[["alta", "baja"]], y


@case
def numbers_from_texts() -> Case:
    def features(frame: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"importe": pd.to_numeric(frame["importe"], errors="coerce"), "código": frame["código"].astype(int)})

    frame, y = when()
    return make_pipeline(FunctionTransformer(features), SimpleImputer(), DecisionTreeClassifier(max_depth=6, random_state=0)), frame[["importe", "código"]], y
