"""Single operators with the attributes that converters seldom write, against ONNX Runtime alone."""

import itertools

import numpy as np
from onnx import TensorProto, helper

from case import case

RNG = np.random.default_rng(21)
ROWS = 12
KINDS = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE, "int64": TensorProto.INT64, "int32": TensorProto.INT32}
ML = "ai.onnx.ml"
X = RNG.normal(size=(ROWS, 4)).astype(np.float32)
TEXTS = np.array(["a", "b", "c", "zz"], object)[RNG.integers(0, 4, ROWS)].reshape(-1, 1)
INTS = RNG.integers(0, 5, (ROWS, 1))


def operator(name, op, feeds, outputs=1, domain=ML, version=3, tolerance=1e-5, opset=17, whole=False, **attributes):
    feeds = feeds if isinstance(feeds, dict) else {"X": feeds}
    names = [f"y{place}" for place in range(outputs)]
    attributes = {key: value for key, value in attributes.items() if value is not None}
    node = helper.make_node(op, list(feeds), names, name="node", domain=domain, **attributes)
    kind = lambda array: TensorProto.STRING if array.dtype.kind == "O" else KINDS[array.dtype.name]
    inputs = [helper.make_tensor_value_info(n, kind(a), [None, *a.shape[1:]]) for n, a in feeds.items()]
    # Types come from inference.
    infos = [helper.ValueInfoProto(name=n) for n in names]
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid(ML, version), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(helper.make_graph([node], "g", inputs, infos), opset_imports=opsets, ir_version=8)
    case(f"operator_{name}", "operator", lambda: model, feeds, lambda: [], tolerance, whole=whole)


def linear():
    coefficients = RNG.normal(size=12).astype(float).tolist()
    for post in ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"):
        tolerance = 3e-4 if post == "PROBIT" else 1e-5
        rows = np.abs(X) / 20 if post == "PROBIT" else X
        weights = [abs(w) for w in coefficients] if post == "PROBIT" else coefficients
        operator(f"linear_classifier_{post.lower()}", "LinearClassifier", rows, 2, coefficients=weights, tolerance=tolerance,
                 intercepts=[0.1, 0.2, 0.3], classlabels_ints=[3, 5, 9], post_transform=post)
        if post == "PROBIT":
            continue  # ONNX Runtime leaves the second column as it finds it.
        operator(f"linear_classifier_one_sum_{post.lower()}", "LinearClassifier", rows, 2, coefficients=weights[:4],
                 intercepts=[0.1], classlabels_strings=["no", "yes"], post_transform=post, tolerance=tolerance)
    operator("linear_regressor_targets", "LinearRegressor", X, coefficients=coefficients, intercepts=[1.0, 2.0, 3.0], targets=3)
    operator("linear_regressor_no_intercept", "LinearRegressor", X, coefficients=coefficients[:4])


def machines():
    vectors = RNG.normal(size=(6, 4)).ravel().tolist()
    kernels = {"LINEAR": [1.0, 0.0, 1.0], "POLY": [0.5, 1.0, 3.0], "RBF": [0.7, 0.0, 0.0], "SIGMOID": [0.2, 0.1, 0.0]}
    labels = {2: {"classlabels_strings": ["x", "y"]}, 3: {"classlabels_ints": [4, 7, 1]}}
    for (kernel, params), classes in itertools.product(kernels.items(), (2, 3)):
        pairs = classes * (classes - 1) // 2
        shared = dict(
            kernel_type=kernel, kernel_params=params, support_vectors=vectors, rho=RNG.normal(size=pairs).tolist(),
            vectors_per_class=[6 // classes] * classes, coefficients=RNG.normal(size=6 * (classes - 1)).tolist(), **labels[classes],
        )
        for post in ("NONE", "LOGISTIC", "SOFTMAX"):
            operator(f"svm_classifier_{kernel.lower()}_{classes}_{post.lower()}", "SVMClassifier", X, 2, post_transform=post,
                     tolerance=1e-4, **shared)
        operator(f"svm_classifier_{kernel.lower()}_{classes}_probabilities", "SVMClassifier", X, 2, tolerance=1e-4,
                 prob_a=(-1 - RNG.random(pairs)).tolist(), prob_b=RNG.normal(size=pairs).tolist(), **shared)
    for positive in (False, True):
        weights = RNG.normal(size=6)
        operator(f"svm_classifier_positive_{positive}", "SVMClassifier", np.abs(X), 2, kernel_type="RBF", tolerance=1e-4,
                 kernel_params=kernels["RBF"], support_vectors=vectors, rho=[0.05], vectors_per_class=[3, 3],
                 coefficients=(np.abs(weights) if positive else weights).tolist(), classlabels_ints=[0, 1])
    operator("svm_classifier_lists", "SVMClassifier", X, 2, kernel_type="LINEAR", coefficients=RNG.normal(size=12).tolist(),
             rho=[0.3], classlabels_ints=[0, 1, 2], kernel_params=kernels["LINEAR"])
    for one_class in (0, 1):
        operator(f"svm_regressor_{one_class}", "SVMRegressor", X, kernel_type="RBF", kernel_params=kernels["RBF"], n_supports=6,
                 support_vectors=vectors, coefficients=RNG.normal(size=6).tolist(), rho=[0.1], one_class=one_class)
    operator("svm_regressor_linear", "SVMRegressor", X, kernel_type="LINEAR", kernel_params=kernels["LINEAR"],
             coefficients=RNG.normal(size=4).tolist(), rho=[0.1], n_supports=0)


def columns():
    for kind in (np.float32, np.float64, np.int64, np.int32):
        values = (X * 3).astype(kind)
        operator(f"scaler_{np.dtype(kind).name}", "Scaler", values, offset=[0.5, 1.0, -1.0, 0.25], scale=[2.0, 0.5, 3.0, 0.1])
        operator(f"normalizer_{np.dtype(kind).name}", "Normalizer", np.abs(values) + 1, norm="L2")
    operator("scaler_one", "Scaler", X, offset=[0.5], scale=[2.0])
    for norm in ("MAX", "L1", "L2"):
        operator(f"normalizer_{norm.lower()}", "Normalizer", np.vstack([X, np.zeros((1, 4), np.float32)]), norm=norm)
    operator("binarizer", "Binarizer", X, threshold=0.3)
    holes = X.copy()
    holes[RNG.random(X.shape) < 0.3] = np.nan
    operator("imputer_nan", "Imputer", holes, imputed_value_floats=[1.0, 2.0, 3.0, 4.0], replaced_value_float=float("nan"))
    operator("imputer_value", "Imputer", np.round(X), imputed_value_floats=[9.0], replaced_value_float=1.0)
    operator("imputer_ints", "Imputer", INTS, imputed_value_int64s=[-7], replaced_value_int64=2)
    mixed = {"a": X, "b": INTS.astype(np.float32), "c": X[:, :2]}
    operator("feature_vectorizer", "FeatureVectorizer", mixed, inputdimensions=[4, 1, 2], version=1)
    operator("one_hot_ints", "OneHotEncoder", INTS, cats_int64s=[0, 2, 3], zeros=1)
    operator("one_hot_texts", "OneHotEncoder", TEXTS, cats_strings=["b", "a", "c"], zeros=1)
    operator("one_hot_floats", "OneHotEncoder", INTS.astype(np.float32), cats_int64s=[0, 2, 3], zeros=1)


def labels():
    keys = {"strings": ["a", "b", "c"], "int64s": [0, 1, 3], "floats": [0.0, 1.0, float("nan")]}
    values = {"strings": ["x", "y", "zz"], "int64s": [10, 20, 30], "floats": [0.5, 1.5, 2.5]}
    floats = INTS.astype(np.float32)
    floats[::4] = np.nan
    feeds = {"strings": TEXTS, "int64s": INTS, "floats": floats}
    defaults = {"strings": {"default_string": "none"}, "int64s": {"default_int64": -5}, "floats": {"default_float": -0.5}}
    for key, value in itertools.product(keys, values):
        attributes = {f"keys_{key}": keys[key], f"values_{value}": values[value]}
        operator(f"label_encoder_{key}_{value}", "LabelEncoder", feeds[key], version=2, **attributes)
        operator(f"label_encoder_{key}_{value}_default", "LabelEncoder", feeds[key], version=2, **attributes, **defaults[value])
    for feed, name in ((TEXTS, "texts"), (INTS, "ints")):
        operator(f"label_encoder_first_{name}", "LabelEncoder", feed, version=1, classes_strings=["c", "a", "b"],
                 default_string="?", default_int64=-3, opset=9)
        operator(f"category_mapper_{name}", "CategoryMapper", feed, version=1, cats_strings=["a", "b", "c"],
                 cats_int64s=[4, 2, 0], default_string="?", default_int64=-3)
    tensors = dict(
        keys_tensor=helper.make_tensor("k", TensorProto.DOUBLE, [3], [0.0, 1.0, 4.0]),
        values_tensor=helper.make_tensor("v", TensorProto.DOUBLE, [3], [0.25, 0.5, 0.75]),
        default_tensor=helper.make_tensor("d", TensorProto.DOUBLE, [1], [9.0]),
    )
    operator("label_encoder_doubles", "LabelEncoder", INTS.astype(np.float64), version=4, **tensors)
    tensors = dict(
        keys_tensor=helper.make_tensor("k", TensorProto.STRING, [3], [b"a", b"b", b"zz"]),
        values_tensor=helper.make_tensor("v", TensorProto.INT16, [3], [1, 2, 3]),
        default_tensor=helper.make_tensor("d", TensorProto.INT16, [1], [9]),
    )
    operator("label_encoder_int16", "LabelEncoder", TEXTS, version=4, **tensors)


def texts():
    words = np.array(["Hello World", "ein Öl-Fleck", "  spaces  here ", "", "a-b-c"] * 2, object)
    for pattern in (r"[a-z]+", r"\w\w+"):
        for shortest in (1, 3):
            operator(f"tokenizer_{'words' if 'w' in pattern else 'letters'}_{shortest}", "Tokenizer", words,
                     domain="com.microsoft", whole=True, mark=0, mincharnum=shortest, pad_value="#", tokenexp=pattern)
    operator("tokenizer_separators", "Tokenizer", words, domain="com.microsoft", whole=True, mark=1, mincharnum=1, pad_value="#",
             separators=[" ", "-"])
    operator("tokenizer_characters", "Tokenizer", words, domain="com.microsoft", whole=True, mark=0, mincharnum=1, pad_value="#", separators=[""])
    operator("string_normalizer", "StringNormalizer", words, domain="", case_change_action="UPPER")
    tokens = np.array(list("abcaabbcabca"), object).reshape(2, 6)
    pool = dict(ngram_counts=[0, 3], ngram_indexes=[0, 1, 2, 4, 3], pool_strings=["a", "b", "c", "a", "b", "c", "a"])
    for mode in ("TF", "IDF", "TFIDF"):
        for skips in (0, 2):
            operator(f"tfidf_{mode.lower()}_{skips}", "TfIdfVectorizer", tokens, domain="", mode=mode, min_gram_length=1,
                     max_gram_length=2, max_skip_count=skips, weights=[1.0, 2.0, 3.0, 4.0, 5.0], **pool)
    for kind, name in ((TensorProto.STRING, "texts"), (TensorProto.INT64, "ints")):
        operator(f"cast_floats_to_{name}", "Cast", (X * 1000).round(2) if kind == TensorProto.STRING else X * 9, domain="", to=kind)
    odd = np.array([[0.0, -0.0, 1.5, 1e10, 1e-7, 123456789.0, np.inf, -np.inf, np.nan, 0.1]], np.float32).T
    operator("cast_odd_floats_to_texts", "Cast", odd, domain="", to=TensorProto.STRING)
    operator("cast_odd_doubles_to_texts", "Cast", odd.astype(np.float64), domain="", to=TensorProto.STRING)
    operator("cast_ints_to_texts", "Cast", INTS, domain="", to=TensorProto.STRING)
    numbers = np.array([["1"], ["2.5"], ["-3e2"], ["NaN"], ["INF"]], object)
    operator("cast_texts_to_floats", "Cast", numbers, domain="", to=TensorProto.FLOAT)
    operator("cast_texts_to_doubles", "Cast", numbers, domain="", to=TensorProto.DOUBLE)
    operator("cast_texts_to_ints", "Cast", np.array([["1"], ["-25"]], object), domain="", to=TensorProto.INT64)
    operator("equal_texts", "Equal", {"a": TEXTS, "b": TEXTS[::-1].copy()}, domain="", opset=19)


def trees():
    shared = dict(
        nodes_treeids=[0, 0, 0, 1, 1, 1], nodes_nodeids=[0, 1, 2, 0, 1, 2], nodes_featureids=[0, 0, 0, 1, 0, 0],
        nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF", "BRANCH_LT", "LEAF", "LEAF"], nodes_values=[0.1, 0, 0, -0.2, 0, 0],
        nodes_truenodeids=[1, 0, 0, 1, 0, 0], nodes_falsenodeids=[2, 0, 0, 2, 0, 0],
    )
    votes = dict(target_treeids=[0, 0, 1, 1], target_nodeids=[1, 2, 1, 2], target_weights=[0.5, -1.0, 2.0, 0.25])
    for aggregate in ("SUM", "AVERAGE", "MIN", "MAX"):
        operator(f"tree_regressor_{aggregate.lower()}", "TreeEnsembleRegressor", X, aggregate_function=aggregate, n_targets=1,
                 target_ids=[0, 0, 0, 0], base_values=[0.125], **shared, **votes)
        operator(f"tree_regressor_{aggregate.lower()}_targets", "TreeEnsembleRegressor", X, aggregate_function=aggregate, n_targets=3,
                 target_ids=[0, 1, 1, 2], **shared, **votes)
    for post in ("SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO"):
        operator(f"tree_regressor_{post.lower()}", "TreeEnsembleRegressor", X, n_targets=3, target_ids=[0, 1, 1, 2],
                 post_transform=post, **shared, **votes)
    for kind, code in ((np.float32, TensorProto.FLOAT), (np.float64, TensorProto.DOUBLE)):
        tensor = lambda name, values, code=code: helper.make_tensor(name, code, [len(values)], values)
        for aggregate in (0, 1, 2, 3):
            operator(
                f"tree_ensemble_{np.dtype(kind).name}_{aggregate}", "TreeEnsemble", np.round(X * 2).astype(kind), version=5, opset=21,
                n_targets=2, aggregate_function=aggregate, tree_roots=[0, 2], post_transform=0,
                nodes_featureids=[0, 1, 2], nodes_splits=tensor("s", [0.5, 0.0, -1.0]),
                nodes_modes=helper.make_tensor("m", TensorProto.UINT8, [3], [0, 6, 3]),
                nodes_truenodeids=[1, 0, 2], nodes_trueleafs=[0, 1, 1], nodes_falsenodeids=[3, 1, 3], nodes_falseleafs=[1, 1, 1],
                leaf_targetids=[0, 1, 0, 1], leaf_weights=tensor("w", [1.0, 10.0, 100.0, 1000.0]),
                membership_values=tensor("v", [-2.0, 1.0, 2.0, float("nan")]),
            )


def main():
    for part in (linear, machines, columns, labels, texts, trees):
        part()
