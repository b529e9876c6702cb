"""Normalisations, of the standard and of com.microsoft."""
from graphs import *


def wide(inputs, outputs):
    """Normalised values, of which small ones are differences of larger."""
    value = np.abs(outputs[0].astype(F64))
    top = np.max(np.where(np.isfinite(value), value, 0), initial=1.0)
    if len(outputs) > 1 and outputs[0].dtype != F64:
        rest = [np.where(np.isfinite(out), np.abs(out.astype(F64)) * 1e3 + 1e-3, np.nan) for out in outputs[1:]]
        return [np.full(outputs[0].shape, top), *rest], "mean and spread as outputs: ONNX Runtime subtracts squares"
    if outputs[0].dtype == F32 and any(np.any(np.abs(one[np.isfinite(one)]) > 1e18) for one in inputs):
        return [np.full(out.shape, np.nan) for out in outputs], "normalisations of numbers whose squares are beyond the type"
    if outputs[0].dtype == F64:
        beyond = np.nan if np.any(np.abs(inputs[0]) > 1e18) else 1.0
        return ([np.full(outputs[0].shape, top * 2e4 * beyond)] + [None if beyond == 1 else np.nan] * (len(outputs) - 1),
                "normalisations of doubles, whose first stage the standard and ONNX Runtime have in singles: here doubles; equal within 2e-6")
    return [np.full(outputs[0].shape, top)] + [None] * (len(outputs) - 1), ""


def vector(rng, dtype, size, kind="plain"):
    return draw(rng, dtype, (size,), kind)


KINDS = ("plain", "small", "large", "special", None)


def graphs(rng):
    yield from batch(rng)
    yield from instance(rng)
    yield from layer(rng)
    yield from group(rng)
    yield from skip(rng)
    yield from others(rng)


def close(rng, shape):
    """Rows that vary little."""
    return (rng.standard_normal(shape) * 1e-3).astype(F32)


def batch(rng):
    for dtype in FLOATS:
        for opset in (7, 9, 14, 15):
            for dims in ((None, 3), (None, 3, 4), (None, 3, 2, 2)):
                for epsilon in (None, 1e-3, 0.0):
                    size = dims[1]
                    args = [Arg(dtype, dims), vector(rng, dtype, size), vector(rng, dtype, size), vector(rng, dtype, size),
                            vector(rng, dtype, size, "positive")]
                    yield single(rng, "BatchNormalization", args, dict(epsilon=epsilon), opset, judge=wide, kinds=KINDS)
        args = [Arg(dtype, (2, 3, 4))] + [Arg(dtype, (3,), "plain")] * 3 + [Arg(dtype, (3,), "positive")]
        yield single(rng, "BatchNormalization", args, {}, 15, judge=wide, is_rows=False)


def instance(rng):
    for dtype in FLOATS:
        for dims in ((None, 3, 4), (None, 3, 2, 2), (None, 2, 33)):
            for epsilon in (None, 1e-2, 0.0):
                for opset in (7, 22):
                    args = [Arg(dtype, dims), vector(rng, dtype, dims[1]), vector(rng, dtype, dims[1])]
                    yield single(rng, "InstanceNormalization", args, dict(epsilon=epsilon), opset, judge=wide, kinds=KINDS)


def layer(rng):
    for dtype in FLOATS:
        for axis, size in ((None, (5,)), (-1, (5,)), (2, (5,)), (1, (3, 5)), (-2, (3, 5))):
            for epsilon in (None, 1e-2, 1e-12, 0.0):
                for bias in (True, False):
                    args = [Arg(dtype, (None, 3, 5)), draw(rng, dtype, size, "plain")]
                    args += [draw(rng, dtype, size, "plain")] if bias else []
                    attrs = dict(axis=axis, epsilon=epsilon)
                    yield single(rng, "LayerNormalization", args, attrs, 17, judge=wide, kinds=KINDS)
                    if not bias:
                        yield single(rng, "RMSNormalization", args, attrs, 23, judge=wide, kinds=KINDS)
                        yield single(rng, "SimplifiedLayerNormalization", args, attrs, 17, judge=wide, kinds=KINDS)
            yield single(rng, "LayerNormalization", [Arg(dtype, (None, 3, 5)), draw(rng, dtype, size, "plain")],
                         dict(axis=axis), 17, outputs=3, judge=wide)
        near = Arg(dtype, (None, 2, 4), draw=lambda rng, shape, dtype=dtype: close(rng, shape).astype(dtype))
        for epsilon in (None, 1e-12, 1e-5):
            yield single(rng, "LayerNormalization", [near, vector(rng, dtype, 4)], dict(epsilon=epsilon), 17, judge=wide)


def group(rng):
    for dtype in FLOATS:
        for opset, size in ((18, 2), (21, 4)):
            for epsilon in (None, 1e-2):
                for dims in ((None, 4, 3), (None, 4, 2, 3)):
                    args = [Arg(dtype, dims), vector(rng, dtype, size), vector(rng, dtype, size)]
                    yield single(rng, "GroupNormalization", args, dict(num_groups=2, epsilon=epsilon), opset, judge=wide, kinds=KINDS)


def skip(rng):
    for dtype in (F16, F32):
        near = Arg(dtype, (None, 2, 4), draw=lambda rng, shape, dtype=dtype: close(rng, shape).astype(dtype))
        for first in (Arg(dtype, (None, 2, 4)), near):
            for epsilon in (None, 1e-12, 1e-5, 1e-2):
                for beta in (True, False):
                    for bias in (True, False):
                        for op in ("SkipLayerNormalization", "SkipSimplifiedLayerNormalization"):
                            args = [first, first, vector(rng, dtype, 4)]
                            if op == "SkipLayerNormalization":
                                args.append(vector(rng, dtype, 4) if beta else None)
                            elif beta:
                                continue
                            if bias:
                                args.append(vector(rng, dtype, 4))
                            while args[-1] is None:
                                args.pop()
                            attrs = dict(epsilon=epsilon)
                            yield single(rng, op, args, attrs, 17, "com.microsoft", judge=wide, kinds=("plain", "special", None))
                            yield single(rng, op, args, attrs, 17, "com.microsoft", judge=wide, outputs=["y0", "", "", "y3"])
        args = [Arg(dtype, (None, 2, 4)), Arg(dtype, (None, 2, 4)), vector(rng, dtype, 4)]
        yield single(rng, "EmbedLayerNormalization", [Arg(np.int32, (None, 3), "positive"), None, draw(rng, dtype, (7, 4), "plain"),
                     draw(rng, dtype, (5, 4), "plain"), None, vector(rng, dtype, 4), vector(rng, dtype, 4)], {}, 17, "com.microsoft",
                     outputs=2, judge=wide)


def squares(inputs, outputs):
    if np.any(~(np.abs(inputs[0].astype(F64)) < 50)):
        return [np.full(outputs[0].shape, np.nan)], "MeanVarianceNormalization of numbers above 50: ONNX Runtime subtracts the mean's square, which cancels"
    lost = np.isnan(outputs[0])
    scale, reason = wide(inputs, outputs)
    if lost.any():
        scale = [np.where(lost, np.nan, scale[0])]
        return scale, "MeanVarianceNormalization of equal numbers: ONNX Runtime subtracts the mean's square, and takes the root of less than zero"
    return scale, reason


def windows(inputs, outputs):
    bad = ~(np.abs(inputs[0].astype(F64)) < 50.0).all(axis=1, keepdims=True)
    if bad.any():
        scale = np.abs(outputs[0].astype(F64))
        return [np.where(bad, np.nan, scale)], "LRN beside numbers above 50: ONNX Runtime keeps a running sum over the channels, which cancels"
    return None, ""


def others(rng):
    for dtype in FLOATS:
        for size in (1, 2, 3, 5):
            for attrs in ({}, dict(alpha=1e-2, beta=0.5, bias=2.0)):
                for opset in (7, 13):
                    yield single(rng, "LRN", [Arg(dtype, (None, 4, 2, 2))], dict(size=size, **attrs), opset, kinds=KINDS, judge=windows)
        for axes in (None, [0, 2, 3], [1], [2, 3], [-1], [1, 2, 3]):
            for opset in (9, 13):
                yield single(rng, "MeanVarianceNormalization", [Arg(dtype, (2, 3, 2, 2))], dict(axes=axes), opset, judge=squares,
                             is_rows=False, kinds=KINDS)
                if axes and 0 not in axes:
                    yield single(rng, "MeanVarianceNormalization", [Arg(dtype, (None, 3, 2, 2))], dict(axes=axes), opset, judge=squares,
                                 kinds=KINDS)
        for p in (None, 1, 2):
            for axis in (None, 1, -1, 2):
                for opset in (7, 22):
                    yield single(rng, "LpNormalization", [Arg(dtype, (None, 3, 4))], dict(p=p, axis=axis), opset, judge=wide,
                                 kinds=KINDS)
