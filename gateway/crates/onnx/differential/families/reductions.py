"""Reductions, ArgMax and ArgMin, CumSum, and the softmax family."""
from graphs import *

REDUCE = {
    # operator: (types, opsets that change it, the first opset whose axes are an input)
    "ReduceSum": (NUMBERS, (7, 11, 13), 13), "ReduceMean": (NUMBERS, (7, 11, 13, 18), 18),
    "ReduceMax": (NUMBERS + (BOOL,), (7, 11, 12, 13, 18, 20), 18), "ReduceMin": (NUMBERS + (BOOL,), (7, 11, 12, 13, 18, 20), 18),
    "ReduceProd": (NUMBERS, (7, 11, 13, 18), 18), "ReduceL1": (NUMBERS, (7, 11, 13, 18), 18),
    "ReduceL2": (NUMBERS, (7, 11, 13, 18), 18), "ReduceLogSum": (NUMBERS, (7, 11, 13, 18), 18),
    "ReduceLogSumExp": (NUMBERS, (7, 11, 13, 18), 18), "ReduceSumSquare": (NUMBERS, (7, 11, 13, 18), 18),
}
SHAPES = [((2, 3, 4), [None, (0,), (1,), (2,), (-1,), (0, 1), (0, 2), (-2, -1), (1, 0), (0, 1, 2)]), ((5,), [None, (0,), (-1,)]),
          ((), [None]), ((1, 1), [None, (0,), (1,), (0, 1)]), ((3, 40), [(0,), (1,), None]), ((2, 3, 2, 5), [(1, 3), (0, 2), (2,), (2, 3)]),
          ((0, 3), [(0,), (1,), None]), ((2, 0), [(1,), (0,)])]


def over(axes, rank, keep, function):
    axes = tuple(axis % rank for axis in axes) if axes is not None else tuple(range(rank))
    return lambda value: function(value, axes, bool(keep))


def judge_of(op, axes, rank, keep):
    """The sum of the magnitudes of the terms."""
    axes = tuple(axis % rank for axis in axes) if axes is not None else tuple(range(rank))

    def judge(inputs, outputs):
        value = np.abs(inputs[0].astype(F64))
        options = dict(axis=axes, keepdims=bool(keep))
        if op in ("ReduceSum", "ReduceL1", "ReduceLogSum"):
            scale = np.sum(value, **options)
        elif op == "ReduceMean":
            scale = np.mean(value, **options)
        elif op == "ReduceLogSumExp":
            scale = np.max(value, initial=1.0, **options)
        else:
            scale = np.abs(outputs[0].astype(F64))
        if op == "ReduceLogSum":
            total = np.abs(np.sum(inputs[0].astype(F64), **options))
            scale = np.abs(outputs[0].astype(F64)) + scale / np.where(total == 0, 1, total)
        scale = np.where(np.isfinite(scale), scale, np.abs(outputs[0].astype(F64)))
        scale = np.where(np.isnan(scale), 1.0, scale)
        with np.errstate(all="ignore"):
            unsure, reason = undecided(op, inputs[0], options)
        if not np.any(unsure):
            return [scale], ""
        return [np.where(unsure, np.nan, scale)], reason
    return judge


def undecided(op, value, options):
    """Where ONNX Runtime's answer depends on the order, or on how it sums."""
    wide = np.abs(value.astype(F64))
    if value.dtype.kind == "f":
        if op in ("ReduceMax", "ReduceMin"):
            return np.isnan(value).any(**options), "ReduceMax and ReduceMin of NaN: ONNX Runtime's answer depends on its place; here it is NaN"
        if op == "ReduceProd":
            powers = np.log(np.where(np.isfinite(wide) & (wide > 0), wide, 1))
            top = np.log(np.finfo(value.dtype).max) if value.dtype != F16 else np.log(np.finfo(F32).max)
            beyond = (np.maximum(powers, 0).sum(**options) > top) | (np.minimum(powers, 0).sum(**options) < -top)
            return beyond, "ReduceProd whose factors are beyond the type by themselves: their order decides"
        if op == "ReduceLogSumExp":
            numbers = np.isnan(value).any(**options) & np.isposinf(value).any(**options)
            low = np.where(np.isnan(value), -np.inf, value).max(initial=-np.inf, **options) < (-700 if value.dtype == F64 else -80)
            if low.any() and value.dtype != F16:
                return numbers | low, "ReduceLogSumExp of singles below -80 (doubles below -700): along other axes than the last, ONNX Runtime does not take the maximum out"
            if value.dtype == F16:
                return numbers | (wide > 8).any(**options), "ReduceLogSumExp of halves: ONNX Runtime does not take the maximum out"
            return numbers, "ReduceLogSumExp of NaN and infinity together: ONNX Runtime says infinity; here it is NaN"
        if op == "ReduceLogSum":
            finite = np.where(np.isfinite(value), value, 0).astype(F64)
            near = np.abs(finite.sum(**options)) < 1e-3 * np.abs(finite).sum(**options)
            return near, "ReduceLogSum of terms that cancel: their order decides"
        return np.zeros((), bool), ""
    if value.dtype.kind == "b" or op in ("ReduceMax", "ReduceMin"):
        return np.zeros((), bool), ""
    if op in ("ReduceSumSquare", "ReduceL2"):
        size = (wide * wide).sum(**options)
    elif op == "ReduceProd":
        size = np.exp(np.log(np.where(wide > 0, wide, 1)).sum(**options))
    elif op == "ReduceLogSumExp":
        return np.ones_like(wide.max(initial=0, **options), bool), "ReduceLogSumExp of whole numbers: ONNX Runtime makes each exponential a whole number"
    else:
        size = wide.sum(**options)
    top = min(2.0 ** 53, float(np.iinfo(value.dtype).max))
    return size > top, "reductions of whole numbers beyond their type or 2^53: ONNX Runtime sums doubles; here the sum is exact, or the type's end"


def reduce(rng, op, dtype, dims, axes, keep, opset, first, rank, rows, noop=None, as_input=True):
    attrs = dict(keepdims=keep, noop_with_empty_axes=noop)
    args = [Arg(dtype, dims)]
    if opset < first:
        attrs["axes"] = axes
    elif axes is not None:
        args.append(np.array(axes, np.int64))
    judge = judge_of(op, axes, rank, keep != 0) if not noop else None
    return single(rng, op, args, attrs, opset, is_rows=rows, judge=judge, note=f"axes {axes}",
                  kinds=("plain", "special", "large", None))


def graphs(rng):
    for op, (types, opsets, first) in REDUCE.items():
        for dtype in types:
            for opset in opsets:
                for axes, keep in (((1,), None), ((-1,), 1), ((2,), 0), ((1, 2), 0), ((2, 1), 1)):
                    yield reduce(rng, op, dtype, (None, 3, 5), axes, keep, opset, first, 3, True)
            for shape, all_axes in SHAPES if dtype in (F32, F64, np.int32, np.int64) else SHAPES[:2]:
                for axes in all_axes:
                    for keep in (None, 0):
                        yield reduce(rng, op, dtype, shape, axes, keep, opsets[-1], first, len(shape), False)
                        if dtype == F32:
                            yield reduce(rng, op, dtype, shape, axes, keep, opsets[0], first, len(shape), False)
            if first <= opsets[-1] and dtype in (F32, np.int32):
                yield reduce(rng, op, dtype, (2, 3), None, 1, opsets[-1], first, 2, False, noop=1)
                yield reduce(rng, op, dtype, (2, 3), None, 1, opsets[-1], first, 2, False, noop=0)
                yield single(rng, op, [Arg(dtype, (2, 3)), np.zeros(0, np.int64)], dict(noop_with_empty_axes=1), opsets[-1],
                             is_rows=False)
                yield single(rng, op, [Arg(dtype, (2, 3)), np.zeros(0, np.int64)], {}, opsets[-1], is_rows=False,
                             judge=judge_of(op, None, 2, True))
    yield from arg(rng)
    yield from sums(rng)
    yield from softmax(rng)


def arg(rng):
    for op in ("ArgMax", "ArgMin"):
        for dtype in NUMBERS:
            for opset in (7, 11, 12, 13):
                for axis in (1, -1, 2):
                    for keep in (None, 0):
                        for last in (None, 1) if opset >= 12 else (None,):
                            attrs = dict(axis=axis, keepdims=keep, select_last_index=last)
                            yield single(rng, op, [Arg(dtype, (None, 4, 3))], attrs, opset,
                                         kinds=("plain", "small", "special", None))
            for shape, axes in SHAPES[:2] + SHAPES[3:6]:
                for axis in range(-len(shape), len(shape)):
                    yield single(rng, op, [Arg(dtype, shape)], dict(axis=axis), 13, is_rows=False)
            yield single(rng, op, [Arg(dtype, (3, 4))], {}, 13, is_rows=False)


def cumulated(axis):
    def judge(inputs, outputs):
        scale = np.sum(np.abs(inputs[0].astype(F64)), axis=axis, keepdims=True)
        return [np.where(np.isfinite(scale), scale, np.abs(outputs[0].astype(F64)))], ""
    return judge


def sums(rng):
    for dtype in (F32, F64, np.int32, np.int64):
        for opset in (11, 14):
            for exclusive in (None, 1):
                for reverse in (None, 1):
                    for axis in (1, -1):
                        attrs = dict(exclusive=exclusive, reverse=reverse)
                        yield single(rng, "CumSum", [Arg(dtype, (None, 3, 4)), np.array(axis, np.int64)], attrs, opset,
                                     judge=cumulated(axis))
                    yield single(rng, "CumSum", [Arg(dtype, (5, 2)), np.array(0, np.int32)], attrs, opset, is_rows=False,
                                 judge=cumulated(0))


def scores(inputs, outputs):
    return 1.0, ""


def hard(inputs, outputs):
    if np.isnan(inputs[0]).any():
        return [np.full(outputs[0].shape, np.nan)], "Hardmax of NaN: ONNX Runtime's answer depends on its place"
    return None, ""


def magnitude(inputs, outputs):
    """Logarithms of shares are differences of inputs."""
    value = np.abs(inputs[0].astype(F64))
    if inputs[0].dtype == F64 and not np.isfinite(inputs[0]).all():
        return [np.full(outputs[0].shape, np.nan)], "LogSoftmax of doubles that are not finite: ONNX Runtime leaves some of a row's values without the rest"
    return [np.maximum(np.max(np.where(np.isfinite(value), value, 0), initial=1.0), 1.0)], ""


def softmax(rng):
    for op, judge in (("Softmax", scores), ("LogSoftmax", magnitude), ("Hardmax", hard)):
        for dtype in FLOATS:
            for opset in (7, 11, 13):
                for axis in (None, 1, 2, -1, -2):
                    if opset < 11 and axis is not None and axis < 0:
                        continue
                    yield single(rng, op, [Arg(dtype, (None, 3, 4))], dict(axis=axis), opset, judge=judge,
                                 kinds=("plain", "small", "special", "large", None))
                for shape in [(2, 3, 4), (5,), (0, 3), (1, 1), (2, 40), (3, 2, 2, 2)]:
                    for axis in [None, *range(-len(shape), len(shape))]:
                        if opset < 11 and axis is not None and axis < 0:
                            continue
                        yield single(rng, op, [Arg(dtype, shape)], dict(axis=axis), opset, judge=judge, is_rows=False,
                                     kinds=("plain", "small", "special", "large", None))
