"""Operators after something that repeats its values: sums over a repeated axis have each value as often as it is there."""
from families.windows import absolute_terms
from graphs import *


def spreads(dims):
    """Ways from a tensor whose second dimension is one to `dims`, and with repeated pictures."""
    yield "Expand", (dims[0], 1, *dims[2:]), [("Expand", "s", np.array([1, dims[1], *[1] * len(dims[2:])]))]
    yield "Tile", (dims[0], 1, *dims[2:]), [("Tile", "s", np.array([1, dims[1], *[1] * len(dims[2:])]))]
    if len(dims) == 4 and dims[3] % 2 == 0:
        half = (dims[0], dims[1], dims[2], dims[3] // 2)
        # As Keras repeats columns.
        yield "Repeat", half, [("Unsqueeze", "s", np.array([4])), ("Tile", "t", np.array([1, 1, 1, 1, 2])), ("Reshape", "u", np.array([0, dims[1], dims[2], dims[3]]))]
        yield "Tile", half, [("Tile", "s", np.array([1, 1, 1, 2]))]


def followers(rng, dims):
    weights = lambda *shape: draw(rng, F32, shape, "plain")
    channels = dims[1]
    if len(dims) == 4:
        for kernel in ((1, 1), (2, 2)):
            yield "Conv", {}, [weights(4, channels, *kernel)]
            yield "Conv", {}, [weights(4, channels, *kernel), weights(4)]
            yield "ConvTranspose", {}, [weights(channels, 4, *kernel)]
        yield "GlobalAveragePool", {}, []
        yield "AveragePool", {"kernel_shape": (2, 2)}, []
        yield "InstanceNormalization", {}, [weights(channels), weights(channels)]
        yield "BatchNormalization", {}, [weights(channels)] * 3 + [np.abs(weights(channels)) + 1]
        yield "ReduceSum", {}, [np.array([2, 3])]
        yield "Einsum", {"equation": "bcij,cd->bdij"}, [weights(channels, 3)]
        yield "Einsum", {"equation": "bcij,jd->bcid"}, [weights(dims[3], 3)]
    yield "ReduceSum", {}, [np.array([1])]
    yield "ReduceMean", {"axes": (1,)}, []
    yield "ReduceL2", {"axes": (1,)}, []
    yield "Softmax", {"axis": 1}, []
    yield "CumSum", {}, [np.array(1)]
    yield "LayerNormalization", {"axis": 1}, [weights(*dims[1:])]
    yield "MatMul", {}, [weights(dims[-1], 3)]
    yield "ArgMax", {"axis": 1}, []
    yield "TopK", {"axis": -1}, [np.array([1])]
    if len(dims) == 2:
        yield "Gemm", {}, [weights(channels, 3), weights(3)]
        yield "Einsum", {"equation": "bi,ij->bj"}, [weights(channels, 3)]
    if len(dims) == 3:
        yield "Conv", {}, [weights(4, channels, 1)]
        yield "Einsum", {"equation": "bij,ik->bjk"}, [weights(channels, 3)]


def between_two(rng, dims):
    """Products of two tensors of which one is repeated."""
    for equation, other in (("bij,bjk->bik", (None, dims[2], 3)), ("bij,bik->bjk", (None, dims[1], 3)), ("bij,bij->b", (None, *dims[1:]))):
        yield equation, other


def graphs(rng):
    for dims in ((None, 3), (None, 3, 4), (None, 3, 4, 6)):
        for name, given, steps in spreads(dims):
            nodes, values, last = [], {}, "x"
            for at, (op, key, value) in enumerate(steps):
                values[key] = value.astype(np.int64)
                nodes.append(helper.make_node(op, [last, key], [f"h{at}"]))
                last = f"h{at}"
            for after, attrs, rest in followers(rng, dims):
                names = [f"c{at}" for at in range(len(rest))]
                opset = 13 if after.startswith("Reduce") else 17
                if after == "LayerNormalization":
                    attrs = {"axis": 1}
                outputs = ["y", "z"] if after == "TopK" else ["y"]
                constants = values | dict(zip(names, rest))
                model = model_of([*nodes, helper.make_node(after, [last, *names], outputs, **attrs)], [("x", F32, given)], outputs, constants, opset)
                graph = Graph(after, f"after {name} to {dims}", model, feeds_of(rng, [Arg(F32, given)], (1, 3), ("plain",)))
                if after not in ("TopK", "ArgMax"):
                    # Equal numbers differ from their mean by its rounding, of which a normalisation makes more.
                    bound, least = absolute_terms(model), 50 if after.endswith("Normalization") else 1
                    graph.judge = lambda inputs, outputs, bound=bound, least=least: ([np.maximum(one, least) for one in bound(inputs, outputs)[0]], "")
                yield graph
            if len(dims) == 3:
                for equation, other in between_two(rng, dims):
                    model = model_of([*nodes, helper.make_node("Einsum", [last, "o"], ["y"], equation=equation)],
                                     [("x", F32, given), ("o", F32, other)], ["y"], values, 17)
                    graph = Graph("Einsum", f"{equation} after {name}", model, feeds_of(rng, [Arg(F32, given), Arg(F32, other)], (1, 3), ("plain",)))
                    graph.judge = absolute_terms(model)
                    yield graph
