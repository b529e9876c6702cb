"""Spectra and their windows, and small operators of the newer opsets."""
from graphs import *


def largest(inputs, outputs):
    """A spectrum's values are sums over all of the signal."""
    if inputs[0].dtype == F64 and np.max(np.abs(outputs[0]), initial=0) > 0:
        return ([np.full(out.shape, np.sum(np.abs(inputs[0])) * 1e4 + 1) for out in outputs],
                "DFT of doubles: ONNX Runtime has 1/n as a single; equal within 1e-6")
    return [np.full(out.shape, np.sum(np.abs(np.nan_to_num(inputs[0].astype(F64)))) + 1) for out in outputs], ""


def windows(rng):
    for op in ("HannWindow", "HammingWindow", "BlackmanWindow"):
        for size in (1, 2, 9, 16):
            for periodic in (None, 0, 1):
                for kind in (None, 1, 11, 10):
                    nodes = [helper.make_node(op, ["n"], ["w"], **{key: value for key, value in dict(periodic=periodic, output_datatype=kind).items() if value is not None}),
                             helper.make_node("Cast", ["w"], ["c"], to=1), helper.make_node("Mul", ["x", "c"], ["y"])]
                    model = model_of(nodes, [("x", F32, (None, size))], ["y"], dict(n=np.array(size, np.int64)), 17)
                    yield Graph(op, f"{size} periodic={periodic} type={kind}", model, feeds_of(rng, [Arg(F32, (None, size))], (1, 3), ("plain",)),
                                judge=lambda inputs, outputs: ([np.abs(inputs[0].astype(F64))], ""))


def transforms(rng):
    for dtype in (F32, F64):
        for size in (1, 5, 8, 12):
            for parts in (1, 2):
                for inverse in (None, 1):
                    for one_sided in (None, 1):
                        if parts == 2 and one_sided or inverse and one_sided:
                            continue
                        attrs = dict(inverse=inverse, onesided=one_sided)
                        x = Arg(dtype, (None, size, parts), "plain")
                        yield single(rng, "DFT", [x], attrs, 17, kinds=("plain", "large"), judge=largest)
                        yield single(rng, "DFT", [x, None, np.array(1)], attrs, 20, kinds=("plain", "large"), judge=largest)
                        for length in (3, 16):
                            yield single(rng, "DFT", [x, np.array(length)], attrs, 17, kinds=("plain",), judge=largest)
                        yield single(rng, "DFT", [Arg(dtype, (2, size, 3, parts), "plain")], dict(axis=2, **attrs), 17, kinds=("plain",), judge=largest, is_rows=False)
    for one_sided in (None, 0):
        for window in (True, False):
            for length in (16, 12):
                args = [Arg(F32, (None, 64, 1), "plain"), np.array(8), rng.random(length).astype(F32) if window else None, np.array(length)]
                yield single(rng, "STFT", args, dict(onesided=one_sided), 17, kinds=("plain",), judge=largest)


def swish(alpha):
    def standard(inputs, outputs):
        x = inputs[0].astype(F64)
        right = (x / (1 + np.exp(-alpha * x))).astype(outputs[0].dtype)
        right = np.where(np.isfinite(x), right, outputs[0])
        near = np.abs(right.astype(F64) - outputs[0]) <= (1e-10 if x.dtype == inputs[0].dtype else 1e-6) * np.abs(right)
        if (near | ~np.isfinite(x)).all():
            return outputs, ""
        return [right], "Swish of doubles, which ONNX Runtime computes with singles, and below -40, where its sigmoid is zero"
    return standard


def small(rng):
    for dtype in (F32, F64, F16):
        for opset in (7, 10, 12, 13, 22):
            attrs = dict(ratio=0.3) if opset < 12 else {}
            yield single(rng, "Dropout", [Arg(dtype, (None, 4))], attrs, opset)
            if opset >= 12:
                yield single(rng, "Dropout", [Arg(dtype, (None, 4)), F32(0.4)], {}, opset)
                yield single(rng, "Dropout", [Arg(dtype, (None, 4)), F32(0.4), np.array(False)], {}, opset)
                yield single(rng, "Dropout", [Arg(dtype, (None, 4))], {}, opset, outputs=2)
        for alpha in (None, 0.5):
            graph = single(rng, "Swish", [Arg(dtype, (None, 4))], dict(alpha=alpha), 24)
            graph.standard = swish(alpha or 1.0)
            yield graph
    for bins in (4, 7):
        for kind in (None, 1, 11):
            attrs = dict(output_datatype=kind) if kind else {}
            node = helper.make_node("MelWeightMatrix", ["a", "b", "c", "d", "e"], ["m"], **attrs)
            nodes = [node, helper.make_node("Cast", ["m"], ["f"], to=1), helper.make_node("MatMul", ["x", "f"], ["y"])]
            values = dict(a=np.array(bins), b=np.array(16), c=np.array(8000), d=F32(20), e=F32(3000))
            model = model_of(nodes, [("x", F32, (None, 9))], ["y"], values, 17)
            yield Graph("MelWeightMatrix", f"{bins} type={kind}", model, feeds_of(rng, [Arg(F32, (None, 9))], (1, 3), ("plain",)),
                        judge=lambda inputs, outputs: ([np.full(outputs[0].shape, np.abs(inputs[0]).sum() + 1.0)], ""))
    cache = lambda: rng.standard_normal((8, 4)).astype(F32)
    for interleaved in (None, 1):
        args = [Arg(F32, (None, 3, 16), "plain"), Arg(np.int64, (None, 3), "positive", lambda rng, shape: rng.integers(0, 8, shape)), cache(), cache()]
        yield single(rng, "RotaryEmbedding", args, dict(num_heads=2, interleaved=interleaved), 17, "com.microsoft", kinds=("plain",), judge=largest)
    for bits in (4, 8):
        packed = rng.integers(0, 255, (6, 2, 16 * bits // 8), np.uint8)
        args = [Arg(F32, (None, 32), "plain"), packed, rng.random((6 * 2,)).astype(F32)]
        yield single(rng, "MatMulNBits", args, dict(K=32, N=6, bits=bits, block_size=16), 17, "com.microsoft", kinds=("plain",),
                     judge=lambda inputs, outputs: ([np.full(outputs[0].shape, np.abs(inputs[0]).sum() * 128 + 1.0)], ""))
    for op in ("RandomNormalLike", "RandomUniformLike"):
        yield single(rng, op, [Arg(F32, (None, 4), "plain")], {}, 13, kinds=("plain",), judge=lambda inputs, outputs: ([np.full(outputs[0].shape, np.nan)], "random"))


def graphs(rng):
    yield from windows(rng)
    yield from transforms(rng)
    yield from small(rng)
