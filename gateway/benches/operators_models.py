"""The models that operators.py measures, fitted on synthetic data like the demo's."""

import json


def made(name, folder):
    """The model's file and its rows, made unless they are there."""
    model, rows = folder / f"{name}.onnx", folder / f"{name}.json"
    if not (model.exists() and rows.exists()):
        folder.mkdir(parents=True, exist_ok=True)
        onx, inputs = MAKERS[name]()
        model.write_bytes(onx.SerializeToString())
        described = [
            {"name": key, "width": value.shape[1], "values": value.ravel().tolist()} for key, value in inputs.items()
        ]
        rows.write_text(json.dumps(described))
    return model, rows


OPSETS = {"": 17, "ai.onnx.ml": 3}


def terrain(classes=7, count=40_000):
    """Ten measures and two categories, spread out: 54 features."""
    import numpy as np

    rng = np.random.default_rng(0)
    x = np.zeros((count, 54), np.float32)
    x[:, :10] = rng.random((count, 10))
    x[np.arange(count), 10 + rng.integers(0, 4, count)] = 1
    x[np.arange(count), 14 + rng.integers(0, 40, count)] = 1
    margin = x @ rng.normal(size=(54, classes)) + np.sin(x[:, :10] * 9) @ rng.normal(size=(10, classes))
    return x, margin + rng.normal(size=(count, classes)) * 0.7


def sklearn_model(model, x, y, classifier=True):
    from skl2onnx import to_onnx

    model.fit(x, y)
    options = {"options": {"zipmap": False}} if classifier else {}
    return to_onnx(model, x[:1], target_opset=OPSETS, **options), {"X": x[:4096]}


def forest():
    from sklearn.ensemble import RandomForestClassifier

    x, margin = terrain()
    return sklearn_model(RandomForestClassifier(80, max_depth=12, n_jobs=-1, random_state=0), x, margin.argmax(1))


def forest_regressor():
    from sklearn.ensemble import RandomForestRegressor

    x, margin = terrain(count=20_000)
    return sklearn_model(RandomForestRegressor(80, max_depth=12, n_jobs=-1, random_state=0), x, margin[:, 0], False)


def mlp():
    from sklearn.neural_network import MLPClassifier

    x, margin = terrain(count=10_000)
    return sklearn_model(MLPClassifier((128, 64), max_iter=8, random_state=0), x, margin.argmax(1))


def mlp_512():
    """Of which one row costs mostly the reading of weights."""
    from sklearn.neural_network import MLPClassifier

    x, margin = terrain(count=4096)
    return sklearn_model(MLPClassifier((512, 512), max_iter=2, random_state=0), x, margin.argmax(1))


def xgboost_model(y, x):
    import onnxmltools
    import xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType

    model = xgboost.XGBClassifier(n_estimators=200, max_depth=6, n_jobs=2, random_state=0).fit(x, y)
    initial = [("X", FloatTensorType([None, x.shape[1]]))]
    return onnxmltools.convert_xgboost(model, initial_types=initial, target_opset=15), {"X": x[:4096]}


def boosted():
    x, margin = terrain(count=20_000)
    return xgboost_model(margin.argmax(1), x)


def boosted_binary():
    x, margin = terrain(count=20_000)
    return xgboost_model((margin[:, 0] > margin[:, 1]).astype(int), x)


def boosted_2000():
    import lightgbm
    import onnxmltools
    from onnxmltools.convert.common.data_types import FloatTensorType

    x, margin = terrain(count=20_000)
    model = lightgbm.LGBMRegressor(n_estimators=2000, max_depth=8, num_leaves=255, n_jobs=2, verbose=-1, random_state=0)
    model.fit(x, margin[:, 0])
    initial = [("X", FloatTensorType([None, x.shape[1]]))]
    return onnxmltools.convert_lightgbm(model, initial_types=initial, target_opset=15), {"X": x[:4096]}


def pipeline():
    import numpy as np
    import pandas as pd
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    rng = np.random.default_rng(1)
    count = 4096
    numbers = [f"n{place}" for place in range(8)]
    frame = pd.DataFrame({name: rng.normal(size=count).astype(np.float32) for name in numbers})
    for name, kinds in (("area", 4), ("soil", 40), ("plan", 3)):
        frame[name] = np.array([f"{name} {kind}" for kind in range(kinds)], object)[rng.integers(0, kinds, count)]
    texts = ["area", "soil", "plan"]
    margin = frame["n0"] + (frame["area"] == "area 1") - (frame["soil"] < "soil 2")
    columns = ColumnTransformer([("n", StandardScaler(), numbers), ("t", OneHotEncoder(handle_unknown="ignore"), texts)])
    model = make_pipeline(columns, LogisticRegression(max_iter=300))
    model.fit(frame, np.array(["leaves", "stays", "returns"])[np.digitize(margin, [-0.5, 0.7])])
    types = [(n, (FloatTensorType if n in numbers else StringTensorType)([None, 1])) for n in frame]
    onx = convert_sklearn(model, initial_types=types, options={id(model): {"zipmap": False}}, target_opset=OPSETS)
    return onx, {name: frame[name].to_numpy().reshape(-1, 1) for name in frame}


def large():
    """A file of 100 MB: complete trees, since fitting as many would take long."""
    import numpy as np
    from onnx import TensorProto, helper

    trees, depth, classes = 160, 12, 7
    rng = np.random.default_rng(0)
    nodes, leaves = 2 ** (depth + 1) - 1, 2**depth
    places, is_leaf = np.arange(nodes), np.arange(nodes) >= nodes - leaves
    below = lambda side: np.where(is_leaf, 0, 2 * places + side)
    votes = np.repeat(places[is_leaf], classes)
    weights = rng.random((trees * leaves, classes)) ** 8
    weights = (weights / weights.sum(1, keepdims=True) / trees).astype(np.float32)
    node = helper.make_node(
        "TreeEnsembleClassifier", ["X"], ["label", "probabilities"], domain="ai.onnx.ml", post_transform="NONE",
        classlabels_int64s=list(range(classes)),
        nodes_treeids=np.repeat(np.arange(trees), nodes).tolist(),
        nodes_nodeids=np.tile(places, trees).tolist(),
        nodes_featureids=(rng.integers(0, 54, trees * nodes) * np.tile(~is_leaf, trees)).tolist(),
        nodes_modes=np.tile(np.where(is_leaf, "LEAF", "BRANCH_LEQ"), trees).tolist(),
        nodes_values=(rng.random(trees * nodes) * np.tile(~is_leaf, trees)).astype(np.float32).tolist(),
        nodes_truenodeids=np.tile(below(1), trees).tolist(),
        nodes_falsenodeids=np.tile(below(2), trees).tolist(),
        nodes_hitrates=[1.0] * (trees * nodes),
        nodes_missing_value_tracks_true=[0] * (trees * nodes),
        class_treeids=np.repeat(np.arange(trees), leaves * classes).tolist(),
        class_nodeids=np.tile(votes, trees).tolist(),
        class_ids=np.tile(np.arange(classes), trees * leaves).tolist(),
        class_weights=weights.ravel().tolist(),
    )
    outputs = [helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
               helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, classes])]
    graph = helper.make_graph([node], "large", [helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, 54])], outputs)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8), {"X": rng.random((4096, 54), np.float32)}


MAKERS = {maker.__name__: maker for maker in
          (forest, boosted, boosted_binary, forest_regressor, boosted_2000, pipeline, mlp, mlp_512, large)}
