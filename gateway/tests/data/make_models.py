"""Makes the model fixtures: small ONNX files, each with a JSON of inputs and what ONNX Runtime and the library say.

    uv venv && uv pip install -r requirements.txt && python make_models.py

Everything is seeded; run it again only when a fixture is added, since other library versions give other trees.
"""

import itertools
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

OUT = Path(__file__).parent / "models"
RNG = np.random.default_rng(7)
OPSETS = {"": 17, "ai.onnx.ml": 3}


def plain(array):
    """JSON has no NaN: null stands for it."""
    array = np.asarray(array)
    if array.dtype.kind == "f":
        return [None if np.isnan(v) else float(v) for v in array.ravel()]
    return [v.item() if hasattr(v, "item") else v for v in array.ravel()]


def save(name, model, rows, labels=None, scores=None, each=False):
    """Runs the model in ONNX Runtime and keeps the answer; `labels` and `scores` are the library's own. With `each`,
    row by row."""
    # onnxmltools names graphs at random.
    model.graph.name = "g"
    onnx.checker.check_model(model)
    data = model.SerializeToString()
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(data, options)
    parts = [rows[i : i + 1] for i in range(len(rows))] if each else [rows]
    outputs = [session.run(None, {session.get_inputs()[0].name: part}) for part in parts]
    outputs = [np.concatenate(columns) for columns in zip(*outputs)]
    described = [
        {"name": o.name, "shape": list(v.shape), "values": plain(v)} for o, v in zip(session.get_outputs(), outputs)
    ]
    if labels is not None and not (np.asarray(labels) == outputs[0].ravel()).all():
        print(name, "ONNX Runtime differs from the library on", (np.asarray(labels) != outputs[0].ravel()).sum(), "labels")
    if scores is not None:
        print(name, "scores differ by at most", np.abs(outputs[1] - scores).max())
    case = {"shape": list(rows.shape), "dtype": str(rows.dtype), "rows": plain(rows), "outputs": described}
    if labels is not None:
        case["library_labels"] = plain(labels)
    OUT.mkdir(exist_ok=True)
    (OUT / f"{name}.onnx").write_bytes(data)
    (OUT / f"{name}.json").write_text(json.dumps(case, separators=(",", ":")))


def data(classes, features=5, count=300):
    x = RNG.normal(size=(count, features)).astype(np.float32)
    margin = x @ RNG.normal(size=(features, classes)) + np.sin(3 * x[:, :1])
    return x, margin.argmax(1)


def from_sklearn():
    from skl2onnx import to_onnx
    from sklearn.ensemble import ExtraTreesClassifier, GradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.tree import DecisionTreeClassifier

    models = {
        "forest_binary": (RandomForestClassifier(10, max_depth=5, random_state=0), 2, None),
        "forest_multi": (RandomForestClassifier(8, max_depth=5, random_state=0), 4, None),
        "forest_strings": (RandomForestClassifier(6, max_depth=4, random_state=0), 3, ["oak", "fir", "elm — Ulme"]),
        "forest_wide": (ExtraTreesClassifier(3, max_depth=5, random_state=0), 11, None),
        "tree": (DecisionTreeClassifier(max_depth=4, random_state=0), 3, None),
        "boosted_binary": (GradientBoostingClassifier(n_estimators=8, max_depth=3, random_state=0), 2, None),
        "boosted_multi": (GradientBoostingClassifier(n_estimators=6, max_depth=3, random_state=0), 3, None),
        "linear": (LogisticRegression(), 3, None),
        "mlp": (MLPClassifier((16, 8), max_iter=60, random_state=0), 3, None),
    }
    for name, (model, classes, names) in models.items():
        x, y = data(classes)
        if names:
            y = np.array(names)[y]
        model.fit(x, y)
        rows = x[:40]
        options = {id(model): {"zipmap": False}}
        onx = to_onnx(model, x[:1], options=options, target_opset=OPSETS)
        save(name, onx, rows, model.predict(rows), model.predict_proba(rows))
    # Double precision: thresholds and weights as tensors.
    x, y = data(3)
    x = x.astype(np.float64) + 1e-9
    model = RandomForestClassifier(6, max_depth=4, random_state=0).fit(x, y)
    onx = to_onnx(model, x[:1], options={"zipmap": False}, target_opset=OPSETS)
    save("forest_double", onx, x[:40], model.predict(x[:40]), model.predict_proba(x[:40]))


def from_boosters():
    import lightgbm
    import onnxmltools
    import xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType

    initial = [("input", FloatTensorType([None, 5]))]
    for classes, kind in ((2, "binary"), (3, "multi")):
        x, y = data(classes)
        x[RNG.random(x.shape) < 0.1] = np.nan
        rows = x[:40]
        model = xgboost.XGBClassifier(n_estimators=6, max_depth=3, random_state=0).fit(x, y)
        onx = onnxmltools.convert_xgboost(model, initial_types=initial, target_opset=15)
        save(f"xgboost_{kind}", onx, rows, model.predict(rows), model.predict_proba(rows))
        model = lightgbm.LGBMClassifier(n_estimators=6, max_depth=3, verbose=-1, random_state=0).fit(x, y)
        onx = onnxmltools.convert_lightgbm(model, initial_types=initial, target_opset=15, zipmap=False)
        save(f"lightgbm_{kind}", onx, rows, model.predict(rows), model.predict_proba(rows))


MODES = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"]


def full_tree(tree, depth, features, modes, tracks, votes):
    """A full tree over integer thresholds; `votes(leaf)` gives its (class, weight) pairs."""
    nodes, ballots = [], []
    inner = 2**depth - 1
    for node in range(2 ** (depth + 1) - 1):
        leaf = node >= inner
        mode = "LEAF" if leaf else modes[int(RNG.integers(len(modes)))]
        threshold = 0.0 if leaf else float(RNG.integers(-2, 3))
        track = 0 if leaf else int(RNG.integers(2)) if tracks else 0
        feature = 0 if leaf else int(RNG.integers(features))
        nodes.append((tree, node, feature, mode, threshold, *((0, 0) if leaf else (2 * node + 1, 2 * node + 2)), track))
        if leaf:
            ballots += [(tree, node, c, w) for c, w in votes(node)]
    return nodes, ballots


def ensemble(trees, classes, post="NONE", base=None, tracks=True, labels=None, double=False):
    nodes = list(itertools.chain.from_iterable(t[0] for t in trees))
    ballots = list(itertools.chain.from_iterable(t[1] for t in trees))
    ids = ("treeids", "nodeids", "featureids", "modes", "values", "truenodeids", "falsenodeids")
    attributes = {f"nodes_{k}": [n[i] for n in nodes] for i, k in enumerate(ids)}
    if tracks:
        attributes["nodes_missing_value_tracks_true"] = [n[7] for n in nodes]
    attributes |= {f"class_{k}": [b[i] for b in ballots] for i, k in enumerate(("treeids", "nodeids", "ids", "weights"))}
    if double:
        for key in ("nodes_values", "class_weights"):
            values = np.array(attributes.pop(key), dtype=np.float64)
            attributes[f"{key}_as_tensor"] = numpy_helper.from_array(values, key)
    if base is not None:
        attributes["base_values"] = base
    if labels:
        attributes["classlabels_strings"] = labels
    else:
        attributes["classlabels_int64s"] = list(range(10, 10 + classes))
    return helper.make_node(
        "TreeEnsembleClassifier", ["x"], ["label", "scores"], domain="ai.onnx.ml", post_transform=post, **attributes
    )


def graph(node, features, classes, kind=TensorProto.FLOAT, strings=False):
    label = TensorProto.STRING if strings else TensorProto.INT64
    g = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", kind, ["batch", features])],
        [
            helper.make_tensor_value_info("label", label, ["batch"]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", classes]),
        ],
    )
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(g, opset_imports=imports, ir_version=9)


def by_hand():
    def small():
        return round(float(RNG.normal()), 3)

    def rows(count=60, features=4, missing=True):
        x = RNG.integers(-3, 4, size=(count, features)).astype(np.float32)
        if missing:
            x[RNG.random(x.shape) < 0.15] = np.nan
        return x

    for mode in [[m] for m in MODES] + [MODES]:
        name = mode[0].removeprefix("BRANCH_").lower() if len(mode) == 1 else "mixed"
        for tracks in (False, True):
            trees = [
                full_tree(t, 3, 4, mode, tracks, lambda _: [(c, small()) for c in range(3)]) for t in range(5)
            ]
            save(f"mode_{name}{'_missing' if tracks else ''}", graph(ensemble(trees, 3, tracks=tracks), 4, 3), rows())
    for post in ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"):
        # PROBIT wants scores between 0 and 1.
        weight = (lambda: round(float(RNG.uniform(0.01, 0.15)), 3)) if post == "PROBIT" else small
        trees = [full_tree(t, 2, 4, MODES[:4], True, lambda _: [(c, weight()) for c in range(3)]) for t in range(5)]
        base = [0.1, 0.2, 0.05]
        save(f"post_{post.lower()}", graph(ensemble(trees, 3, post), 4, 3), rows())
        save(f"post_{post.lower()}_base", graph(ensemble(trees, 3, post, base), 4, 3), rows())
    # One class for each tree, as boosted trees have; some classes without a vote for some rows.
    trees = [full_tree(t, 3, 4, MODES[:2], True, lambda _, t=t: [(t % 4, small())]) for t in range(9)]
    save("one_vote", graph(ensemble(trees, 4, "SOFTMAX"), 4, 4), rows())
    trees = [full_tree(t, 2, 4, MODES[:2], True, lambda n: [(n % 4, small() - 2)]) for t in range(3)]
    save("unvoted", graph(ensemble(trees, 4, "SOFTMAX_ZERO"), 4, 4), rows())
    trees = [full_tree(t, 2, 4, MODES[:2], True, lambda n: [(n % 12, small()), (3, small())]) for t in range(7)]
    save("sparse", graph(ensemble(trees, 12), 4, 12), rows())
    # Two classes, one column of votes: margins and probabilities, for either class, with and without base value.
    for kind, post in itertools.product(("margin", "probability"), ("NONE", "LOGISTIC", "SOFTMAX")):
        weight = small if kind == "margin" else (lambda: round(float(RNG.uniform(0, 0.2)), 3))
        for column in (0, 1):
            trees = [full_tree(t, 3, 4, MODES[:1], False, lambda _: [(column, weight())]) for t in range(5)]
            save(f"single_{kind}_{post.lower()}_{column}", graph(ensemble(trees, 2, post), 4, 2), rows())
        trees = [full_tree(t, 3, 4, MODES[:1], False, lambda _: [(0, weight())]) for t in range(5)]
        save(f"single_{kind}_{post.lower()}_base", graph(ensemble(trees, 2, post, [-0.25]), 4, 2), rows())
    trees = [full_tree(t, 3, 4, MODES[:1], False, lambda _: [(0, small())]) for t in range(5)]
    save("single_strings", graph(ensemble(trees, 2, labels=["no", "yes"]), 4, 2, strings=True), rows())
    # Other input types.
    trees = [full_tree(t, 3, 4, MODES[:4], False, lambda _: [(c, small()) for c in range(3)]) for t in range(5)]
    for kind, dtype in ((TensorProto.INT64, np.int64), (TensorProto.INT32, np.int32)):
        save(f"input_{np.dtype(dtype)}", graph(ensemble(trees, 3), 4, 3, kind), rows(missing=False).astype(dtype))
    save("input_float64", graph(ensemble(trees, 3), 4, 3, TensorProto.DOUBLE), rows().astype(np.float64))
    node = ensemble(trees, 3, double=True)
    save("double_tensors", graph(node, 4, 3, TensorProto.DOUBLE), rows().astype(np.float64) + 1e-12)


def only_one_row():
    """The batch of 1 is written into the graph, as exporters of a traced network do."""
    g = helper.make_graph(
        [
            helper.make_node("Reshape", ["x", "fold"], ["folded"]),
            helper.make_node("MatMul", ["folded", "weights"], ["mixed"]),
            helper.make_node("Reshape", ["mixed", "unfold"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
        [
            numpy_helper.from_array(np.array([1, 2, 3]), "fold"),
            numpy_helper.from_array(np.array([1, 4]), "unfold"),
            numpy_helper.from_array(RNG.normal(size=(3, 2)).astype(np.float32), "weights"),
        ],
    )
    model = helper.make_model(g, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    save("only_one_row", model, RNG.normal(size=(20, 6)).astype(np.float32), each=True)


def extract_features():
    """ArrayFeatureExtractor with one index, and with two."""
    for name, index in (("scalar", np.array(2)), ("two", np.array([[3, 0]]))):
        g = helper.make_graph(
            [helper.make_node("ArrayFeatureExtractor", ["x", "index"], ["y"], domain="ai.onnx.ml")],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 4])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, index.size])],
            [numpy_helper.from_array(index, "index")],
        )
        imports = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
        model = helper.make_model(g, opset_imports=imports, ir_version=9)
        save(f"extract_{name}", model, RNG.normal(size=(20, 4)).astype(np.float32))


if __name__ == "__main__":
    from_sklearn()
    from_boosters()
    by_hand()
    only_one_row()
    extract_features()
