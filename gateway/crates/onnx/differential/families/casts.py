"""Cast and CastLike between all types."""
from graphs import *

TYPES = NUMBERS + (BOOL, TEXT)


def code(dtype):
    return TensorProto.STRING if dtype is TEXT else helper.np_dtype_to_tensor_dtype(np.dtype(dtype))


def undefined(inputs, outputs):
    """Numbers that the type cast to cannot hold are undefined."""
    value, out = inputs[0], outputs[0]
    if value.dtype.kind == "f" and out.dtype.kind in "iu":
        info = np.iinfo(out.dtype)
        wide = value.astype(F64)
        bad = ~((np.trunc(wide) >= float(info.min)) & (np.trunc(wide) < float(info.max) + 1))
        if bad.any():
            return [np.where(bad, np.nan, 1.0)], "Cast of NaN, infinities and numbers beyond the type to whole numbers"
    return None, ""


def texts_for(dtype):
    kind = np.dtype(dtype).kind
    if kind == "f":
        return ["1", "-2.5", "1e3", "0", "-0", "3.14159265358979", "1e-5", "inf", "-inf", "nan", "NaN", "INF", "1E5", " 7"]
    if kind == "u":
        return ["0", "1", "17", "100", "007"]
    return ["0", "1", "-17", "100", "007"]


def graphs(rng):
    for source in TYPES:
        for target in TYPES:
            args = [Arg(source, (None, 5))]
            if source is TEXT and target is not TEXT:
                texts = texts_for(target)
                feeds = [Feed([np.array([[text] * 5], object)]) for text in texts]
                for opset in (9, 13, 19):
                    yield single(rng, "Cast", args, dict(to=code(target)), opset, feeds=feeds)
                continue
            for opset in (7, 9, 13, 19, 21):
                yield single(rng, "Cast", args, dict(to=code(target)), opset, judge=undefined)
            for shape in [(), (0,), (2, 3), (33,)]:
                yield single(rng, "Cast", [Arg(source, shape)], dict(to=code(target)), 13, is_rows=False, judge=undefined)
            if target is not TEXT:
                like = np.zeros((1,), target)
                for opset in (15, 19):
                    yield single(rng, "CastLike", [*args, like], {}, opset, judge=undefined)
                    yield single(rng, "CastLike", [*args, Arg(target, (None, 2))], {}, opset, judge=undefined)
    # What comes of casts is computed with.
    for source in NUMBERS:
        for middle in (F32, F64, np.int32, np.int64, np.uint8, BOOL):
            nodes = [helper.make_node("Cast", ["x"], ["m"], to=code(middle)), helper.make_node("Cast", ["m"], ["y"], to=code(F32))]
            model = model_of(nodes, [("x", source, (None, 5))], ["y"], {}, 13)
            arg = Arg(source, (None, 5), "unit" if middle == np.uint8 and source not in INTS else "small")
            yield Graph("Cast, Cast", f"{np.dtype(source)} {np.dtype(middle)}", model, feeds_of(rng, [arg], (1, 3), (None,)))
