"""Operators that change shapes: what they give is what they get, in another order, or more or less of it."""
from graphs import *

EVERY = NUMBERS + (BOOL, TEXT)
SOME = (F32, np.int64, TEXT)
MIXED = ("mixed",)


def reshapes(rng):
    targets = [(2, 12), (-1, 6), (0, -1), (4, 3, 2), (-1,), (0, 0, 2, -1), (1, 24, 1), (24,)]
    for dtype in EVERY:
        for opset in (7, 13, 14, 19, 21):
            if dtype not in SOME and opset != 14:
                continue
            for target in targets:
                yield single(rng, "Reshape", [Arg(dtype, (2, 3, 4)), np.array(target)], {}, opset, is_rows=False, kinds=MIXED)
            for target in ((-1, 12), (0, 4, 3), (0, -1), (0, 0, 2, 2), (-1, 2, 6)):
                yield single(rng, "Reshape", [Arg(dtype, (None, 3, 4)), np.array(target)], {}, opset, kinds=MIXED)
        for target, dims in (((0, 3), (3, 0)), ((3, 0), (0, 3)), ((0, 0), (0, 3)), ((2, 0, 5), (0,)), ((0, -1), (2, 3))):
            for zero in (0, 1, None):
                yield single(rng, "Reshape", [Arg(dtype, dims), np.array(target)], {"allowzero": zero}, 14, is_rows=False, kinds=MIXED)
        yield single(rng, "Reshape", [Arg(dtype, ()), np.array([1])], {}, 13, is_rows=False, kinds=MIXED)
        yield single(rng, "Reshape", [Arg(dtype, (1, 1)), np.array([], np.int64)], {}, 13, is_rows=False, kinds=MIXED)
        # A shape that comes with the request.
        yield single(rng, "Reshape", [Arg(dtype, (2, 6)), Arg(np.int64, (2,), "plain", lambda rng, shape: np.array([3, -1]))],
                     {}, 13, is_rows=False, kinds=MIXED)
        for axis in (0, 1, 2, 3, -1, -2):
            for opset in (9, 11, 13):
                if axis < 0 and opset == 9 or dtype not in SOME and opset != 13:
                    continue
                yield single(rng, "Flatten", [Arg(dtype, (2, 3, 4))], {"axis": axis}, opset, is_rows=False, kinds=MIXED)
                if axis == 1:
                    yield single(rng, "Flatten", [Arg(dtype, (None, 3, 4))], {"axis": axis}, opset, kinds=MIXED)
        yield single(rng, "Flatten", [Arg(dtype, (None, 3, 0))], {}, 13, kinds=MIXED)


def squeezes(rng):
    for dtype in EVERY:
        for opset in (7, 11, 13, 21):
            if dtype not in SOME and opset != 13:
                continue
            for axes in ((1,), (1, 3), (-1,), (3, 1), (-3, -1), None):
                if axes and min(axes) < 0 and opset < 11:
                    continue
                dims = (None, 1, 3, 1)
                if opset < 13:
                    yield single(rng, "Squeeze", [Arg(dtype, dims)], {"axes": axes}, opset, kinds=MIXED, rows=(2, 3) if axes is None else (1, 3))
                    yield single(rng, "Squeeze", [Arg(dtype, (2, 1, 3, 1))], {"axes": axes}, opset, kinds=MIXED, is_rows=False)
                else:
                    args = [Arg(dtype, dims)] + ([np.array(axes)] if axes else [])
                    yield single(rng, "Squeeze", args, {}, opset, kinds=MIXED, rows=(2, 3) if axes is None else (1, 3))
                    yield single(rng, "Squeeze", [Arg(dtype, (2, 1, 3, 1))] + args[1:], {}, opset, kinds=MIXED, is_rows=False)
            for axes in ((1,), (1, 3), (-1,), (3, 1), (0, 4)):
                if min(axes) < 0 and opset < 11:
                    continue
                for dims in ((None, 3),) if 0 not in axes else ((2, 3, 2),):
                    if opset < 13:
                        yield single(rng, "Unsqueeze", [Arg(dtype, dims)], {"axes": axes}, opset, kinds=MIXED, is_rows=None in dims)
                    else:
                        yield single(rng, "Unsqueeze", [Arg(dtype, dims), np.array(axes)], {}, opset, kinds=MIXED, is_rows=None in dims)
        yield single(rng, "Unsqueeze", [Arg(dtype, ()), np.array([0])], {}, 13, kinds=MIXED, is_rows=False)
        yield single(rng, "Squeeze", [Arg(dtype, (1, 1))], {}, 13, kinds=MIXED, is_rows=False)
        yield single(rng, "Identity", [Arg(dtype, (None, 3))], {}, 13)


def joins(rng):
    for dtype in EVERY:
        for opset in (7, 11, 13):
            if dtype not in SOME and opset != 13:
                continue
            for axis in (0, 1, 2, -1, -2):
                if axis < 0 and opset == 7:
                    continue
                shapes = [[2, 3, 4] for _ in range(3)]
                for place, shape in enumerate(shapes):
                    shape[axis] = (1, 0, 3)[place]
                yield single(rng, "Concat", [Arg(dtype, tuple(shape)) for shape in shapes], {"axis": axis}, opset, is_rows=False, kinds=MIXED)
                if axis != 0:
                    yield single(rng, "Concat", [Arg(dtype, (None, *shape[1:])) for shape in shapes], {"axis": axis}, opset, kinds=MIXED)
            yield single(rng, "Concat", [Arg(dtype, (None, 3))], {"axis": 1}, opset, kinds=MIXED)
            yield single(rng, "Concat", [Arg(dtype, (2, 3)), draw(rng, dtype, (4, 3))], {"axis": 0}, opset, is_rows=False, kinds=MIXED)
        for opset in (7, 11, 13, 18):
            if dtype not in SOME and opset != 13:
                continue
            for axis in (0, 1, -1, None):
                if axis == -1 and opset == 7:
                    continue
                dims = (6, 4) if axis in (0, None) else (None, 6)
                for split in (None, (1, 5), (2, 2, 2), (6, 0), (0, 1, 5)):
                    outputs = len(split) if split else 3
                    attrs, args = {"axis": axis}, [Arg(dtype, dims)]
                    if split and opset < 13:
                        attrs["split"] = split
                    elif split:
                        args.append(np.array(split))
                    elif opset == 18:
                        for count in (3, 4, 5):
                            yield single(rng, "Split", args, {**attrs, "num_outputs": count}, opset, outputs=count,
                                         is_rows=None in dims, kinds=MIXED)
                        continue
                    yield single(rng, "Split", args, attrs, opset, outputs=outputs, is_rows=None in dims, kinds=MIXED)


def spreads(rng):
    for dtype in EVERY:
        for opset in (8, 13):
            if dtype not in SOME and opset != 13:
                continue
            for dims, shape in (((3, 1), (3, 4)), ((3, 1), (2, 1, 6)), ((1,), (2, 3)), ((3,), (1,)), ((2, 3), (3,)), ((), (2, 2)),
                                ((1, 3), (0, 3)), ((2, 1), (1, 1)), ((2, 3), ())):
                yield single(rng, "Expand", [Arg(dtype, dims), np.array(shape, np.int64)], {}, opset, is_rows=False, kinds=MIXED)
            for shape in ((1, 4), (1, 1), (1,), (3,)):
                yield single(rng, "Expand", [Arg(dtype, (None, 1)), np.array(shape)], {}, opset, kinds=MIXED)
            yield single(rng, "Expand", [Arg(dtype, (3, 1)), Arg(np.int64, (2,), "plain", lambda rng, shape: np.array([1, 4]))],
                         {}, opset, is_rows=False, kinds=MIXED)
        for opset in (7, 13):
            if dtype not in SOME and opset != 13:
                continue
            for repeats in ((1, 1), (2, 3), (0, 1), (1, 4)):
                yield single(rng, "Tile", [Arg(dtype, (2, 3)), np.array(repeats)], {}, opset, is_rows=False, kinds=MIXED)
                if repeats[0] == 1:
                    yield single(rng, "Tile", [Arg(dtype, (None, 3)), np.array(repeats)], {}, opset, kinds=MIXED)
            yield single(rng, "Tile", [Arg(dtype, (2, 3)), Arg(np.int64, (2,), "plain", lambda rng, shape: np.array([2, 2]))],
                         {}, opset, is_rows=False, kinds=MIXED)


def transposes(rng):
    for dtype in EVERY:
        for opset in (7, 13, 21):
            if dtype not in SOME and opset != 13:
                continue
            for perm in (None, (0, 1, 2), (2, 0, 1), (1, 0, 2), (0, 2, 1)):
                yield single(rng, "Transpose", [Arg(dtype, (2, 3, 4))], {"perm": perm}, opset, is_rows=False, kinds=MIXED)
                if perm and perm[0] == 0:
                    yield single(rng, "Transpose", [Arg(dtype, (None, 3, 4))], {"perm": perm}, opset, kinds=MIXED)
            yield single(rng, "Transpose", [Arg(dtype, (0, 3))], {}, opset, is_rows=False, kinds=MIXED)
            yield single(rng, "Transpose", [Arg(dtype, ())], {}, opset, is_rows=False, kinds=MIXED)
        for mode in (None, "DCR", "CRD"):
            for opset in (11, 13):
                yield single(rng, "DepthToSpace", [Arg(dtype, (None, 8, 2, 3))], {"blocksize": 2, "mode": mode}, opset, kinds=MIXED)
        yield single(rng, "DepthToSpace", [Arg(dtype, (None, 9, 1, 2))], {"blocksize": 3}, 13, kinds=MIXED)
        yield single(rng, "SpaceToDepth", [Arg(dtype, (None, 2, 4, 6))], {"blocksize": 2}, 13, kinds=MIXED)
        yield single(rng, "SpaceToDepth", [Arg(dtype, (None, 2, 3, 6))], {"blocksize": 3}, 7, kinds=MIXED)
        for upper in (None, 0, 1):
            for k in (None, 0, 1, -1, 5, -5):
                args = [Arg(dtype, (None, 3, 4))] + ([np.array(k)] if k is not None else [])
                yield single(rng, "Trilu", args, {"upper": upper}, 14, kinds=MIXED)
            yield single(rng, "Trilu", [Arg(dtype, (3, 3)), Arg(np.int64, (), "plain", lambda rng, shape: rng.integers(-2, 3, shape))],
                         {"upper": upper}, 14, is_rows=False, kinds=MIXED)
            yield single(rng, "Trilu", [Arg(dtype, (2, 0, 3))], {"upper": upper}, 14, is_rows=False, kinds=MIXED)
        for batch, time in ((1, 0), (0, 1), (None, None)):
            lengths = Arg(np.int64, (4,) if batch in (None, 1) else (3,), "plain", lambda rng, shape, most=3 if batch != 0 else 4: rng.integers(0, most + 1, shape))
            yield single(rng, "ReverseSequence", [Arg(dtype, (3, 4, 2)), lengths], {"batch_axis": batch, "time_axis": time}, 10,
                         is_rows=False, kinds=MIXED)
        yield single(rng, "ReverseSequence", [Arg(dtype, (None, 4)), Arg(np.int64, (None,), "plain", lambda rng, shape: rng.integers(0, 5, shape))],
                     {"batch_axis": 0, "time_axis": 1}, 10, kinds=MIXED)


def pads(rng):
    for dtype in EVERY:
        for opset in (7, 11, 13, 18, 19, 21):
            if dtype not in (F32, F64, np.int64, BOOL, TEXT, np.uint8) and opset != 19:
                continue
            for mode in (None, "constant", "reflect", "edge", "wrap"):
                for amounts in ((0, 1, 0, 2), (0, 2, 0, 0), (0, -1, 0, 0), (0, 1, 0, -1), (0, -1, 0, -2), (0, 0, 0, 0), (0, 3, 0, 3)):
                    dims = (None, 4)
                    if opset == 7:
                        if dtype in (F32, F64):
                            for value in (None, 2.5):
                                yield single(rng, "Pad", [Arg(dtype, dims)], {"mode": mode, "pads": amounts, "value": value}, opset, kinds=MIXED)
                        continue
                    args = [Arg(dtype, dims), np.array(amounts)]
                    yield single(rng, "Pad", args, {"mode": mode}, opset, kinds=MIXED)
                    if mode in (None, "constant"):
                        value = draw(rng, dtype, (), "special")
                        yield single(rng, "Pad", [*args, value], {"mode": mode}, opset, kinds=MIXED, note=f"value {value}")
                    if opset >= 18:
                        value = draw(rng, dtype, (), "plain") if mode in (None, "constant") else None
                        yield single(rng, "Pad", [Arg(dtype, (None, 3, 4)), np.array([1, -1]), value, np.array([-1])], {"mode": mode}, opset, kinds=MIXED)
                        yield single(rng, "Pad", [Arg(dtype, (None, 3, 4)), np.array([1, 2, 0, 1]), value, np.array([2, 1])], {"mode": mode}, opset, kinds=MIXED)
                if opset >= 11:
                    yield single(rng, "Pad", [Arg(dtype, (2, 3, 4)), np.array([1, 0, 2, 0, 2, 1])], {"mode": mode}, opset, is_rows=False, kinds=MIXED)
                    yield single(rng, "Pad", [Arg(dtype, (2, 0)), np.array([1, 1, 0, 1])], {"mode": mode}, opset, is_rows=False, kinds=MIXED)
                    yield single(rng, "Pad", [Arg(dtype, (2, 3)), Arg(np.int64, (4,), "plain", lambda rng, shape: rng.integers(-1, 2, shape))],
                                 {"mode": mode}, opset, is_rows=False, kinds=MIXED)
        if dtype in (F32, np.int64):
            yield single(rng, "Pad", [Arg(dtype, (None, 4)), np.array([0, 1, 0, 1]), Arg(dtype, ())], {}, 13, is_rows=False,
                         feeds=[Feed([draw(rng, dtype, (2, 4)), draw(rng, dtype, ())])])
        for axes in ((1,), (2,), (1, 2), (-1,)):
            target = np.array([5] if len(axes) == 1 else [2, 6])
            yield single(rng, "CenterCropPad", [Arg(dtype, (None, 3, 4)), target], {"axes": axes}, 18, kinds=MIXED)


def makers(rng):
    """Tensors that are made of shapes."""
    for dtype in EVERY:
        for opset in (7, 13, 15, 19, 21):
            if dtype not in SOME and opset != 15:
                continue
            for start, end in ((None, None), (1, None), (None, 2), (-2, None), (0, -1), (5, 7), (2, 1), (-100, 100)):
                if opset < 15 and (start, end) != (None, None):
                    continue
                yield single(rng, "Shape", [Arg(dtype, (2, 3, 4))], {"start": start, "end": end}, opset, is_rows=False, kinds=MIXED)
            yield single(rng, "Size", [Arg(dtype, (2, 3, 4))], {}, opset, is_rows=False, kinds=MIXED)
        value = None if dtype == TEXT else numpy_helper.from_array(draw(rng, dtype, (1,)), "v")
        for opset in (9, 20, 21):
            for dims in ((2, 3), (), (0, 2), (1,)):
                shape = np.array(dims, np.int64)
                if value is not None:
                    yield of_shape(rng, shape, value, opset)
            if dtype == F32:
                for dims in ((2, 3), (), (0, 2), (1,)):
                    yield of_shape(rng, np.array(dims, np.int64), None, opset)
    yield of_rows(rng, None)
    yield of_rows(rng, numpy_helper.from_array(np.array([7], np.int64), "v"))
    codes = {F32: 1, F64: 11, np.int32: 6, np.int64: 7, F16: 10, np.uint8: 2, BOOL: 9}
    for dtype in (F32, F64, np.int32, np.int64, np.uint8, BOOL):
        for code in (None, *codes.values()):
            for k in (None, 0, 1, -1, 7, -7):
                for dims in ((3, 4), (2, 2), (0, 3)):
                    yield single(rng, "EyeLike", [Arg(dtype, dims)], {"dtype": code, "k": k}, 9, is_rows=False, kinds=("plain",))
    for dtype in (F32, F64, np.int16, np.int32, np.int64):
        for start, limit, delta in ((0, 5, 1), (3, 9, 3), (10, 4, -2), (0, 0, 1), (5, 0, 1), (-3, 3, 1), (1, 10, 4)):
            yield single(rng, "Range", [np.array(value, dtype) for value in (start, limit)] + [fixed(dtype, delta)], {}, 11, is_rows=False)
            yield single(rng, "Range", [fixed(dtype, value) for value in (start, limit, delta)], {}, 11, is_rows=False)
        yield single(rng, "Range", [fixed(dtype, 0), fixed(dtype, 5), fixed(dtype, 0)], {}, 11, is_rows=False, note="a step of zero")
    for start, limit, delta in ((0, 1, 0.1), (1, 0, -0.3), (0.5, 3, 0.7)):
        for dtype in (F32, F64):
            yield single(rng, "Range", [fixed(dtype, value) for value in (start, limit, delta)], {}, 11, is_rows=False)


def fixed(dtype, value):
    return Arg(dtype, (), "plain", lambda rng, shape: np.array(value, dtype))


def of_shape(rng, shape, value, opset):
    """A constant and one that the input is."""
    feeds = [Feed([shape])]
    return single(rng, "ConstantOfShape", [Arg(np.int64, shape.shape)], {"value": value}, opset, is_rows=False, feeds=feeds,
                  note=f"{shape.tolist()} {value.data_type if value is not None else None}")


def of_rows(rng, value):
    """As many as the input has."""
    nodes = [helper.make_node("Shape", ["x"], ["s"]),
             helper.make_node("ConstantOfShape", ["s"], ["y"], **({"value": value} if value is not None else {}))]
    model = model_of(nodes, [("x", F32, (None, 3))], ["y"], {}, 15)
    return Graph("ConstantOfShape", f"of the rows {value.data_type if value is not None else None}", model,
                 [Feed([draw(rng, F32, (rows, 3))]) for rows in (1, 3)])


def graphs(rng):
    yield from reshapes(rng)
    yield from squeezes(rng)
    yield from joins(rng)
    yield from spreads(rng)
    yield from transposes(rng)
    yield from pads(rng)
    yield from makers(rng)
