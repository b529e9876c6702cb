"""Times boosters by the example `bench` of the crate beside the quickest public engines, in one thread, by turns.

    python bench.py FOLDER PATH/TO/examples/bench [--rounds 3] [--seconds 0.5] [--only PART]

The engines are the library itself, lignum (as it loads a model, and with its trees compiled) and, for LightGBM, lleaves.
Each figure is the least microseconds of processor time of a call of raw scores for 1, 64 and 1,024 rows; those of the
engines include a call from Python, which counts where there is one row. Answers are compared before anything is timed.
`make boosters-bench` builds the example in release and runs this.
"""

import argparse
import os
import pathlib
import subprocess
import time
import warnings

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "LIGNUM_NUM_THREADS"):
    os.environ[variable] = "1"

import catboost
import lightgbm
import lignum
import lleaves
import numpy as np
import xgboost

WIDTH = 20
SIZES = (1, 64, 1024)
COMPILED = 8 << 20
"""Bytes of the largest model whose trees are compiled; a compiler takes minutes for more."""
rng = np.random.default_rng(5)
X = rng.normal(size=(20_000, WIDTH))
SINGLE = X.astype(np.float32)
T = X[:, 0] * X[:, 1] + X[:, 2] + 0.5 * np.sin(3 * X[:, 3]) + rng.normal(size=len(X)) * 0.3
TWO, SEVEN = (T > 0).astype(int), np.digitize(T, [-2, -1, -0.3, 0.3, 1, 2])


def xgboost_model(label, params, trees):
    def fit(path):
        given = {"max_depth": 6, "nthread": 1, **params}
        booster = xgboost.train(given, xgboost.DMatrix(SINGLE, label=label), trees)
        booster.save_model(path)
        return SINGLE, lambda rows: booster.inplace_predict(rows, predict_type="margin")

    return "ubj", fit


def lightgbm_model(trees, leaves):
    def fit(path):
        params = {"num_leaves": leaves, "verbosity": -1, "num_threads": 1, "objective": "binary", "min_data_in_leaf": 5}
        booster = lightgbm.train(params, lightgbm.Dataset(X, label=TWO), trees)
        booster.save_model(path)
        return X, lambda rows: booster.predict(rows, raw_score=True, num_threads=1)

    return "txt", fit


def catboost_model(path):
    given = {"iterations": 500, "depth": 6, "thread_count": 1, "verbose": False, "allow_writing_files": False}
    booster = catboost.CatBoostClassifier(**given).fit(SINGLE, TWO)
    booster.save_model(str(path))
    # The only format of CatBoost's that lignum reads.
    booster.save_model(str(path.with_suffix(".json")), format="json")
    return SINGLE, lambda rows: booster.predict(rows, prediction_type="RawFormulaVal", thread_count=1)


FOREST = {"objective": "multi:softprob", "num_class": 7, "num_parallel_tree": 80, "max_depth": 12, "subsample": 0.6, "colsample_bynode": 0.5, "eta": 1}
MODELS = {
    "forest 80×12, 7 classes": xgboost_model(SEVEN, FOREST, 1),
    "XGBoost 200×6, 2 classes": xgboost_model(TWO, {"objective": "binary:logistic"}, 200),
    "XGBoost 200×6, 7 classes": xgboost_model(SEVEN, {"objective": "multi:softprob", "num_class": 7}, 200),
    "LightGBM 500×31": lightgbm_model(500, 31),
    "LightGBM 2,000×255": lightgbm_model(2000, 255),
    "CatBoost 500×6": ("cbm", catboost_model),
}


def engines(path, rows, library):
    """Each engine's name, its rows, and the function that scores some of them."""
    yield "library", rows, library
    readable = path.with_suffix(".json") if path.suffix == ".cbm" else path
    plain = lignum.load(str(readable))
    raw = {"raw_score": True} if takes(plain.predict, "raw_score") else {}
    one = {"n_threads": 1} if takes(plain.predict, "n_threads") else {}
    yield "lignum", X, lambda rows: plain.predict(rows, **raw, **one)
    if readable.stat().st_size <= COMPILED:
        yield "lignum, compiled", X, compiled(path, readable, raw | one)
    if path.suffix == ".txt":
        model = lleaves.Model(model_file=str(path))
        model.compile(raw_score=True)
        yield "lleaves", X, lambda rows: model.predict(rows, n_jobs=1)


def compiled(path, readable, options):
    """lignum with the trees as machine code."""
    library = path.with_suffix(".lignum.so")
    lignum.load(str(readable)).compile(library=str(library))
    quick = lignum.load(str(readable), compiled=str(library))
    return lambda rows: quick.predict(rows, **options)


def takes(function, name):
    import inspect

    return name in inspect.signature(function).parameters


def timed(call, rows, count, seconds):
    """The least microseconds of a call."""
    least, spent, start = float("inf"), 0.0, 0
    # Enough calls between two looks that the clock is exact enough.
    calls = max(1, 256 // count)
    while spent < seconds:
        before = time.process_time()
        for _ in range(calls):
            start = 0 if start + count > len(rows) else start
            call(rows[start : start + count])
            start += count
        took = time.process_time() - before
        least, spent = min(least, took / calls), spent + took
    return least * 1e6


def ours(binary, path, folder):
    command = [binary, path, folder / "rows.bin", str(WIDTH)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return dict(zip(SIZES, map(float, told), strict=True))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("binary", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each figure in each round")
    parser.add_argument("--only", default="", help="a part of the models' names")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    folder = asked.folder
    folder.mkdir(parents=True, exist_ok=True)
    X.tofile(folder / "rows.bin")
    print("| model | rows | modelgate-boosters, µs | others, µs | ÷ the best of them |\n|---|---|---|---|---|")
    for place, (name, (ending, fit)) in enumerate(MODELS.items()):
        if asked.only not in name:
            continue
        path = folder / f"bench-{place}.{ending}"
        peers = list(engines(path, *fit(path)))
        said = np.asarray(peers[0][2](peers[0][1][:256])).ravel()
        for peer, rows, call in peers[1:]:
            apart = np.abs(np.asarray(call(rows[:256])).ravel() - said).max()
            assert apart < 1e-3, f"{name}: {peer} answers otherwise, by {apart}"
        least = {}
        for _ in range(asked.rounds):
            for count, micros in ours(asked.binary, path, folder).items():
                least[count, ""] = min(micros, least.get((count, ""), float("inf")))
            for peer, rows, call in peers:
                for count in SIZES:
                    micros = timed(call, rows, count, asked.seconds)
                    least[count, peer] = min(micros, least.get((count, peer), float("inf")))
        for count in SIZES:
            others = {peer: least[count, peer] for peer, _, _ in peers}
            told = ", ".join(f"{peer} {micros:.1f}" for peer, micros in others.items())
            mine = least[count, ""]
            print(f"| {name} | {count:,} | {mine:.1f} | {told} | {mine / min(others.values()):.2f} |", flush=True)


if __name__ == "__main__":
    main()
