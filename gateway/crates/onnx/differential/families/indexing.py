"""Operators that pick, place and count by index."""
from graphs import *

EVERY = NUMBERS + (BOOL, TEXT)
INDEX = (np.int32, np.int64)
SOME = (F32, np.int64, TEXT)


def indices(dtype, dims, size, outside=False):
    """Indices into an axis of `size`, from both ends; with `outside`, some beyond either end."""
    def drawn(rng, shape):
        low, high = (-size - 3, size + 3) if outside else (-size, size)
        if np.dtype(dtype).kind == "u":
            low = 0
        return rng.integers(low, high, shape).astype(dtype) if size else np.zeros(shape, dtype)
    return Arg(dtype, dims, "plain", drawn)


def plain(dtype, dims):
    return Arg(dtype, dims)


def gathers(rng):
    for graph in all_gathers(rng):
        kinds = [value.type.tensor_type.elem_type for value in graph.model.graph.input]
        kinds += [value.data_type for value in graph.model.graph.initializer]
        if graph.operator == "Gather" and TensorProto.STRING in kinds:
            graph.standard = by_reference(
                graph.model, "Gather of texts in blocks, of which ONNX Runtime 1.32 copies the first only: here all of them are")
        yield graph


def all_gathers(rng):
    for dtype in EVERY:
        yield single(rng, "Gather", [plain(dtype, (4, 5)), indices(np.int64, (3,), 4)], {"axis": 0}, 13, is_rows=False,
                     feeds=[Feed([draw(rng, dtype, (4, 5)), rng.integers(-4, 4, 3)])])
        table = draw(rng, dtype, (7, 3))
        for index in INDEX:
            for dims in ((None,), (None, 2), (None, 2, 1)):
                yield single(rng, "Gather", [table, indices(index, dims, 7)], {}, 13, kinds=("plain",))
        yield single(rng, "Gather", [table, indices(np.int64, (None, 2), 7, True)], {}, 13, kinds=("plain",) * 3)
    for opset in (7, 11, 13):
        for dtype in SOME:
            for axis in (0, 1, 2, -1, -3):
                for shape in ((), (1,), (2, 3), (0,)):
                    size = (4, 3, 5)[axis]
                    low = -size if opset > 7 else 0
                    yield single(rng, "Gather", [Arg(dtype, (4, 3, 5)), rng.integers(low, size, shape)], {"axis": axis}, opset,
                                 is_rows=False, note=f"indices {shape}")
                    if axis in (1, 2, -1):
                        yield single(rng, "Gather", [Arg(dtype, (None, 3, 5)), rng.integers(low, size, shape)],
                                     {"axis": axis}, opset, note=f"indices {shape}")
                yield single(rng, "Gather", [Arg(dtype, (4, 3, 5)), indices(np.int32, (2, 2), (4, 3, 5)[axis])],
                             {"axis": axis}, opset, is_rows=False)
    for dtype in EVERY:
        for opset in (11, 13):
            for axis in (0, 1, -1):
                for dims in ((3, 4), (2, 2), (1, 4), (3, 0)):
                    if axis != 0 and dims[0] > 3 or axis == 0 and dims[1] > 4:
                        continue
                    yield single(rng, "GatherElements", [Arg(dtype, (3, 4)), indices(np.int64, dims, (3, 4)[axis])],
                                 {"axis": axis}, opset, is_rows=False)
            yield single(rng, "GatherElements", [Arg(dtype, (None, 4)), indices(np.int32, (None, 3), 4)], {"axis": 1}, opset)
            yield single(rng, "GatherElements", [Arg(dtype, (None, 4)), indices(np.int64, (None, 3), 4, True)], {"axis": 1}, opset)
            yield single(rng, "GatherElements", [Arg(dtype, (None, 2, 4)), indices(np.int64, (None, 2, 3), 4)], {"axis": -1}, opset)
    for dtype in EVERY:
        for opset in (11, 12, 13):
            for batch in (0, 1, 2) if opset > 11 else (0,):
                data = (2, 3, 4, 5)
                for last in (1, 2):
                    if batch + last > 4:
                        continue
                    sizes = data[batch:batch + last]

                    def drawn(rng, shape, sizes=sizes):
                        parts = [rng.integers(-size, size, shape[:-1]) for size in sizes]
                        return np.stack(parts, -1).astype(np.int64)
                    dims = data[:batch] + (3, last)
                    yield single(rng, "GatherND", [Arg(dtype, data), Arg(np.int64, dims, "plain", drawn)],
                                 {"batch_dims": batch or None}, opset, is_rows=False)
            yield single(rng, "GatherND", [Arg(dtype, (None, 4)), indices(np.int64, (None, 2, 1), 4)],
                         {"batch_dims": 1}, 12 if opset == 11 else opset)
            yield single(rng, "GatherND", [draw(rng, dtype, (5, 3)), indices(np.int64, (None, 1), 5)], {}, opset)
            yield single(rng, "GatherND", [draw(rng, dtype, (5, 3)), indices(np.int64, (None, 1), 5, True)], {}, opset)


def scatters(rng):
    for dtype in EVERY:
        for op, opsets in (("Scatter", (9,)), ("ScatterElements", (11, 13, 16, 18))):
            for opset in opsets:
                reductions = {16: ("none", "add", "mul"), 18: ("none", "add", "mul", "min", "max")}.get(opset, (None,))
                for reduction in reductions:
                    if reduction not in (None, "none") and dtype in (BOOL, TEXT):
                        continue
                    for axis in (0, 1, -1):
                        size = (3, 4)[axis]

                        def distinct(rng, shape, axis=axis, size=size, repeat=reduction not in (None, "none")):
                            if repeat:
                                return rng.integers(-size, size, shape)
                            moved = np.moveaxis(np.zeros(shape, np.int64), axis, -1)
                            for place in np.ndindex(moved.shape[:-1]):
                                moved[place] = rng.permutation(size)[:moved.shape[-1]] - rng.integers(0, 2) * size
                            return np.moveaxis(moved, -1, axis)
                        dims = (2, 3)
                        yield single(rng, op, [Arg(dtype, (3, 4)), Arg(np.int64, dims, "plain", distinct), Arg(dtype, dims)],
                                     {"axis": axis, "reduction": reduction}, opset, is_rows=False)
                    yield single(rng, op, [Arg(dtype, (None, 4)), Arg(np.int64, (None, 2), "plain",
                                 lambda rng, shape: np.argsort(rng.random((shape[0], 4)), 1)[:, :2].astype(np.int64)),
                                 Arg(dtype, (None, 2))], {"axis": 1, "reduction": reduction}, opset)
        for opset in (11, 13, 16, 18):
            reductions = {16: ("none", "add", "mul"), 18: ("none", "add", "mul", "min", "max")}.get(opset, (None,))
            for reduction in reductions:
                if reduction not in (None, "none") and dtype in (BOOL, TEXT):
                    continue
                for last in (1, 2):
                    def drawn(rng, shape, last=last, repeat=reduction not in (None, "none")):
                        rows = rng.integers(-4, 4, shape[:-1]) if repeat else rng.permutation(4)[:shape[0]]
                        rest = rng.integers(0, 3, shape[:-1])
                        return np.stack([rows, rest][:last], -1).astype(np.int64)
                    updates = (2, 3) if last == 1 else (2,)
                    yield single(rng, "ScatterND", [Arg(dtype, (4, 3)), Arg(np.int64, (2, last), "plain", drawn),
                                                    Arg(dtype, updates)], {"reduction": reduction}, opset, is_rows=False)


def one_hots(rng):
    for opset in (9, 11):
        for index in (np.int64, np.int32, F32, np.uint8, F64):
            for value in (F32, np.int64, np.int32, F64, np.uint8, np.int8, BOOL, TEXT, F16):
                values = {"b": np.array([False, True]), "O": np.array(["no", "yes"], object)}.get(
                    np.dtype(value).kind, np.array([0, 1]).astype(value))
                for axis in (-1, 0, 1, None):
                    depth = np.array([4]) if axis != 1 else np.array(4)
                    yield single(rng, "OneHot", [indices(index, (None,), 4, True), depth, values],
                                 {"axis": axis}, opset, is_rows=False, feeds=[Feed([rng.integers(0 if np.dtype(index).kind == "u" else -7, 7, 5).astype(index)])])
                    if axis != 0:
                        yield single(rng, "OneHot", [indices(index, (None, 2), 4, True), depth, values], {"axis": axis}, opset,
                                     kinds=("plain",))
        values = np.array([-2.5, 7], F32)
        for kind in (np.int32, np.int64, F32):
            yield single(rng, "OneHot", [indices(np.int64, (None,), 4, True), np.array([5]).astype(kind), values], {}, opset)


def slices(rng):
    cases = [((0,), (2,), (1,), None), ((1,), (3,), (-1,), None), ((-2,), (2**63 - 1,), (1,), None), ((0, 1), (2, 3), (1, 2), None),
             ((0,), (-1,), (2,), None), ((3,), (1,), (1,), None), ((-100,), (100,), (1,), None),
             ((0,), (5,), (2,), (2,)), ((4,), (0,), (2,), (-1,)), ((-1,), (-(2**63),), (2,), (-1,)), ((-1,), (-100,), (1,), (-2,)),
             ((0, 0), (3, 5), (1, 2), (2, 3)), ((10,), (20,), (2,), (1,)), ((1,), (1,), (1,), (1,)), ((-1,), (0,), (-1,), (-3,))]
    for dtype in EVERY:
        for starts, ends, axes, steps in cases:
            for opset in (7, 10, 11, 13):
                if opset == 7:
                    if steps is None and dtype in SOME:
                        yield single(rng, "Slice", [Arg(dtype, (None, 4, 5))], {"starts": starts, "ends": ends, "axes": axes},
                                     opset, kinds=("mixed",))
                    continue
                if dtype not in SOME and opset != 13:
                    continue
                for index in INDEX if dtype == F32 else (np.int64,):
                    if index == np.int32 and (max(map(abs, ends)) > 2**31):
                        continue
                    args = [Arg(dtype, (None, 4, 5)), np.array(starts, index), np.array(ends, index), np.array(axes, index)]
                    if steps:
                        args.append(np.array(steps, index))
                    yield single(rng, "Slice", args, {}, opset, kinds=("mixed",))
    for dtype in SOME:
        for starts, ends in (((0,), (1,)), ((-2,), (100,)), ((0, 1), (2, 3)), ((-1, 0, 0), (-5, 2, 4))):
            yield single(rng, "Slice", [Arg(dtype, (3, 4, 5)), np.array(starts), np.array(ends)], {}, 13, is_rows=False)
            yield single(rng, "Slice", [Arg(dtype, (3, 4, 5)), np.array(starts), np.array(ends), None, np.array([-1, 1, 1][:len(starts)])],
                         {}, 13, is_rows=False)
            yield single(rng, "Slice", [Arg(dtype, (0, 4, 5)), np.array(starts), np.array(ends)], {}, 13, is_rows=False)
        yield single(rng, "Slice", [Arg(dtype, (3, 4, 5)), np.array([0]), np.array([2]), np.array([1]), np.array([0])], {}, 13,
                     is_rows=False, note="a step of zero")
        # Where the bounds come with the rows.
        bound = lambda low, high: Arg(np.int64, (1,), "plain", lambda rng, shape: rng.integers(low, high, shape))
        for _ in range(6):
            yield single(rng, "Slice", [Arg(dtype, (3, 4)), bound(-5, 5), bound(-5, 6), np.array([1])], {}, 13, is_rows=False)
            yield single(rng, "Slice", [Arg(dtype, (3, 4)), bound(0, 2), bound(2, 5), np.array([0]), np.array([1])], {}, 13, is_rows=False)


def without_nan(axis):
    """A judge for orders: where a NaN comes is not said."""
    def judge(inputs, outputs):
        lanes = np.isnan(inputs[0].astype(F64)).any(axis=axis, keepdims=True)
        if not lanes.any():
            return None, ""
        return [np.where(np.broadcast_to(lanes, out.shape), np.nan, np.abs(out.astype(F64))) for out in outputs], "the order of a NaN in TopK"
    return judge


def top_k(rng):
    for dtype in NUMBERS:
        for opset in (7, 10, 11):
            for axis in (None, 1, 2, -2):
                for k in (1, 2, 3, 0):
                    for largest in ((None,) if opset < 11 else (None, 0, 1)):
                        for order in ((None,) if opset < 11 else (None, 1)):
                            attrs = {"axis": axis, "largest": largest, "sorted": order}
                            x = Arg(dtype, (None, 4, 3))
                            args = [x, np.array([k])]
                            if opset == 7:
                                attrs, args = {"axis": axis, "k": k}, [x]
                                if axis == -2 or k == 0:
                                    continue
                            kinds = ("plain", "large") if np.dtype(dtype).kind == "f" else ("plain", "special")
                            yield single(rng, "TopK", args, attrs, opset, outputs=2, rows=(2,),
                                         judge=without_nan(-1 if axis is None else axis), kinds=kinds + (("special",) if k == 1 else ()))


def counts(rng):
    for dtype in NUMBERS + (BOOL,):
        for opset in (9, 13):
            for dims in ((3, 4), (5,), (2, 2, 2), (1,), (0, 3)):
                yield single(rng, "NonZero", [Arg(dtype, dims)], {}, opset, is_rows=False, kinds=("plain", "mixed"))
        yield single(rng, "NonZero", [Arg(dtype, ())], {}, 13, is_rows=False)
    for dtype in EVERY:
        for opset in (9, 11):
            for axis in (None, 0, 1, -1):
                if axis == -1 and opset == 9:
                    continue
                size = (3, 4)[axis] if axis is not None else 12
                for length in (size, 2):
                    condition = rng.random(length) < 0.6
                    yield single(rng, "Compress", [Arg(dtype, (3, 4)), condition], {"axis": axis}, opset, is_rows=False)
            yield single(rng, "Compress", [Arg(dtype, (None, 4)), np.array([True, False, True, True])], {"axis": 1}, opset)
        yield single(rng, "Compress", [Arg(dtype, (3, 4)), Arg(BOOL, (4,))], {"axis": 1}, 11, is_rows=False)
    for dtype in EVERY:
        for axis in (None, 0, 1, -1):
            for order in (None, 0, 1):
                for outputs in (1, 4):
                    yield single(rng, "Unique", [Arg(dtype, (4, 3))], {"axis": axis, "sorted": order}, 11, outputs=outputs,
                                 is_rows=False, kinds=("plain", "small"))
        yield single(rng, "Unique", [Arg(dtype, (6,))], {}, 11, outputs=4, is_rows=False, kinds=("plain",))


def cumulative(rng):
    for dtype in (F32, F64, np.int32, np.int64):
        for opset in (11, 14):
            for axis in (0, 1, 2, -1, -3):
                for exclusive in (None, 1):
                    for reverse in (None, 1):
                        judge = lambda inputs, outputs, axis=axis: ([np.nan_to_num(np.abs(inputs[0].astype(F64)), nan=0, posinf=0).sum()], "")
                        attrs = {"exclusive": exclusive, "reverse": reverse}
                        if axis != 0 and axis != -3:
                            yield single(rng, "CumSum", [Arg(dtype, (None, 3, 4)), np.array(axis)], attrs, opset, judge=judge)
                        for kind in INDEX:
                            yield single(rng, "CumSum", [Arg(dtype, (2, 3, 4)), np.array(axis, kind)], attrs, opset, is_rows=False, judge=judge)
            yield single(rng, "CumSum", [Arg(dtype, (3, 4)), np.array([1])], {}, opset, is_rows=False)


def graphs(rng):
    yield from gathers(rng)
    yield from scatters(rng)
    yield from one_hots(rng)
    yield from slices(rng)
    yield from top_k(rng)
    yield from counts(rng)
    yield from cumulative(rng)
