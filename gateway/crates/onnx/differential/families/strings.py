"""Operators on texts, of the standard and of com.microsoft."""
from graphs import *

LINES = ["", "a", "a\nb", "a\r\nb c", "Hello World", "two  spaces", "tab\there", "äöü ÄÖÜ ß", "日本 語", "x,y;z", "A-b_C d1 22", "\u2028a\x85b",
         "https://a.example", "ISTANBUL İ", "e\u0301", "\x0b\x0c.", "the quick", "and The  end "]


def texts(rng, shape):
    count = int(np.prod(shape))
    return rng.choice(np.array(LINES, object), count).reshape(shape)


def each(width=1):
    """Every line once, one in a row."""
    return [Feed([np.array([[line] * width], object)]) for line in LINES]


def graphs(rng):
    arg = Arg(TEXT, (None, 2), draw=texts)
    for _ in range(3):
        yield single(rng, "StringConcat", [arg, arg], {}, 20)
        yield single(rng, "StringConcat", [arg, np.array(["-"], object)], {}, 20)
    for delimiter in (None, "", " ", ",", "a", "ab"):
        for most in (None, 1, 2):
            yield single(rng, "StringSplit", [Arg(TEXT, (None,), draw=texts)], dict(delimiter=delimiter, maxsplit=most), 20, outputs=2,
                         rows=(1, 3, 7))
    for pattern in (".*", "[a-z]+", "a.b", r"\w+\s\w+", r"https?://.*", "", "(a|b)*", r"[^\n]*", r"\d+", r"(?s)a.b", r"^a$"):
        yield single(rng, "RegexFullMatch", [arg], dict(pattern=pattern), 20, feeds=each(2))
    for change in ("NONE", "LOWER", "UPPER"):
        for stop in (None, ["a"], ["the", "and"]):
            for sensitive in (0, 1):
                attrs = dict(case_change_action=change, is_case_sensitive=sensitive, stopwords=stop)
                for shape in ((3,), (1, 3)):
                    yield single(rng, "StringNormalizer", [Arg(TEXT, shape, draw=texts)], attrs, 10, is_rows=False, kinds=("plain",) * 4)
    yield from tokenizers(rng)
    yield from counts(rng)


def tokenizers(rng):
    plain = dict(mark=0, mincharnum=1, pad_value="#")
    for attrs in (dict(separators=[""]), dict(separators=[" "]), dict(separators=[" ", ","]), dict(tokenexp="[a-zA-Z]+"),
                  dict(tokenexp="."), dict(tokenexp=r"\w\w+"), dict(tokenexp="[^ ]+"), dict(separators=["\n"]), dict(tokenexp="[a-z]"),
                  dict(separators=[r"[^a-z]"]), dict(separators=["\\s"])):
        for mark in (0, 1):
            for least in (1, 2, 3):
                full = {**plain, **attrs, "mark": mark, "mincharnum": least}
                yield single(rng, "Tokenizer", [Arg(TEXT, (None, 1))], full, 17, "com.microsoft", feeds=each())
                yield single(rng, "Tokenizer", [Arg(TEXT, (None,), draw=texts)], full, 17, "com.microsoft", rows=(3, 8), kinds=("plain",) * 3)


def counts(rng):
    pool = [2, 3, 5, 4, 5, 6, 7, 8, 6, 7]
    for mode in ("TF", "IDF", "TFIDF"):
        for least, most, skip in ((1, 1, 0), (1, 2, 0), (2, 2, 0), (2, 2, 5), (1, 2, 2)):
            for weights in (None, [0.5, 2, 1, 1.5, 1, 3, 0.1]):
                attrs = dict(mode=mode, min_gram_length=least, max_gram_length=most, max_skip_count=skip, weights=weights,
                             ngram_counts=[0, 4], ngram_indexes=[0, 1, 2, 3, 4, 5, 6], pool_int64s=pool)
                for dtype in (np.int32, np.int64):
                    values = Arg(dtype, (None, 12), draw=lambda rng, shape, dtype=dtype: rng.integers(0, 10, shape).astype(dtype))
                    yield single(rng, "TfIdfVectorizer", [values], attrs, 9)
                words = {**attrs, "pool_int64s": None, "pool_strings": [str(number) for number in pool]}
                values = Arg(TEXT, (None, 12), draw=lambda rng, shape: rng.integers(0, 10, shape).astype(str).astype(object))
                yield single(rng, "TfIdfVectorizer", [values], words, 9)
