"""Halves summed over many terms. ONNX Runtime sums singles and rounds once; a sum of halves stops growing at 2048 ones."""
from families.windows import absolute_terms
from graphs import *

LONG = 2600


def ones(inputs, outputs):
    """Normalised values: of the size of one."""
    return [np.maximum(np.abs(np.nan_to_num(out.astype(F64), posinf=0, neginf=0)), 1) for out in outputs], ""


def near(level, spread=1.0):
    """Values about a level, as pictures and activations have them."""
    return lambda rng, shape: (level + spread * rng.random(shape)).astype(F16)


def feed(*dims, level=0.5):
    return Arg(F16, dims, "plain", near(level))


def sums(rng):
    for dims in ((None, 2, LONG), (None, 2, 50, 52), (None, 2, 13, 20, 10)):
        for op in ("GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool"):
            for level in (0.5, 7.0):
                yield single(rng, op, [feed(*dims, level=level)], {}, 7, kinds=("plain",))
        rank = len(dims) - 2
        kernel = dims[2:]
        pads = (1,) * 2 * rank
        for attrs in ({}, {"pads": pads}, {"pads": pads, "count_include_pad": 1}):
            yield single(rng, "AveragePool", [feed(*dims)], dict(kernel_shape=kernel, **attrs), 11, kinds=("plain",))
        yield single(rng, "LpPool", [feed(*dims)], dict(kernel_shape=kernel), 18, kinds=("plain",))
    reductions = ("ReduceMean", "ReduceSum", "ReduceSumSquare", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax")
    for op in reductions:
        for dims, axes in (((None, LONG), (1,)), ((None, LONG, 3), (1,)), ((None, 3, 50, 52), (2, 3)), ((None, 50, 3, 52), (1, 3))):
            for keep in (0, 1):
                yield single(rng, op, [feed(*dims, level=1.0)], dict(axes=axes, keepdims=keep), 11, kinds=("plain",))
    for op in ("Softmax", "LogSoftmax"):
        for dims, axis in (((None, LONG), 1), ((None, LONG, 3), 1), ((None, 3, LONG), -1)):
            yield single(rng, op, [feed(*dims, level=0)], dict(axis=axis), 13, kinds=("plain",), judge=ones if op == "LogSoftmax" else None)
    for exclusive in (None, 1):
        for reverse in (None, 1):
            attrs = dict(exclusive=exclusive, reverse=reverse)
            yield single(rng, "CumSum", [feed(None, LONG, level=0.2), np.array(1, np.int64)], attrs, 14, kinds=("plain",))
    for op in ("Sum", "Mean"):
        yield single(rng, op, [feed(None, 3) for _ in range(40)], {}, 13, kinds=("plain",))


def in_groups(inputs, outputs):
    """Of two groups, with ones for factors and terms."""
    groups = inputs[0].astype(F64).reshape(len(inputs[0]), 2, -1)
    right = (groups - groups.mean(-1, keepdims=True)) / np.sqrt(groups.var(-1, keepdims=True) + 1e-5) + 1
    return [right.reshape(outputs[0].shape).astype(F16)], "GroupNormalization of halves, for which ONNX Runtime rounds the mean to a half"


def normalisations(rng):
    scale = lambda size: np.ones(size, F16)
    for level in (0.0, 30.0):
        x = feed(None, LONG, level=level)
        for op in ("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization"):
            opset = 23 if op.startswith("RMS") else 17
            yield single(rng, op, [x, scale(LONG)], {}, opset, kinds=("plain",), judge=ones)
        for op in ("SkipLayerNormalization", "SkipSimplifiedLayerNormalization"):
            args = [feed(None, 2, LONG, level=level), feed(None, 2, LONG, level=level), scale(LONG)]
            yield single(rng, op, args, {}, 17, "com.microsoft", kinds=("plain",), judge=ones)
        picture = feed(None, 4, 50, 52, level=level)
        yield single(rng, "InstanceNormalization", [picture, scale(4), scale(4)], {}, 7, kinds=("plain",), judge=ones)
        graph = single(rng, "GroupNormalization", [picture, scale(4), scale(4)], dict(num_groups=2), 21, kinds=("plain",), judge=ones)
        graph.standard = in_groups
        yield graph
        for p in (1, 2):
            yield single(rng, "LpNormalization", [x], dict(axis=1, p=p), 22, kinds=("plain",))
        yield single(rng, "LRN", [feed(None, 300, 2, 2)], dict(size=199, alpha=1.0), 13, kinds=("plain",))
        yield written_out(rng, level)


def written_out(rng, level):
    """A layer normalisation as exports from before opset 17 have it."""
    nodes = [helper.make_node("ReduceMean", ["x"], ["m"], axes=[-1]), helper.make_node("Sub", ["x", "m"], ["d"]),
             helper.make_node("Pow", ["d", "two"], ["s"]), helper.make_node("ReduceMean", ["s"], ["v"], axes=[-1]),
             helper.make_node("Add", ["v", "e"], ["w"]), helper.make_node("Sqrt", ["w"], ["r"]), helper.make_node("Div", ["d", "r"], ["y"])]
    model = model_of(nodes, [("x", F16, (None, LONG))], ["y"], dict(two=F16(2), e=F16(1e-3)), 13)

    def judge(inputs, outputs):
        # The difference is rounded to a half in between: of numbers about 30, to 1/64.
        return [np.full(out.shape, 4 + 40 * (level > 0)) for out in outputs], ""
    return Graph("ReduceMean", f"a normalisation about {level}", model, feeds_of(rng, [feed(None, LONG, level=level)], (1, 3), ("plain",)), judge=judge)


def products(rng):
    weights = lambda *shape: (0.1 + 0.2 * rng.random(shape)).astype(F16)
    signed = lambda *shape: (rng.standard_normal(shape) * 0.2).astype(F16)
    for made in (weights, signed):
        for operator, args, attrs, opset in (
                ("MatMul", [feed(None, LONG), made(LONG, 5)], {}, 13),
                ("MatMul", [feed(None, 3, LONG), made(LONG, 5)], {}, 13),
                ("MatMul", [feed(None, 3, LONG), feed(None, LONG, 5)], {}, 13),
                ("Gemm", [feed(None, LONG), made(LONG, 5), made(5)], {}, 13),
                ("Gemm", [feed(None, LONG), made(5, LONG), made(5)], dict(transB=1, alpha=0.5, beta=2.0), 13),
                ("Einsum", [feed(None, 3, LONG), made(LONG, 4)], dict(equation="bij,jk->bik"), 12),
                ("Einsum", [feed(None, 3, LONG), feed(None, 2, LONG)], dict(equation="bij,bkj->bik"), 12),
                ("Einsum", [feed(None, 3, LONG)], dict(equation="bij->bi"), 12),
                ("Conv", [feed(None, 64, 6, 7), made(8, 64, 5, 5)], {}, 11),
                ("Conv", [feed(None, 64, 6, 7), made(8, 64, 5, 5), made(8)], dict(pads=(1, 1, 1, 1), strides=(2, 2)), 11),
                ("Conv", [feed(None, LONG, 2, 3), made(4, LONG, 1, 1)], {}, 11),
                ("Conv", [feed(None, 2, 60, 60), made(2, 1, 50, 52)], dict(group=2), 11),
                ("Conv", [feed(None, 4, 60, 60), made(4, 2, 30, 42)], dict(group=2), 11),
                ("Conv", [feed(None, 20, 140), made(3, 20, 130)], {}, 11),
                ("Conv", [feed(None, 20, 9, 8, 7), made(3, 20, 5, 5, 5)], {}, 11),
                ("ConvTranspose", [feed(None, 300, 4, 5), made(300, 3, 3, 3)], {}, 11),
                ("ConvTranspose", [feed(None, 300, 9), made(300, 3, 8)], dict(strides=(2,)), 11)):
            graph = single(rng, operator, args, attrs, opset, kinds=("plain",))
            if made is signed:
                graph.judge = absolute_terms(graph.model)
            yield graph
    # With what runtimes make one with a product.
    for op in ("Relu", "Sigmoid", "Add"):
        for dims, kernel in (((None, 64, 6, 7), (8, 64, 5, 5)), ((None, 2, 60, 60), (2, 1, 50, 52))):
            nodes = [helper.make_node("Conv", ["x", "w"], ["c"], group=2 if kernel[0] == 2 else 1),
                     helper.make_node("BatchNormalization", ["c", "n", "z", "z", "n"], ["b"]),
                     helper.make_node(op, ["b", "o"] if op == "Add" else ["b"], ["y"])]
            values = dict(w=weights(*kernel), n=np.ones(kernel[0], F16), z=np.zeros(kernel[0], F16), o=F16(1))
            used = {name for node in nodes for name in node.input}
            model = model_of(nodes, [("x", F16, dims)], ["y"], {name: value for name, value in values.items() if name in used}, 15)
            yield Graph("Conv, then", f"halves, {op} {dims}", model, feeds_of(rng, [feed(*dims)], (1, 3), ("plain",)))


def recurrent(rng):
    """The sum over many features of each step."""
    from families.recurrent import net
    for op in ("LSTM", "GRU", "RNN"):
        yield net(rng, op, dtype=F16, features=900, hidden=3, time=2)


def resamples(rng):
    for mode in ("linear", "cubic"):
        for scale in ((1, 1, 2, 2), (1, 1, 0.5, 0.7)):
            yield single(rng, "Resize", [feed(None, 2, 9, 8), None, np.array(scale, F32)], dict(mode=mode), 13, kinds=("plain",))
    grid = Arg(F16, (None, 3, 4, 2), "plain", lambda rng, shape: (rng.random(shape) * 1.6 - 0.8).astype(F16))
    for mode in ("bilinear", "bicubic", "nearest"):
        yield single(rng, "GridSample", [feed(None, 2, 9, 8), grid], dict(mode=mode), 16, kinds=("plain",))


def graphs(rng):
    yield from sums(rng)
    yield from normalisations(rng)
    yield from products(rng)
    yield from recurrent(rng)
    yield from resamples(rng)
