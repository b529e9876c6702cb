"""Functions in Python alone, which a stage in Python runs ahead of the graph."""

import re
import unicodedata
import zlib
from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

from .data import Case, clients, simple
from .texts import opinions

PRICES = {"Lima": 3, "Cusco": 2}
VOWELS = re.compile("[aeiou]")


def bucket(text: str) -> int:
    return zlib.crc32(text.encode()) % 7


def bare(text: str) -> str:
    return VOWELS.sub("", unicodedata.normalize("NFKD", text)).casefold()


def steps(row: Any) -> float:
    total = 0.0
    for step in range(int(row["edad"]) % 5):
        total += step * PRICES.get(row["ciudad"], 1)
    return total + row.deuda / 1000


def channel(value: Any) -> str:
    return "?" if pd.isna(value) else "-".join(reversed(str(value)))


def values_and_rows() -> Case:
    def features(frame: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame(
            {
                "h": frame["ciudad"].map(bucket), "c": frame["ciudad"].apply(bare), "canal": frame["canal"].apply(channel),
                "s": frame.apply(steps, axis=1), "log": np.log1p(frame["deuda"]),
            }
        )  # fmt: skip

    frame, y = clients()
    frame["canal"] = pd.Series(frame["canal"]).where(pd.notna(frame["canal"]), np.nan)
    encode = ColumnTransformer([("c", OneHotEncoder(handle_unknown="ignore"), ["c", "canal"])], remainder="passthrough")
    model = RandomForestClassifier(9, random_state=0)
    return make_pipeline(FunctionTransformer(features), encode, model), frame[["edad", "deuda", "ciudad", "canal"]], y


def words(text: str) -> list[str]:
    return [bare(word) for word in text.split() if len(word) > 3 and not word.startswith("p")]


def tokenizer() -> Case:
    frame, y = opinions()
    encode = ColumnTransformer([("w", TfidfVectorizer(tokenizer=words, token_pattern=None), "opinión")])
    return make_pipeline(encode, LogisticRegression()), frame, y


def preprocessor() -> Case:
    frame, y = opinions()
    return make_pipeline(TfidfVectorizer(preprocessor=bare), LogisticRegression()), frame["opinión"], y


if find_spec("modelgate_module") is not None and find_spec("componentize_py") is not None:
    simple("functions_in_python", values_and_rows)
    simple("tokenizer_in_python", tokenizer)
    simple("preprocessor_in_python", preprocessor)
