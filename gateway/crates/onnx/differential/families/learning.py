"""The operators of ai.onnx.ml."""
from graphs import *

ML = "ai.onnx.ml"
TRANSFORMS = ["NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"]
SOURCES = (F32, F64, np.int32, np.int64)
WORDS = np.array(["a", "b", "c", "", "zz", "B"], object)


def words(rng, shape):
    return rng.choice(WORDS, int(np.prod(shape))).reshape(shape)


def around_inputs(inputs, outputs):
    value = np.abs(inputs[0].astype(F64))
    top = np.max(np.where(np.isfinite(value), value, 0), initial=1.0)
    return [np.maximum(np.abs(out.astype(F64)), 0) + top if out.dtype.kind == "f" else None for out in outputs], ""


def norms(inputs, outputs):
    value = inputs[0].astype(F64)
    top = float(np.iinfo(inputs[0].dtype).max) if inputs[0].dtype.kind == "i" else 3e38
    finite = np.where(np.isfinite(value), value, 0)
    beyond = ((finite * finite).sum(axis=-1, keepdims=True) > top) | np.isnan(value).any(axis=-1, keepdims=True)
    if beyond.any():
        return ([np.where(beyond, np.nan, np.abs(outputs[0].astype(F64)))],
                "Normalizer of NaN, and of numbers whose squares are beyond the type: ONNX Runtime's sums overflow or depend on the order")
    return None, ""


def shares_alone(judge):
    """PROBIT has a meaning between 0 and 1 alone, and few digits near the middle."""
    def both(inputs, outputs):
        scale, _ = judge(inputs, outputs)
        return [None, np.nan] if len(outputs) == 2 else [np.nan], "PROBIT of sums that are no shares"
    return both


def graphs(rng):
    yield from simple(rng)
    yield from encoders(rng)
    yield from linear(rng)
    yield from svm(rng)
    yield from trees(rng)
    yield from trees_of_five(rng)


def simple(rng):
    for dtype in SOURCES:
        for threshold in (None, 0.5, -1.0):
            yield single(rng, "Binarizer", [Arg(dtype, (None, 4))], dict(threshold=threshold), 17, ML)
        for norm in ("MAX", "L1", "L2"):
            yield single(rng, "Normalizer", [Arg(dtype, (None, 4))], dict(norm=norm), 17, ML, kinds=("plain", "small", "large", "special", None),
                         judge=norms)
        for offset, scale in (([0.0] * 4, [1.0] * 4), ([1.0, -2.0, 0.5, 0.0], [0.1, 2.0, -1.0, 0.0]), ([1.5], [2.0])):
            yield single(rng, "Scaler", [Arg(dtype, (None, 4))], dict(offset=offset, scale=scale), 17, ML, judge=around_inputs)
        yield single(rng, "FeatureVectorizer", [Arg(dtype, (None, 2)), Arg(dtype, (None, 3))], dict(inputdimensions=[2, 3]), 17, ML)
        for places in ([0], [2, 0], [3], [1, 1, 2]):
            yield single(rng, "ArrayFeatureExtractor", [Arg(dtype, (None, 4)), np.array(places, np.int64)], {}, 17, ML)
    for values, missing in (([1.0, 2.0, 3.0, 4.0], float("nan")), ([9.0], float("nan")), ([7.0], 1.0), ([7.0], 0.0), ([7.0], float("inf"))):
        for dtype in (F32, F64):
            yield single(rng, "Imputer", [Arg(dtype, (None, 4))], dict(imputed_value_floats=values, replaced_value_float=missing), 17, ML)
    for values, missing in (([1, 2, 3, 4], 0), ([9], -1)):
        yield single(rng, "Imputer", [Arg(np.int64, (None, 4))], dict(imputed_value_int64s=values, replaced_value_int64=missing), 17, ML)
    yield single(rng, "ArrayFeatureExtractor", [Arg(TEXT, (None, 4), draw=words), np.array([1, 3], np.int64)], {}, 17, ML)


def encoders(rng):
    for zeros in (None, 0, 1):
        known = zeros != 0
        for dtype in SOURCES:
            def inside(rng, shape, dtype=dtype, known=known):
                return (rng.integers(0, 4, shape) if not known else rng.integers(-3, 9, shape)).astype(dtype)
            yield single(rng, "OneHotEncoder", [Arg(dtype, (None, 2), draw=inside)], dict(cats_int64s=[0, 1, 2, 3], zeros=zeros), 17, ML)
        source = Arg(TEXT, (None, 2), draw=words if known else lambda rng, shape: rng.choice(WORDS[:3], int(np.prod(shape))).reshape(shape))
        yield single(rng, "OneHotEncoder", [source], dict(cats_strings=["a", "b", "c"], zeros=zeros), 17, ML)
    whole = Arg(np.int64, (None, 3), draw=lambda rng, shape: rng.integers(-1, 5, shape))
    text = Arg(TEXT, (None, 3), draw=words)
    for ml in (2, 4):
        yield single(rng, "LabelEncoder", [whole], dict(keys_int64s=[0, 1, 3], values_floats=[0.5, -1.0, float("nan")], default_float=9.0), 17, ML, ml=ml)
        yield single(rng, "LabelEncoder", [whole], dict(keys_int64s=[0, 1, 3], values_floats=[0.5, -1.0, 2.0]), 17, ML, ml=ml)
        yield single(rng, "LabelEncoder", [whole], dict(keys_int64s=[0, 1, 3], values_strings=["x", "", "y"], default_string="?"), 17, ML, ml=ml)
        yield single(rng, "LabelEncoder", [whole], dict(keys_int64s=[0, 1, 3], values_strings=["x", "", "y"]), 17, ML, ml=ml)
        yield single(rng, "LabelEncoder", [whole], dict(keys_int64s=[0, 1, 3], values_int64s=[7, 8, 9]), 17, ML, ml=ml)
        yield single(rng, "LabelEncoder", [text], dict(keys_strings=["a", "b", ""], values_int64s=[7, 8, 9], default_int64=-5), 17, ML, ml=ml)
        yield single(rng, "LabelEncoder", [text], dict(keys_strings=["a", "b"], values_int64s=[7, 8]), 17, ML, ml=ml)
        yield single(rng, "LabelEncoder", [text], dict(keys_strings=["a", "b"], values_strings=["b", "a"]), 17, ML, ml=ml)
        yield single(rng, "LabelEncoder", [text], dict(keys_strings=["a", "b"], values_floats=[1.0, 2.0]), 17, ML, ml=ml)
        for keys in ([0.0, 1.0, 2.5], [1.0, float("nan")], [float("inf"), -0.0]):
            floats = Arg(F32, (None, 3), draw=lambda rng, shape: rng.choice(np.array([0, -0.0, 1, 2.5, np.nan, np.inf, 7], F32), shape))
            yield single(rng, "LabelEncoder", [floats], dict(keys_floats=keys, values_floats=[float(at) for at in range(len(keys))]), 17, ML, ml=ml)
            yield single(rng, "LabelEncoder", [floats], dict(keys_floats=keys, values_strings=[str(at) for at in range(len(keys))]), 17, ML, ml=ml)
            yield single(rng, "LabelEncoder", [floats], dict(keys_floats=keys, values_int64s=list(range(len(keys)))), 17, ML, ml=ml)
    yield single(rng, "CategoryMapper", [text], dict(cats_strings=["a", "b"], cats_int64s=[1, 2], default_int64=-7), 17, ML)
    yield single(rng, "CategoryMapper", [whole], dict(cats_strings=["a", "b"], cats_int64s=[1, 2], default_string="?"), 17, ML)
    yield single(rng, "CategoryMapper", [text], dict(cats_strings=["a", "b"], cats_int64s=[1, 2]), 17, ML)


def sums_of(weights, bias):
    """The terms of scores, where nothing is done to them after."""
    weights, bias = np.abs(np.array(weights, F64)), np.abs(np.array(bias if bias is not None else 0, F64))

    def judge(inputs, outputs):
        scale = np.abs(inputs[0].astype(F64)) @ weights.reshape(-1, inputs[0].shape[1]).T + bias + 1
        scale = np.where(np.isfinite(scale), scale, 1.0)
        return [None if out.dtype.kind != "f" else np.max(scale) for out in outputs], ""
    return judge


def linear(rng):
    for dtype in SOURCES:
        for transform in TRANSFORMS:
            for classes in (1, 2, 3, 5):
                weights, bias = rng.standard_normal((classes, 4)), rng.standard_normal(classes)
                for labels in (dict(classlabels_ints=list(range(max(classes, 2)))), dict(classlabels_strings=[f"c{at}" for at in range(max(classes, 2))])):
                    for multi in (None, 1):
                        attrs = dict(coefficients=weights.ravel().tolist(), intercepts=bias.tolist(), post_transform=transform, multi_class=multi, **labels)
                        judge = sums_of(weights, bias)
                        judge = shares_alone(judge) if transform == "PROBIT" else judge
                        yield single(rng, "LinearClassifier", [Arg(dtype, (None, 4))], attrs, 17, ML, outputs=2, judge=judge)
        for transform in TRANSFORMS[:1] + (TRANSFORMS[1:] if dtype == F32 else []):
            for targets in (1, 3):
                weights, bias = rng.standard_normal((targets, 4)), rng.standard_normal(targets)
                for given in (bias.tolist(), None):
                    attrs = dict(coefficients=weights.ravel().tolist(), intercepts=given, targets=targets, post_transform=transform)
                    yield single(rng, "LinearRegressor", [Arg(dtype, (None, 4))], attrs, 17, ML, judge=sums_of(weights, given))


def svm(rng):
    unit = lambda dtype: Arg(dtype, (None, 3), "plain")
    for kernel in ("LINEAR", "POLY", "RBF", "SIGMOID"):
        vectors = rng.standard_normal((5, 3))
        params = [0.3, 0.5, 2.0]
        for transform in ("NONE", "LOGISTIC"):
            for one_class in (None, 1):
                attrs = dict(kernel_type=kernel, kernel_params=params, support_vectors=vectors.ravel().tolist(), n_supports=5, rho=[0.4],
                             coefficients=rng.standard_normal(5).tolist(), post_transform=transform, one_class=one_class)
                yield single(rng, "SVMRegressor", [unit(F32)], attrs, 17, ML, kinds=("plain", "special"), judge=lambda i, o: (100.0, ""))
        for classes, per in ((2, [2, 3]), (3, [2, 1, 2])):
            pairs = classes * (classes - 1) // 2
            for probable in (False, True):
                for dtype in SOURCES:
                    attrs = dict(kernel_type=kernel, kernel_params=params, support_vectors=vectors.ravel().tolist(), vectors_per_class=per,
                                 rho=rng.standard_normal(pairs).tolist(), coefficients=rng.standard_normal(5 * (classes - 1)).tolist(),
                                 classlabels_ints=list(range(classes)))
                    if probable:
                        attrs |= dict(prob_a=(-np.abs(rng.standard_normal(pairs))).tolist(), prob_b=rng.standard_normal(pairs).tolist())
                    yield single(rng, "SVMClassifier", [Arg(dtype, (None, 3), "small" if probable else "plain")], attrs, 17, ML, outputs=2,
                                 kinds=("plain",), judge=lambda i, o: ([None, 100.0], ""))


def tree(rng, modes, depth=3, count=3):
    """Nodes of full trees over four features."""
    made = dict(treeids=[], nodeids=[], featureids=[], values=[], modes=[], trues=[], falses=[], missing=[])
    leaves = []
    for number in range(count):
        mode = str(rng.choice(modes))
        for node in range(2 ** (depth + 1) - 1):
            leaf = node >= 2 ** depth - 1
            made["treeids"].append(number)
            made["nodeids"].append(node)
            made["featureids"].append(0 if leaf else int(rng.integers(0, 4)))
            made["values"].append(0.0 if leaf else float(rng.choice([-1.5, 0.0, 0.5, 1.0, 2.0, -3.0])))
            made["modes"].append("LEAF" if leaf else mode)
            made["trues"].append(0 if leaf else 2 * node + 1)
            made["falses"].append(0 if leaf else 2 * node + 2)
            made["missing"].append(0 if leaf else int(rng.integers(0, 2)))
            if leaf:
                leaves.append((number, node))
    attrs = {f"nodes_{key}": made[name] for key, name in dict(
        treeids="treeids", nodeids="nodeids", featureids="featureids", values="values", modes="modes", truenodeids="trues",
        falsenodeids="falses", missing_value_tracks_true="missing").items()}
    return attrs, leaves


MODES = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"]
EDGES = np.array([-1.5, 0.0, -0.0, 0.5, 1.0, 2.0, -3.0, np.nan, np.inf, -np.inf, 1e30, 0.25], F64)


def edges(dtype):
    def drawn(rng, shape):
        values = rng.choice(EDGES if np.dtype(dtype).kind == "f" else np.array([-3, -1, 0, 1, 2, 5]), shape)
        return values.astype(dtype)
    return Arg(dtype, (None, 4), draw=drawn)


def votes(inputs, outputs):
    none = outputs[0] == 0
    if none.any():
        return [np.where(none, np.nan, 5.0)], "TreeEnsembleRegressor: a target without votes does not get its base value of ONNX Runtime"
    return 5.0, ""


def by_votes(labels):
    """The label with more votes, as the standard's reference implementation names it too."""
    (names,) = labels.values()

    def standard(inputs, outputs):
        # A transform keeps the order of votes; PROBIT of votes beyond shares is none, there the label does not count.
        scores = np.where(np.isnan(outputs[1]), -np.inf, outputs[1])
        right = np.array([names[place] for place in scores.argmax(axis=1)], outputs[0].dtype)
        reason = ("TreeEnsembleClassifier of two classes that both get votes: ONNX Runtime names the second one whatever its"
                  " votes; here it is the one with more of them, as in the standard's reference implementation")
        return [right, outputs[1]], "" if (right == outputs[0]).all() else reason
    return standard


def trees(rng):
    for mode in [[one] for one in MODES] + [MODES]:
        for dtype in SOURCES:
            for transform in TRANSFORMS:
                for classes in (2, 3):
                    attrs, leaves = tree(rng, mode)
                    ids = [int(rng.integers(0, classes)) for _ in leaves]
                    for binary in ((False, True) if classes == 2 else (False,)):
                        # Two classes: all votes for the first, as boosters have it, or both in each leaf, as forests do.
                        both = 2 if classes == 2 and not binary else 1
                        weights = rng.random(len(leaves)) / 3 if both == 2 else rng.standard_normal(len(leaves))
                        weights = np.stack([weights, 1 / 3 - weights], 1).ravel() if both == 2 else weights
                        chosen = [0, 1] * len(leaves) if both == 2 else [0] * len(leaves) if binary else ids
                        base = None if rng.random() < 0.5 or both == 2 else rng.standard_normal(1 if binary else classes).tolist()
                        attrs |= dict(class_treeids=[at for at, _ in leaves for _ in range(both)], class_nodeids=[at for _, at in leaves for _ in range(both)],
                                      class_ids=chosen, class_weights=weights.tolist(), post_transform=transform, base_values=base)
                        def judge(inputs, outputs, both=both, transform=transform):
                            if both == 2:
                                return [None, np.nan if transform == "PROBIT" else 5.0], "PROBIT of sums that are no shares" if transform == "PROBIT" else ""
                            if transform == "PROBIT":
                                return [None, np.nan], "PROBIT of sums that are no shares"
                            return [None, 5.0], ""
                        labels = dict(classlabels_int64s=list(range(classes))) if dtype != F64 else dict(classlabels_strings=[f"c{at}" for at in range(classes)])
                        graph = single(rng, "TreeEnsembleClassifier", [edges(dtype)], {**attrs, **labels}, 17, ML, outputs=2, rows=(1, 9),
                                       kinds=(None,), judge=judge, note=f"{mode[0]} binary={binary}")
                        if both == 2:
                            graph.standard = by_votes(labels)
                        yield graph
            for how in ("SUM", "AVERAGE", "MIN", "MAX"):
                for targets in (1, 2):
                    attrs, leaves = tree(rng, mode)
                    attrs |= dict(target_treeids=[at for at, _ in leaves], target_nodeids=[at for _, at in leaves],
                                  target_ids=[int(rng.integers(0, targets)) for _ in leaves], target_weights=rng.standard_normal(len(leaves)).tolist(),
                                  n_targets=targets, aggregate_function=how, base_values=None if rng.random() < 0.5 else rng.standard_normal(targets).tolist())
                    yield single(rng, "TreeEnsembleRegressor", [edges(dtype)], attrs, 17, ML, rows=(1, 9), kinds=(None,), judge=votes if targets == 2 else lambda i, o: (5.0, ""),
                                 note=mode[0])


def trees_of_five(rng):
    """TreeEnsemble of opset 5: one tree of depth one over each feature, and sets of members."""
    for dtype in (F32, F64):
        for mode in range(6):
            for how in range(4):
                numpy = lambda values: numpy_helper.from_array(np.array(values, dtype))
                attrs = dict(
                    aggregate_function=how, n_targets=2, tree_roots=[0, 1, 2], post_transform=0,
                    nodes_featureids=[0, 1, 2], nodes_splits=numpy([0.5, 0.0, 1.0]),
                    nodes_modes=numpy_helper.from_array(np.array([mode] * 3, np.uint8)),
                    nodes_truenodeids=[0, 2, 4], nodes_falsenodeids=[1, 3, 5], nodes_trueleafs=[1, 1, 1], nodes_falseleafs=[1, 1, 1],
                    leaf_targetids=[0, 1, 0, 1, 1, 0], leaf_weights=numpy([0.5, -1.0, 2.0, 0.25, 4.0, -3.0]))
                yield single(rng, "TreeEnsemble", [edges(dtype)], attrs, 21, ML, ml=5, rows=(1, 9), kinds=(None,), judge=lambda i, o: (5.0, ""))
