"""Graphs of all kinds, with what ONNX Runtime answers to a row alone and to a batch.

The tests of `tests/it/company.rs` send the same row again and again beside callers with other data: some of these graphs
let rows meet. Made with the packages of `requirements.txt` and `skl2onnx`:

    python make_company.py

Writes `company/NAME.onnx` and `company/NAME.json`: input name, datatype, shape of a row, five rows, and ONNX Runtime's
answers to the first row alone and to all five as one batch.
"""

import json
import pathlib
import tempfile
import warnings

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper
from onnxruntime.quantization import quantize_dynamic

warnings.filterwarnings("ignore")
ort.set_default_logger_severity(4)
HERE = pathlib.Path(__file__).parent / "company"
F32, I64, TEXT = 1, 7, 8
node = helper.make_node


def weights(*shape, seed=0, scale=0.5):
    return (np.random.RandomState(seed).randn(*shape) * scale).astype(np.float32)


def model(nodes, row, inits=(), out_rank=2, datatype=F32, opset=17, out=F32):
    value = helper.make_tensor_value_info
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in dict(inits).items()]
    output = value("y", out, ["N"] + [None] * (out_rank - 1))
    graph = helper.make_graph(nodes, "g", [value("x", datatype, ["N", *row])], [output], tensors)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    made.ir_version = 8
    return made


def quantised(made, **options):
    with tempfile.TemporaryDirectory() as folder:
        onnx.save(made, f"{folder}/a.onnx")
        quantize_dynamic(f"{folder}/a.onnx", f"{folder}/q.onnx", **options)
        return onnx.load(f"{folder}/q.onnx")


def mlp():
    return model(
        [node("Gemm", ["x", "w", "b"], ["h"]), node("Relu", ["h"], ["r"]), node("Gemm", ["r", "v", "c"], ["s"]),
         node("Softmax", ["s"], ["y"], axis=1)],
        [6], {"w": weights(6, 40), "b": weights(40, seed=1), "v": weights(40, 3, seed=2), "c": weights(3, seed=3)})


def conv(group=1):
    return model(
        [node("Conv", ["x", "k"], ["c"], pads=[1, 1, 1, 1], group=group), node("Relu", ["c"], ["r"]),
         node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]), node("Flatten", ["p"], ["f"]),
         node("MatMul", ["f", "w"], ["y"])],
        [2, 6, 6], {"k": weights(4, 2 // group, 3, 3), "w": weights(36, 3, seed=1)})


def recurrent(op, gates, batch_first):
    inits = {"w": weights(1, gates * 3, 2), "r": weights(1, gates * 3, 3, seed=1), "axis": np.array([1]),
             "h0": np.zeros((1, 1, 3), np.float32), "first": np.array([0]), "n": np.array([0])}
    if batch_first:
        nodes = [node("Transpose", ["x"], ["t"], perm=[1, 0, 2]), node(op, ["t", "w", "r"], ["all", "last"], hidden_size=3),
                 node("Squeeze", ["last", "first"], ["y"])]
        return model(nodes, [4, 2], inits)
    # The rows are taken for steps of time, as a graph that was exported with the sequence first has it.
    nodes = [node("Unsqueeze", ["x", "axis"], ["t"]), node(op, ["t", "w", "r"], ["all"], hidden_size=3),
             node("Squeeze", ["all", "both"], ["y"])]
    inits["both"] = np.array([1, 2])
    return model(nodes, [2], inits)


def attention():
    inits = {name: weights(4, 4, seed=seed) for seed, name in enumerate(["q", "k", "v"])}
    inits |= {"scale": np.ones(4, np.float32), "shift": np.zeros(4, np.float32), "half": np.float32(0.5)}
    return model(
        [node("MatMul", ["x", "q"], ["a"]), node("MatMul", ["x", "k"], ["b"]), node("MatMul", ["x", "v"], ["c"]),
         node("Transpose", ["b"], ["bt"], perm=[0, 2, 1]), node("MatMul", ["a", "bt"], ["s"]),
         node("Mul", ["s", "half"], ["m"]), node("Softmax", ["m"], ["p"], axis=-1), node("MatMul", ["p", "c"], ["o"]),
         node("Add", ["o", "x"], ["z"]), node("LayerNormalization", ["z", "scale", "shift"], ["y"], axis=-1)],
        [3, 4], inits, out_rank=3)


def over(op, axis, **more):
    """A statistic along an axis, and what the row has beyond it."""
    return model([node(op, ["x"], ["m"], axes=axis, **more), node("Sub", ["x", "m"], ["y"])], [4])


def norm(axes):
    return model(
        [node("ReduceMean", ["x"], ["m"], axes=axes), node("Sub", ["x", "m"], ["d"]), node("Mul", ["d", "d"], ["s"]),
         node("ReduceMean", ["s"], ["v"], axes=axes), node("Add", ["v", "e"], ["ve"]), node("Sqrt", ["ve"], ["q"]),
         node("Div", ["d", "q"], ["y"])],
        [4], {"e": np.float32(1e-5)})


def top(axis):
    return model(
        [node("TopK", ["x", "k"], ["t", "places"], axis=axis), node("ReduceSum", ["t", "axis"], ["s"]),
         node("Add", ["x", "s"], ["y"])],
        [4], {"k": np.array([1]), "axis": np.array([axis])})


def sklearn_models():
    from skl2onnx import to_onnx
    from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    random = np.random.RandomState(0)
    x = random.randn(200, 4).astype(np.float32)
    y = (x[:, 0] + x[:, 1] * x[:, 2] > 0).astype(int) + (x[:, 3] > 1)
    for name, estimator in [
        ("forest", RandomForestClassifier(20, max_depth=6, random_state=0)),
        ("boosted", GradientBoostingClassifier(n_estimators=10, random_state=0)),
        ("logistic", make_pipeline(StandardScaler(), LogisticRegression())),
        ("neighbours", KNeighborsClassifier(3)),
    ]:
        made = to_onnx(estimator.fit(x, y), x[:1], options={"zipmap": False}, target_opset={"": 17, "ai.onnx.ml": 3})
        yield name, made


GRAPHS = {
    "dynamic_matmul": lambda: quantised(model([node("MatMul", ["x", "w"], ["y"])], [4], {"w": weights(4, 2)})),
    "dynamic_mlp": lambda: quantised(mlp()),
    "dynamic_conv": lambda: quantised(conv()),
    "mlp": mlp,
    "convolution": conv,
    "convolution_by_channel": lambda: conv(2),
    "attention": attention,
    "dynamic_attention": lambda: quantised(attention()),
    "lstm_sequence_first": lambda: recurrent("LSTM", 4, False),
    "gru_sequence_first": lambda: recurrent("GRU", 3, False),
    "rnn_sequence_first": lambda: recurrent("RNN", 1, False),
    "lstm_batch": lambda: recurrent("LSTM", 4, True),
    "gru_batch": lambda: recurrent("GRU", 3, True),
    "maximum_of_all": lambda: model([node("ReduceMax", ["x"], ["m"], keepdims=1), node("Div", ["x", "m"], ["y"])], [4]),
    "maximum_over_rows": lambda: over("ReduceMax", [0]),
    "maximum_of_row": lambda: over("ReduceMax", [1]),
    "mean_over_rows": lambda: over("ReduceMean", [0]),
    "standardised_over_rows": lambda: norm([0]),
    "standardised_by_row": lambda: norm([1]),
    "batch_norm": lambda: model(
        [node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y"])], [4],
        {"s": weights(4), "b": weights(4, seed=1), "m": weights(4, seed=2), "v": np.abs(weights(4, seed=3)) + 0.5}),
    "softmax_over_rows": lambda: model([node("Softmax", ["x"], ["y"], axis=0)], [4]),
    "softmax_by_row": lambda: model([node("Softmax", ["x"], ["y"], axis=1)], [4]),
    "log_softmax_over_rows": lambda: model([node("LogSoftmax", ["x"], ["y"], axis=0)], [4]),
    "cumulative_over_rows": lambda: model([node("CumSum", ["x", "a"], ["y"])], [4], {"a": np.array(0)}),
    "cumulative_by_row": lambda: model([node("CumSum", ["x", "a"], ["y"])], [4], {"a": np.array(1)}),
    "greatest_row": lambda: top(0),
    "greatest_of_row": lambda: top(1),
    "distances": lambda: model(
        [node("Transpose", ["x"], ["t"], perm=[1, 0]), node("MatMul", ["x", "t"], ["d"]), node("MatMul", ["d", "x"], ["y"])], [4]),
    "number_of_rows": lambda: model(
        [node("Shape", ["x"], ["s"]), node("Gather", ["s", "zero"], ["n"]), node("Cast", ["n"], ["f"], to=1),
         node("Mul", ["x", "f"], ["y"])], [4], {"zero": np.array([0])}),
    "first_row": lambda: model(
        [node("Slice", ["x", "zero", "one", "zero"], ["f"]), node("Sub", ["x", "f"], ["y"])], [4],
        {"zero": np.array([0]), "one": np.array([1])}),
    "joined_rows": lambda: model(
        [node("Neg", ["x"], ["n"]), node("Concat", ["x", "n"], ["c"], axis=0), node("ReduceMax", ["c"], ["m"], axes=[0]),
         node("Add", ["x", "m"], ["y"])], [4]),
    "embedding": lambda: model(
        [node("Gather", ["w", "x"], ["e"]), node("ReduceMean", ["e"], ["y"], axes=[1], keepdims=0)], [3],
        {"w": weights(10, 5)}, datatype=I64),
    "activations": lambda: model(
        [node("Tanh", ["x"], ["t"]), node("Sigmoid", ["t"], ["s"]), node("Erf", ["s"], ["e"]), node("Exp", ["e"], ["y"])], [5]),
    "layer_norm": lambda: model(
        [node("LayerNormalization", ["x", "s", "b"], ["y"], axis=-1)], [5], {"s": weights(5), "b": weights(5, seed=1)}),
    "rows_in_another_order": lambda: model(
        [node("Transpose", ["x"], ["t"], perm=[1, 0]), node("Reshape", ["t", "shape"], ["r"]), node("Add", ["x", "r"], ["y"])],
        [4], {"shape": np.array([-1, 4])}),
}


def rows(datatype, row):
    random = np.random.RandomState(7)
    if datatype == I64:
        return random.randint(0, 10, size=(5, *row))
    made = random.randn(5, *row).astype(np.float32)
    # The first is small beside the others.
    made[1:] *= np.float32([20, 3, 10, 30]).reshape(4, *[1] * len(row))
    return made


def listed(array):
    return [None if isinstance(value, float) and not np.isfinite(value) else value for value in array.reshape(-1).tolist()]


def write(name, made):
    onnx.checker.check_model(made)
    session = ort.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    [given] = session.get_inputs()
    batch = rows(I64 if "int64" in given.type else F32, given.shape[1:])
    answers = lambda feed: {
        output.name: {"shape": list(answer.shape), "values": listed(answer)}
        for output, answer in zip(session.get_outputs(), session.run(None, {given.name: feed}))
    }
    case = {
        "input": given.name,
        "datatype": "INT64" if "int64" in given.type else "FP32",
        "row": list(given.shape[1:]),
        "rows": batch.reshape(5, -1).tolist(),
        "alone": answers(batch[:1]),
        "batch": answers(batch),
    }
    (HERE / f"{name}.onnx").write_bytes(made.SerializeToString())
    (HERE / f"{name}.json").write_text(json.dumps(case) + "\n")


def main():
    HERE.mkdir(exist_ok=True)
    for name, make in GRAPHS.items():
        write(name, make())
    for name, made in sklearn_models():
        write(name, made)
    print(len(list(HERE.glob("*.onnx"))), "graphs")


if __name__ == "__main__":
    main()
