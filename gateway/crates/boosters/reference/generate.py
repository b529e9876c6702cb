"""Trains models of all kinds with XGBoost, LightGBM and CatBoost, and writes what each library itself predicts.

    python generate.py FOLDER [--rows 20000] [--sample]

FOLDER gets, for each case, the model file and a `NAME.case.json` that says where the rows, the raw scores and the outputs
are: little-endian arrays in files of their own. `--sample` writes the few small cases that the crate's tests read.
"""

import argparse
import json
import pathlib
import warnings
import zlib

import catboost
import lightgbm
import numpy as np
import pandas as pd
import xgboost

warnings.filterwarnings("ignore")
RNG = np.random.default_rng(7)
WIDTH = 12
TRAIN = 3000


def matrix(rows, rng, missing=0.0, zeros=0.1):
    """Numbers of many sizes, with zeros, tiny values and missing ones."""
    x = rng.normal(size=(rows, WIDTH))
    x[:, 1] = rng.integers(0, 7, rows)
    x[:, 2] = np.round(x[:, 2], 1)
    x[:, 3] = np.exp(3 * x[:, 3])
    x[:, 4] *= 1e-36
    x[:, 5] = rng.integers(0, 40, rows)
    x[:, 6] *= 1e6
    x[rng.random(x.shape) < zeros] = 0.0
    x[rng.random(x.shape) < 0.01] = -0.0
    if missing:
        x[rng.random(x.shape) < missing] = np.nan
    return x.astype(np.float32)


def target(x, rng):
    z = np.nan_to_num(x)
    noise = rng.normal(size=len(x))
    return z[:, 0] - 0.6 * z[:, 2] * z[:, 7] + 0.2 * (z[:, 1] == 3) + 0.1 * (z[:, 5] % 5) - np.isnan(x[:, 8]) + 0.3 * noise


class Writer:
    def __init__(self, folder, rows):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.rows = rows
        self.known = {}
        self.count = 0

    def array(self, name, values):
        (self.folder / name).write_bytes(np.ascontiguousarray(values).tobytes())
        return {"file": name, "type": str(values.dtype), "shape": list(values.shape)}

    def inputs(self, x):
        """Arrays of rows are shared by cases."""
        key = (x.dtype.str, x.tobytes())
        if key not in self.known:
            self.known[key] = self.array(f"rows{len(self.known)}.bin", x)
        return self.known[key]

    def case(self, name, model, x, raw, outputs, texts=None, labels=None):
        raw = np.asarray(raw)
        raw = raw.reshape(len(x) if x is not None else len(raw), -1)
        case = {"name": name, "model": model, "rows": self.inputs(x) if x is not None else None}
        if texts:
            case["texts"] = texts
        case["raw"] = self.array(f"{name}.raw.bin", raw)
        if outputs is not None:
            outputs = np.asarray(outputs)
            case["outputs"] = self.array(f"{name}.out.bin", outputs.reshape(len(raw), -1))
        if labels is not None:
            case["labels"] = [str(label) for label in np.asarray(labels).reshape(-1)]
        (self.folder / f"{name}.case.json").write_text(json.dumps(case))
        self.count += 1
        print(name, flush=True)

    def path(self, name):
        return str(self.folder / name)


def rows_for(writer, seed, missing):
    return matrix(writer.rows, np.random.default_rng(seed), missing)


def xgboost_cases(writer, sample):
    base = dict(max_depth=5, eta=0.2, nthread=1, seed=1)
    rng = np.random.default_rng(1)
    x = matrix(TRAIN, rng, 0.1)
    t = target(x, rng)
    y = {
        "real": t,
        "two": (t > 0).astype(int),
        "seven": np.digitize(t, [-2, -1, -0.3, 0.3, 1, 2]),
        "count": rng.poisson(np.exp(np.clip(t, -2, 2))),
        "positive": np.exp(np.clip(t, -3, 3)),
        "unit": 1 / (1 + np.exp(-t)),
    }
    group = np.full(TRAIN // 30, 30)

    def train(name, params, label, rounds=40, ext="json", rows=None, data=x, setup=None, config=None, **extra):
        matrix_ = xgboost.DMatrix(data, label=label, missing=np.nan, **extra)
        if setup:
            setup(matrix_)
        booster = xgboost.train({**base, **params}, matrix_, rounds, **(config or {}))
        keep(name, booster, ext, rows, **{k: v for k, v in extra.items() if k in ("feature_types", "enable_categorical")})

    def keep(name, booster, ext, rows=None, iterations=(0, 0), saver=None, **extra):
        rows = rows_for(writer, 11, 0.1) if rows is None else rows
        file = f"{name}.{ext}"
        (saver or booster).save_model(writer.path(file))
        again = xgboost.Booster(model_file=writer.path(file))
        again.set_param({"nthread": 1})
        d = xgboost.DMatrix(rows, missing=np.nan, feature_names=again.feature_names, **extra)
        raw = again.predict(d, output_margin=True, iteration_range=iterations)
        out = again.predict(d, iteration_range=iterations)
        writer.case(name, file, rows, raw, out)

    train("xgb-binary", {"objective": "binary:logistic"}, y["two"])
    train("xgb-multi-ubj", {"objective": "multi:softprob", "num_class": 7}, y["seven"], ext="ubj", rounds=8)
    train("xgb-regression-ubj", {}, y["real"], ext="ubj")
    if sample:
        train("xgb-categories", {"tree_method": "hist", "max_cat_to_onehot": 4}, y["real"], data=categorical(x), rows=categorical(rows_for(writer, 12, 0.1)),
              feature_types=TYPES, enable_categorical=True, rounds=15)
        frames(writer, x, y, {**base, "max_depth": 3}, ("ubj",))
        return
    train("xgb-regression", {}, y["real"])
    train("xgb-binary-ubj", {"objective": "binary:logistic"}, y["two"], ext="ubj")
    train("xgb-logitraw", {"objective": "binary:logitraw"}, y["two"])
    train("xgb-hinge", {"objective": "binary:hinge"}, y["two"])
    train("xgb-reg-logistic", {"objective": "reg:logistic"}, y["unit"])
    train("xgb-multi", {"objective": "multi:softprob", "num_class": 7}, y["seven"], rounds=20)
    train("xgb-softmax", {"objective": "multi:softmax", "num_class": 7}, y["seven"], rounds=20)
    train("xgb-base-score", {"base_score": 0.3, "objective": "binary:logistic"}, y["two"])
    train("xgb-base-score-real", {"base_score": -1.5}, y["real"])
    train("xgb-poisson", {"objective": "count:poisson"}, y["count"])
    train("xgb-gamma", {"objective": "reg:gamma"}, y["positive"])
    train("xgb-tweedie", {"objective": "reg:tweedie", "tweedie_variance_power": 1.4}, y["positive"])
    train("xgb-squaredlog", {"objective": "reg:squaredlogerror"}, y["positive"])
    train("xgb-pseudohuber", {"objective": "reg:pseudohubererror"}, y["real"])
    train("xgb-absolute", {"objective": "reg:absoluteerror"}, y["real"])
    train("xgb-quantiles", {"objective": "reg:quantileerror", "quantile_alpha": np.array([0.1, 0.5, 0.9])}, y["real"], ext="ubj")
    train("xgb-cox", {"objective": "survival:cox"}, np.where(y["two"] == 1, y["positive"], -y["positive"]))
    train("xgb-aft", {"objective": "survival:aft"}, None, setup=lambda m: (
        m.set_float_info("label_lower_bound", y["positive"]), m.set_float_info("label_upper_bound", y["positive"] + 0.5)))
    for objective in ("rank:pairwise", "rank:ndcg", "rank:map"):
        label = np.clip(y["seven"], 0, 4) if objective != "rank:map" else y["two"]
        train("xgb-" + objective.replace(":", "-"), {"objective": objective}, label, setup=lambda m: m.set_group(group))
    train("xgb-dart", {"booster": "dart", "rate_drop": 0.3, "objective": "binary:logistic"}, y["two"])
    train("xgb-dart-multi-ubj", {"booster": "dart", "rate_drop": 0.3, "objective": "multi:softprob", "num_class": 7}, y["seven"], ext="ubj", rounds=12)
    forest = {"num_parallel_tree": 30, "subsample": 0.7, "colsample_bynode": 0.6, "eta": 1.0}
    train("xgb-forest", {**forest, "objective": "binary:logistic"}, y["two"], rounds=1)
    train("xgb-forest-boosted-ubj", {**forest, "num_parallel_tree": 4, "eta": 0.3, "objective": "multi:softprob", "num_class": 7}, y["seven"], rounds=5, ext="ubj")
    two = np.stack([y["real"], y["positive"]], axis=1)
    train("xgb-two-outputs", {}, two)
    train("xgb-vector-leaf", {"multi_strategy": "multi_output_tree", "tree_method": "hist"}, two)
    train("xgb-vector-leaf-ubj", {"multi_strategy": "multi_output_tree", "tree_method": "hist"}, two, ext="ubj")
    train("xgb-multilabel", {"objective": "binary:logistic"}, np.stack([y["two"], y["seven"] > 4], axis=1))
    train("xgb-lossguide", {"grow_policy": "lossguide", "max_leaves": 80, "max_depth": 0, "tree_method": "hist"}, y["real"])
    train("xgb-deep", {"max_depth": 14, "min_child_weight": 0}, y["real"], ext="ubj", rounds=15)
    train("xgb-pruned-exact", {"tree_method": "exact", "gamma": 2.0}, y["real"])
    train("xgb-stumps", {"max_depth": 1, "objective": "binary:logistic"}, y["two"])
    train("xgb-complete-rows", {"objective": "binary:logistic"}, y["two"], rows=rows_for(writer, 13, 0.0))
    cats, cat_rows = categorical(x), categorical(rows_for(writer, 12, 0.1))
    for onehot, ext in ((4, "json"), (64, "ubj")):
        train(f"xgb-categories-{onehot}", {"tree_method": "hist", "max_cat_to_onehot": onehot}, y["real"], data=cats, rows=cat_rows,
              feature_types=TYPES, enable_categorical=True, ext=ext)
    cut = xgboost.DMatrix(x[:2000], label=y["two"][:2000])
    rest = xgboost.DMatrix(x[2000:], label=y["two"][2000:])
    early = xgboost.train({**base, "objective": "binary:logistic", "eta": 0.5}, cut, 200, evals=[(rest, "rest")], early_stopping_rounds=5, verbose_eval=False)
    keep("xgb-early-all", early, "json")
    model = xgboost.XGBClassifier(n_estimators=200, max_depth=4, learning_rate=0.5, early_stopping_rounds=5, n_jobs=1)
    model.fit(x[:2000], y["seven"][:2000], eval_set=[(x[2000:], y["seven"][2000:])], verbose=False)
    keep("xgb-early-sklearn", model.get_booster(), "ubj", iterations=(0, model.best_iteration + 1), saver=model)
    frame = pd.DataFrame(x, columns=[f"col {i}" for i in range(WIDTH)])
    named = xgboost.XGBRegressor(n_estimators=20, n_jobs=1).fit(frame, y["real"])
    keep("xgb-names", named.get_booster(), "json", saver=named)
    train("xgb-updated", {}, y["real"], rounds=10, config={"xgb_model": xgboost.train(base, xgboost.DMatrix(x, label=y["real"]), 10)})
    frames(writer, x, y, base)
    train("xgb-linear", {"booster": "gblinear"}, y["real"], ext="ubj")


def frames(writer, x, y, base, exts=("json", "ubj")):
    """Categories by name and by number, some missing, as a frame has them."""

    def frame(values, seed):
        r = np.random.default_rng(seed)
        data = pd.DataFrame(values, columns=[f"f{i}" for i in range(WIDTH)])
        texts = r.choice(["red", "green", "blue", "violet"], len(values)).astype(object)
        texts[r.random(len(values)) < 0.1] = None
        data["f1"] = pd.Categorical(texts)
        data["f5"] = pd.Categorical.from_codes(np.where(np.isnan(values[:, 5]), -1, np.abs(values[:, 5])).astype(int), categories=np.arange(0, 400, 10))
        return data

    data, rows = frame(x, 3), rows_for(writer, 14, 0.1)
    at = frame(rows, 4)
    label = y["real"] + (data["f1"] == "red") - 0.7 * (data["f1"] == "blue")
    for ext in exts:
        name = f"xgb-frame-{ext}"
        booster = xgboost.train({**base, "max_cat_to_onehot": 3, "tree_method": "hist"}, xgboost.DMatrix(data, label=label, enable_categorical=True), 20)
        booster.save_model(writer.path(f"{name}.{ext}"))
        again = xgboost.Booster(model_file=writer.path(f"{name}.{ext}"))
        d = xgboost.DMatrix(at, enable_categorical=True)
        texts = [None if pd.isna(text) else text for text in at["f1"]]
        (writer.folder / f"{name}.texts.json").write_text(json.dumps(texts))
        numbers = at.drop(columns="f1").astype(np.float32).to_numpy()
        writer.case(name, f"{name}.{ext}", numbers, again.predict(d, output_margin=True), again.predict(d), texts={1: f"{name}.texts.json"})


TYPES = ["q"] * WIDTH
TYPES[1] = TYPES[5] = "c"


def categorical(x):
    """Codes that were never seen, among those that were."""
    x = x.copy()
    x[:, 1] = np.where(np.isnan(x[:, 1]), np.nan, np.abs(x[:, 1]))
    x[:, 5] = np.where(np.isnan(x[:, 5]), np.nan, np.abs(x[:, 5]))
    return x


def lightgbm_cases(writer, sample):
    rng = np.random.default_rng(2)
    x = matrix(TRAIN, rng, 0.1).astype(np.float64)
    x[:, 0] += rng.normal(size=TRAIN) * 1e-9
    t = target(x, rng)
    y = {
        "real": t,
        "two": (t > 0).astype(int),
        "five": np.digitize(t, [-1, -0.3, 0.3, 1]),
        "count": rng.poisson(np.exp(np.clip(t, -2, 2))),
        "positive": np.exp(np.clip(t, -3, 3)),
        "unit": 1 / (1 + np.exp(-t)),
    }
    base = dict(num_leaves=31, learning_rate=0.15, verbosity=-1, num_threads=1, seed=1, min_data_in_leaf=5)

    def rows(seed=21, missing=0.1):
        r = np.random.default_rng(seed)
        values = matrix(writer.rows, r, missing).astype(np.float64)
        values[:, 0] += r.normal(size=len(values)) * 1e-9
        return values

    def train(name, params, label, rounds=40, at=None, data=x, cats="auto", group=None, keep_from=None, names="auto"):
        data_set = lightgbm.Dataset(data, label=label, categorical_feature=cats, group=group, feature_name=names,
                                    params={k: v for k, v in params.items() if k in ("zero_as_missing", "use_missing", "max_bin", "min_data_in_bin", "linear_tree", "max_cat_threshold")})
        keep(name, keep_from or lightgbm.train({**base, **params}, data_set, rounds), at)

    def keep(name, booster, at=None):
        at = rows() if at is None else at
        booster.save_model(writer.path(f"{name}.txt"))
        again = lightgbm.Booster(model_file=writer.path(f"{name}.txt"))
        raw = again.predict(at, raw_score=True, num_threads=1)
        writer.case(name, f"{name}.txt", at, raw, again.predict(at, num_threads=1))

    train("lgb-binary", {"objective": "binary"}, y["two"], rounds=15 if sample else 40)
    train("lgb-categories", {}, y["real"], cats=[1, 5], data=categorical(x), at=np.abs(rows(22)) * np.where(rows(23, 0) > 1.5, -1, 1), rounds=15 if sample else 40)
    if sample:
        train("lgb-zero-missing", {"zero_as_missing": True}, y["real"], rounds=15)
        train("lgb-multi", {"objective": "multiclass", "num_class": 5, "num_leaves": 15}, y["five"], rounds=5)
        lightgbm_frames(writer, x, y, {**base, "num_leaves": 7})
        return
    train("lgb-regression", {}, y["real"])
    train("lgb-sqrt", {"reg_sqrt": True}, y["real"])
    for objective in ("regression_l1", "huber", "fair", "quantile", "mape"):
        train("lgb-" + objective, {"objective": objective}, y["real"])
    train("lgb-poisson", {"objective": "poisson"}, y["count"])
    train("lgb-gamma", {"objective": "gamma"}, y["positive"])
    train("lgb-tweedie", {"objective": "tweedie"}, y["positive"])
    train("lgb-cross-entropy", {"objective": "cross_entropy"}, y["unit"])
    train("lgb-cross-entropy-lambda", {"objective": "cross_entropy_lambda"}, y["unit"])
    train("lgb-sigmoid", {"objective": "binary", "sigmoid": 0.7, "is_unbalance": True}, y["two"])
    train("lgb-multi", {"objective": "multiclass", "num_class": 5}, y["five"], rounds=20)
    train("lgb-ova", {"objective": "multiclassova", "num_class": 5, "sigmoid": 1.3}, y["five"], rounds=20)
    group = np.full(TRAIN // 30, 30)
    train("lgb-lambdarank", {"objective": "lambdarank"}, y["five"], group=group)
    train("lgb-xendcg", {"objective": "rank_xendcg"}, y["five"], group=group)
    train("lgb-zero-missing", {"zero_as_missing": True}, y["real"])
    train("lgb-no-missing", {"use_missing": False}, y["real"])
    train("lgb-trained-complete", {}, y["real"], data=np.nan_to_num(x))
    train("lgb-dart", {"boosting": "dart", "drop_rate": 0.3, "objective": "binary"}, y["two"])
    forest = {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6, "feature_fraction": 0.6}
    train("lgb-forest", {**forest, "objective": "binary"}, y["two"])
    train("lgb-forest-real", forest, y["real"])
    train("lgb-forest-multi", {**forest, "objective": "multiclass", "num_class": 5}, y["five"], rounds=15)
    train("lgb-goss", {"data_sample_strategy": "goss"}, y["real"])
    train("lgb-linear", {"linear_tree": True}, y["real"])
    train("lgb-linear-binary", {"linear_tree": True, "objective": "binary"}, y["two"])
    train("lgb-categories-few", {"max_cat_to_onehot": 64, "objective": "binary"}, y["two"], cats=[1, 5], data=categorical(x), at=np.abs(rows(22)))
    train("lgb-categories-many", {"min_data_per_group": 2, "cat_smooth": 1, "max_cat_threshold": 64}, y["real"], cats=[5], data=categorical(x), at=np.abs(rows(24)))
    train("lgb-large", {"num_leaves": 255, "min_data_in_leaf": 2}, y["real"], rounds=60)
    train("lgb-stumps", {"num_leaves": 2}, y["real"])
    train("lgb-constant", {"min_data_in_leaf": 5000}, y["real"], rounds=5)
    train("lgb-names", {"objective": "binary"}, y["two"], names=[f"col{i}" for i in range(WIDTH)])
    lightgbm_frames(writer, x, y, base)
    early = lightgbm.train({**base, "objective": "binary", "learning_rate": 0.5}, lightgbm.Dataset(x[:2000], label=y["two"][:2000]), 200,
                           valid_sets=[lightgbm.Dataset(x[2000:], label=y["two"][2000:])], callbacks=[lightgbm.early_stopping(5, verbose=False)])
    keep("lgb-early", early)


def lightgbm_frames(writer, x, y, base):
    """Categories by name, by number and by flag, some missing, some that were never seen."""

    def frame(values, seed, colours):
        r = np.random.default_rng(seed)
        data = pd.DataFrame(values, columns=[f"f{i}" for i in range(WIDTH)])
        texts = r.choice(colours, len(values)).astype(object)
        texts[r.random(len(values)) < 0.1] = None
        data["f1"] = pd.Categorical(texts)
        data["f5"] = pd.Categorical.from_codes(np.where(np.isnan(values[:, 5]), -1, np.abs(values[:, 5])).astype(int), categories=np.arange(0, 400, 10))
        data["f9"] = pd.Categorical(r.random(len(values)) < 0.5)
        return data

    data = frame(x, 3, ["red", "green", "blue", "grün"])
    at = frame(matrix(writer.rows, np.random.default_rng(25), 0.1).astype(np.float64), 4, ["red", "green", "blue", "grün", "black"])
    label = y["real"] + (data["f1"] == "red") - 0.7 * (data["f1"] == "grün") + data["f9"].astype(bool)
    booster = lightgbm.train(base, lightgbm.Dataset(data, label=label), 20)
    booster.save_model(writer.path("lgb-frame.txt"))
    again = lightgbm.Booster(model_file=writer.path("lgb-frame.txt"))
    texts = [None if pd.isna(text) else text for text in at["f1"]]
    (writer.folder / "lgb-frame.texts.json").write_text(json.dumps(texts))
    numbers = at.drop(columns="f1").astype(np.float64).to_numpy()
    writer.case("lgb-frame", "lgb-frame.txt", numbers, again.predict(at, raw_score=True), again.predict(at), texts={1: "lgb-frame.texts.json"})


def catboost_cases(writer, sample):
    rng = np.random.default_rng(3)
    x = matrix(TRAIN, rng, 0.1)
    t = target(x, rng)
    y = {
        "real": t,
        "two": (t > 0).astype(int),
        "five": np.digitize(t, [-1, -0.3, 0.3, 1]),
        "count": rng.poisson(np.exp(np.clip(t, -2, 2))),
        "positive": np.exp(np.clip(t, -3, 3)),
        "unit": 1 / (1 + np.exp(-t)),
    }
    base = dict(iterations=60, depth=6, thread_count=1, random_seed=1, verbose=False, allow_writing_files=False)

    def frame(values, seed):
        r = np.random.default_rng(seed)
        data = pd.DataFrame(values, columns=[f"f{i}" for i in range(WIDTH)])
        data["f1"] = r.choice(["red", "green", "blue", "grün", "", "none"], len(values))
        data["f5"] = pd.Series(r.integers(0, 60, len(values))).astype(str)
        data["f9"] = r.choice(["yes", "no"], len(values))
        data["f10"] = pd.Series(r.integers(-3, 400, len(values))).astype(str)
        return data

    CATS = ["f1", "f5", "f9", "f10"]

    def keep(name, model, at, kinds, formats):
        for ext in formats:
            file = f"{name}-{ext}.{ext}"
            model.save_model(writer.path(file), format={"cbm": "cbm", "json": "json"}[ext])
            again = catboost.CatBoost()
            again.load_model(writer.path(file), format={"cbm": "cbm", "json": "json"}[ext])
            raw = again.predict(at, prediction_type="RawFormulaVal", thread_count=1)
            out, labels = None, None
            if kinds == "probability":
                out = again.predict(at, prediction_type="Probability", thread_count=1)
                labels = again.predict(at, prediction_type="Class", thread_count=1)
            elif kinds:
                out = again.predict(at, prediction_type=kinds, thread_count=1)
            texts = None
            numbers = at
            if isinstance(at, pd.DataFrame):
                texts = {}
                for place, column in enumerate(at.columns):
                    if column in CATS:
                        path = f"texts-{len(at)}-{column}-{zlib.crc32(chr(10).join(at[column]).encode())}.json"
                        (writer.folder / path).write_text(json.dumps(list(at[column])))
                        texts[place] = path
                numbers = at.drop(columns=CATS).to_numpy(np.float32)
            writer.case(f"{name}-{ext}", file, numbers, raw, out, texts=texts, labels=labels)

    def train(name, params, label, kind=None, at=None, data=x, formats=("json", "cbm"), cats=None, group=None):
        at = rows_for(writer, 31, 0.1) if at is None else at
        pool = catboost.Pool(data, label=label, cat_features=cats, group_id=group)
        keep(name, catboost.CatBoost({**base, **params}).fit(pool), at, kind, formats)

    data, at = frame(x, 1), None
    at = frame(rows_for(writer, 32, 0.1), 2)
    t = t + 0.8 * (data["f1"] == "red") + 0.02 * data["f5"].astype(int) + (data["f9"] == "yes") * 0.5
    mixed = {"real": t, "two": (t > 0.5).astype(int), "five": np.digitize(t, [-1, 0, 0.6, 1.4])}
    if sample:
        train("cat-binary", {"loss_function": "Logloss", "iterations": 15, "depth": 4}, y["two"], "probability")
        train("cat-ctrs", {"loss_function": "Logloss", "iterations": 8, "depth": 3, "one_hot_max_size": 3}, mixed["two"], "probability", at, data, ("cbm", "json"), CATS)
        return
    train("cat-binary", {"loss_function": "Logloss"}, y["two"], "probability")
    train("cat-regression", {}, y["real"])
    train("cat-multi", {"loss_function": "MultiClass"}, y["five"], "probability")
    train("cat-ova", {"loss_function": "MultiClassOneVsAll"}, y["five"], "probability")
    train("cat-cross-entropy", {"loss_function": "CrossEntropy"}, y["unit"], "probability")
    train("cat-poisson", {"loss_function": "Poisson"}, y["count"], "Exponent")
    train("cat-tweedie", {"loss_function": "Tweedie:variance_power=1.5"}, y["positive"], "Exponent", formats=("cbm",))
    train("cat-quantile", {"loss_function": "Quantile:alpha=0.8"}, y["real"], formats=("cbm",))
    train("cat-multiquantile", {"loss_function": "MultiQuantile:alpha=0.1,0.5,0.9"}, y["real"], formats=("cbm",))
    train("cat-multirmse", {"loss_function": "MultiRMSE"}, np.stack([y["real"], y["positive"]], axis=1), formats=("json", "cbm"))
    train("cat-rmse-uncertainty", {"loss_function": "RMSEWithUncertainty"}, y["real"], formats=("cbm",))
    group = np.repeat(np.arange(TRAIN // 30), 30)
    train("cat-yetirank", {"loss_function": "YetiRank"}, y["five"], group=group, formats=("cbm",))
    train("cat-multilogloss", {"loss_function": "MultiLogloss"}, np.stack([y["two"], y["five"] > 2], axis=1), "probability", formats=("cbm",))
    train("cat-deep", {"depth": 12, "iterations": 20}, y["real"], formats=("cbm",))
    train("cat-many-borders", {"border_count": 1000, "feature_border_type": "Median"}, y["real"])
    train("cat-nan-max", {"nan_mode": "Max"}, y["real"])
    train("cat-complete", {}, y["real"], data=np.nan_to_num(x), at=rows_for(writer, 33, 0.0))
    train("cat-lossguide", {"grow_policy": "Lossguide", "max_leaves": 40}, y["real"])
    train("cat-depthwise", {"grow_policy": "Depthwise", "loss_function": "MultiClass", "iterations": 20}, y["five"], "probability")
    train("cat-one-hot", {"one_hot_max_size": 255}, mixed["real"], None, at, data, ("json", "cbm"), CATS[:3] + ["f10"])
    train("cat-ctrs", {"loss_function": "Logloss"}, mixed["two"], "probability", at, data, ("json", "cbm"), CATS)
    train("cat-ctrs-real", {}, mixed["real"], None, at, data, ("json", "cbm"), CATS)
    train("cat-ctrs-multi", {"loss_function": "MultiClass", "iterations": 30}, mixed["five"], "probability", at, data, ("json", "cbm"), CATS)
    kinds = ["Borders:TargetBorderCount=3", "Buckets:TargetBorderCount=2", "BinarizedTargetMeanValue", "Counter"]
    train("cat-ctr-kinds", {"simple_ctr": kinds, "combinations_ctr": kinds, "iterations": 40}, mixed["real"], None, at, data, ("json", "cbm"), CATS)
    train("cat-ctr-skiptest", {"simple_ctr": ["Counter:CtrBorderCount=20"], "counter_calc_method": "SkipTest", "iterations": 40}, mixed["real"], None, at, data, ("cbm",), CATS)
    train("cat-ctr-multi-kinds", {"loss_function": "MultiClass", "simple_ctr": ["Buckets", "Counter", "BinarizedTargetMeanValue"], "iterations": 20}, mixed["five"], "probability", at, data, ("cbm",), CATS)
    names = catboost.CatBoostClassifier(**base).fit(x, np.array(["no", "yes"])[y["two"]])
    keep("cat-class-names", names, rows_for(writer, 31, 0.1), "probability", ("json", "cbm"))
    many = catboost.CatBoostClassifier(**{**base, "iterations": 20}).fit(x, np.array(list("abcde"))[y["five"]])
    keep("cat-many-names", many, rows_for(writer, 31, 0.1), "probability", ("json", "cbm"))
    early = catboost.CatBoostClassifier(**{**base, "iterations": 300, "learning_rate": 0.4}).fit(x[:2000], y["two"][:2000], eval_set=(x[2000:], y["two"][2000:]), early_stopping_rounds=10)
    keep("cat-early", early, rows_for(writer, 31, 0.1), "probability", ("cbm",))
    other = catboost.CatBoostClassifier(**base).fit(x, y["two"])
    sums = catboost.sum_models([early, other], weights=[0.5, 0.25])
    keep("cat-sum", sums, rows_for(writer, 31, 0.1), None, ("cbm",))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--sample", action="store_true")
    parser.add_argument("--only", default="xgb,lgb,cat")
    options = parser.parse_args()
    writer = Writer(options.folder, 120 if options.sample else options.rows)
    for part, cases in (("xgb", xgboost_cases), ("lgb", lightgbm_cases), ("cat", catboost_cases)):
        if part in options.only:
            cases(writer, options.sample)
    print(writer.count, "models with", xgboost.__version__, lightgbm.__version__, catboost.__version__)
