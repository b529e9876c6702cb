"""Operators of two and more arguments, value by value, with broadcasting: arithmetic, comparison, logic, bits."""
from graphs import *

BINARY = {
    "Add": (NUMBERS, (7, 13, 14)), "Sub": (NUMBERS, (7, 13, 14)), "Mul": (NUMBERS, (7, 13, 14)),
    "Div": (NUMBERS, (7, 13, 14)), "Pow": (FLOATS + (np.int32, np.int64), (7, 12, 13, 15)),
    "PRelu": (NUMBERS, (7, 9, 16)),
    "Equal": (NUMBERS + (BOOL, TEXT), (7, 11, 13, 19)), "Less": (NUMBERS, (7, 9, 13)),
    "Greater": (NUMBERS, (7, 9, 13)), "LessOrEqual": (NUMBERS, (12, 16)), "GreaterOrEqual": (NUMBERS, (12, 16)),
    "And": ((BOOL,), (7,)), "Or": ((BOOL,), (7,)), "Xor": ((BOOL,), (7,)),
    "BitwiseAnd": (INTS, (18,)), "BitwiseOr": (INTS, (18,)), "BitwiseXor": (INTS, (18,)),
}
NARY = {"Max": (NUMBERS, (8, 12, 13)), "Min": (NUMBERS, (8, 12, 13)), "Sum": (FLOATS, (8, 13)),
        "Mean": (FLOATS, (8, 13))}
# Shapes of both arguments, as they are.
PAIRS = [((), ()), ((), (3,)), ((4,), ()), ((2, 3), (2, 3)), ((2, 3), (3,)), ((3,), (2, 3)), ((2, 1, 4), (3, 1)),
         ((1,), (2, 2)), ((2, 3, 4, 5), (3, 1, 1)), ((0, 3), (1, 3)), ((2, 0), (1,)), ((40,), (40,)), ((8, 40), (1, 40)),
         ((8, 40), (8, 1)), ((8, 64), (1, 1))]
# A constant beside rows of six, and whether it is on the left.
CONSTANTS = [(), (1,), (6,), (1, 6), (1, 1)]


def divisor(arg):
    """No zeros: ONNX Runtime ends its process where a whole number is divided by one."""
    if np.dtype(arg.dtype).kind not in "iu":
        return arg

    def drawn(rng, shape):
        values = draw(rng, arg.dtype, shape, arg.kind)
        return np.where(values == 0, 3, values).astype(arg.dtype)
    return Arg(arg.dtype, arg.dims, arg.kind, drawn)


def terms(inputs, outputs):
    """Of a sum."""
    return [sum(np.abs(value.astype(F64)) for value in inputs)], ""


def powers(inputs, outputs):
    """Whole powers that a whole number cannot hold are undefined."""
    base, exponent = np.broadcast_arrays(*inputs)
    scale = np.abs(outputs[0].astype(F64))
    if base.dtype.kind == "i":
        exact = np.power(base.astype(F64), exponent.astype(F64))
        bound = 2.0 ** (base.dtype.itemsize * 8 - 1)
        undefined = ~(np.abs(exact) < min(bound, 2.0 ** 53))
        if undefined.any():
            return [np.where(undefined, np.nan, scale)], "Pow of whole numbers beyond their type"
    return [scale], ""


JUDGES = {"Add": terms, "Sub": terms, "Pow": powers}


def constants(rng, dtype, shape, op):
    kinds = ["plain", "special"]
    for kind in kinds:
        value = draw(rng, dtype, shape, kind)
        if np.dtype(dtype).kind in "iu" and op in ("Div", "Mod"):
            value = np.where(value == 0, np.array(3, dtype), value).astype(dtype)
        yield value
    if np.dtype(dtype).kind in "iuf":
        for number in (0, 1, 2, -1, 0.5, 3):
            if number == 0 and np.dtype(dtype).kind in "iu" and op in ("Div", "Mod"):
                continue
            if np.dtype(dtype).kind == "u" and number < 0 or np.dtype(dtype).kind != "f" and number == 0.5:
                continue
            yield np.full(shape, number, dtype)


def graphs(rng):
    for op, (types, opsets) in BINARY.items():
        judge = JUDGES.get(op)
        for dtype in types:
            right = divisor if op == "Div" else (lambda arg: arg)
            for opset in opsets:
                yield single(rng, op, [Arg(dtype, (None, 6)), right(Arg(dtype, (None, 6)))], {}, opset, judge=judge)
                yield single(rng, op, [Arg(dtype, (None, 3, 2)), right(Arg(dtype, (None, 1, 2)))], {}, opset, judge=judge)
            for one, other in PAIRS:
                if op == "PRelu" and np.broadcast_shapes(one, other) != one:
                    continue
                yield single(rng, op, [Arg(dtype, one), right(Arg(dtype, other))], {}, opsets[-1], is_rows=False,
                             judge=judge)
            for shape in CONSTANTS[:3] if dtype in (F32, np.int64) else CONSTANTS[1:2]:
                for value in constants(rng, dtype, shape, op):
                    yield single(rng, op, [Arg(dtype, (None, 6)), value], {}, opsets[-1], judge=with_constant(judge, value, 1),
                                 note=f"right {value.ravel()[:1]}")
            for value in constants(rng, dtype, (1,), "Add"):
                if op != "PRelu":
                    yield single(rng, op, [value, right(Arg(dtype, (None, 6)))], {}, opsets[-1], judge=with_constant(judge, value, 0),
                                 note=f"left {value.ravel()[:1]}")
    yield from powers_of_others(rng)
    yield from modulo(rng)
    yield from shifts(rng)
    yield from nary(rng)
    yield from clip(rng)
    yield from where(rng)


def with_constant(judge, value, place):
    """A judge that sees a constant among the inputs too."""
    if judge is None:
        return None
    return lambda inputs, outputs: judge([*inputs[:place], value, *inputs[place:]], outputs)


def powers_of_others(rng):
    for base in (F32, F64, np.int32, np.int64):
        for exponent in (F32, F64, np.int32, np.int64):
            yield single(rng, "Pow", [Arg(base, (None, 6)), Arg(exponent, (None, 6))], {}, 15, judge=powers)
            for number in (0, 1, 2, 3, 0.5, -1, -2):
                if np.dtype(exponent).kind == "f" or number == int(number):
                    value = np.array(number, exponent)
                    yield single(rng, "Pow", [Arg(base, (None, 6)), value], {}, 15, judge=with_constant(powers, value, 1), note=f"{number}")


def modulo(rng):
    for dtype in NUMBERS:
        for fmod in ((0, 1) if np.dtype(dtype).kind != "f" else (1,)):
            for opset in (10, 13):
                yield single(rng, "Mod", [Arg(dtype, (None, 6)), divisor(Arg(dtype, (None, 6)))], dict(fmod=fmod), opset)
            for value in constants(rng, dtype, (1,), "Mod"):
                yield single(rng, "Mod", [Arg(dtype, (None, 6)), value], dict(fmod=fmod), 13, note=f"{value}")
            for one, other in PAIRS:
                yield single(rng, "Mod", [Arg(dtype, one), divisor(Arg(dtype, other))], dict(fmod=fmod), 13, is_rows=False)


def shifts(rng):
    for dtype in INTS[4:]:
        bits = np.dtype(dtype).itemsize * 8

        def by(rng, shape, dtype=dtype, bits=bits):
            return rng.integers(0, bits, shape).astype(dtype)
        for direction in ("LEFT", "RIGHT"):
            yield single(rng, "BitShift", [Arg(dtype, (None, 6)), Arg(dtype, (None, 6), draw=by)], dict(direction=direction), 11)
            for one, other in PAIRS:
                yield single(rng, "BitShift", [Arg(dtype, one), Arg(dtype, other, draw=by)], dict(direction=direction), 11,
                             is_rows=False)


def mean_terms(inputs, outputs):
    return [sum(np.abs(value.astype(F64)) for value in inputs) / len(inputs)], ""


def nary(rng):
    for op, (types, opsets) in NARY.items():
        judge = {"Sum": terms, "Mean": mean_terms}.get(op)
        for dtype in types:
            for opset in opsets:
                for count in (1, 2, 3, 4):
                    yield single(rng, op, [Arg(dtype, (None, 6))] * count, {}, opset, judge=judge)
            for one, other in PAIRS:
                yield single(rng, op, [Arg(dtype, one), Arg(dtype, other)], {}, opsets[-1], is_rows=False, judge=judge)
                yield single(rng, op, [Arg(dtype, one), Arg(dtype, other), Arg(dtype, ())], {}, opsets[-1], is_rows=False,
                             judge=judge)
            for shape in CONSTANTS:
                for value in constants(rng, dtype, shape, op):
                    yield single(rng, op, [Arg(dtype, (None, 6)), value], {}, opsets[-1], judge=with_constant(judge, value, 1))
                    yield single(rng, op, [value, Arg(dtype, (None, 6))], {}, opsets[-1], judge=with_constant(judge, value, 0))


def bounds_left_out(inputs, outputs):
    infinite = np.isinf(inputs[0].astype(F64))
    if inputs[0].dtype == F16 and infinite.any():
        return [np.where(infinite, np.nan, np.abs(outputs[0].astype(F64)))], "Clip of infinite halves without a bound, in opset 11 alone"
    return None, ""


def clip(rng):
    for dtype in NUMBERS:
        signed = np.dtype(dtype).kind != "u"
        bounds = [(None, None), (1, 4), (None, 3), (2, None), (4, 1), (0, 6), (0, 0)] + ([(-2, 2)] if signed else [])
        if np.dtype(dtype).kind == "f":
            bounds += [(np.nan, 1), (1, np.nan), (-np.inf, np.inf)]
        for low, high in bounds:
            args = [Arg(dtype, (None, 6))] + [None if bound is None else np.array(bound, dtype) for bound in (low, high)]
            for opset in (11, 12, 13):
                yield single(rng, "Clip", args, {}, opset, note=f"{low} {high}", judge=bounds_left_out if opset == 11 else None)
            yield single(rng, "Clip", [Arg(dtype, (2, 17)), *args[1:]], {}, 13, note=f"{low} {high}", is_rows=False)
            if dtype == F32 and low != 4:
                attrs = dict(min=None if low is None else float(low), max=None if high is None else float(high))
                yield single(rng, "Clip", [Arg(dtype, (None, 6))], attrs, 7)
        yield single(rng, "Clip", [Arg(dtype, (2, 5)), Arg(dtype, (), "plain"), Arg(dtype, (), "plain")], {}, 13, is_rows=False)
        yield single(rng, "Clip", [Arg(dtype, (2, 5)), Arg(dtype, (), "plain")], {}, 13, is_rows=False)


def where(rng):
    for dtype in NUMBERS + (BOOL, TEXT):
        for opset in (9, 16):
            yield single(rng, "Where", [Arg(BOOL, (None, 6)), Arg(dtype, (None, 6)), Arg(dtype, (None, 6))], {}, opset)
        for one, other in PAIRS:
            yield single(rng, "Where", [Arg(BOOL, one), Arg(dtype, other), Arg(dtype, ())], {}, 16, is_rows=False)
            yield single(rng, "Where", [Arg(BOOL, other), Arg(dtype, ()), Arg(dtype, one)], {}, 16, is_rows=False)
        value = draw(rng, dtype, (1, 1), "plain")
        yield single(rng, "Where", [Arg(BOOL, (None, 6)), Arg(dtype, (None, 6)), value], {}, 16)
        yield single(rng, "Where", [Arg(BOOL, (None, 6)), value, Arg(dtype, (None, 6))], {}, 16)
        for truth in (False, True):
            yield single(rng, "Where", [np.full((1, 6), truth), Arg(dtype, (None, 6)), value], {}, 16)
