"""Times models of each library by itself and by the example `bench` of the crate, in one thread, in turns.

    python bench.py FOLDER PATH/TO/examples/bench

Prints, for 1, 64 and 1,024 rows, the least microseconds of a call of either, and their quotient.
"""

import pathlib
import subprocess
import sys
import time

import catboost
import lightgbm
import numpy as np
import xgboost

WIDTH = 20
rng = np.random.default_rng(5)
X = rng.normal(size=(20_000, WIDTH))
T = X[:, 0] * X[:, 1] + X[:, 2] + 0.5 * np.sin(3 * X[:, 3]) + rng.normal(size=len(X)) * 0.3


def models(folder):
    two, seven = (T > 0).astype(int), np.digitize(T, [-2, -1, -0.3, 0.3, 1, 2])
    data = X.astype(np.float32)
    for name, label, params in (("2 classes", two, {"objective": "binary:logistic"}), ("7 classes", seven, {"objective": "multi:softprob", "num_class": 7})):
        path = folder / f"xgb-{name[0]}.ubj"
        booster = xgboost.train({"max_depth": 6, "nthread": 1, **params}, xgboost.DMatrix(data, label=label), 200)
        booster.save_model(path)
        yield f"XGBoost 200×6, {name}", path, lambda x, b=booster: b.inplace_predict(x.astype(np.float32), predict_type="margin")
    for trees, leaves in ((500, 31), (2000, 255)):
        path = folder / f"lgb-{trees}.txt"
        booster = lightgbm.train({"num_leaves": leaves, "verbosity": -1, "num_threads": 1, "objective": "binary", "min_data_in_leaf": 5}, lightgbm.Dataset(X, label=two), trees)
        booster.save_model(path)
        yield f"LightGBM {trees}×{leaves}", path, lambda x, b=booster: b.predict(x, raw_score=True, num_threads=1)
    path = folder / "cat.cbm"
    booster = catboost.CatBoostClassifier(iterations=500, depth=6, thread_count=1, verbose=False, allow_writing_files=False).fit(data, two)
    booster.save_model(str(path))
    yield "CatBoost 500×6", path, lambda x, b=booster: b.predict(x.astype(np.float32), prediction_type="RawFormulaVal", thread_count=1)


def timed(call, count):
    least, spent, start = float("inf"), 0.0, 0
    while spent < 1.0:
        start = 0 if start + count > len(X) else start
        rows = X[start:start + count]
        before = time.process_time()
        call(rows)
        took = time.process_time() - before
        least, spent, start = min(least, took), spent + took, start + count
    return least * 1e6


folder, binary = pathlib.Path(sys.argv[1]), sys.argv[2]
folder.mkdir(parents=True, exist_ok=True)
X.tofile(folder / "rows.bin")
print("| model | rows | library, µs | modelgate-boosters, µs | quotient |\n|---|---|---|---|---|")
for name, path, call in models(folder):
    ours = subprocess.run([binary, path, folder / "rows.bin", str(WIDTH)], check=True, capture_output=True, text=True).stdout.split()
    for count, mine in zip((1, 64, 1024), map(float, ours)):
        library = timed(call, count)
        print(f"| {name} | {count:,} | {library:.1f} | {mine:.1f} | {mine / library:.2f} |", flush=True)
