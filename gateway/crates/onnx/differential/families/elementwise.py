"""Unary operators and activations."""
import math

from graphs import *

UNARY = {
    # operator: (types, opsets that change it)
    "Abs": (NUMBERS, (7, 13)), "Neg": (FLOATS + INTS[:4], (7, 13)), "Sign": (NUMBERS, (9, 13)),
    "Ceil": (FLOATS, (7, 13)), "Floor": (FLOATS, (7, 13)), "Round": (FLOATS, (11, 22)),
    "Exp": (FLOATS, (7, 13)), "Log": (FLOATS, (7, 13)), "Sqrt": (FLOATS, (7, 13)), "Reciprocal": (FLOATS, (7, 13)),
    "Sin": (FLOATS, (7, 22)), "Cos": (FLOATS, (7, 22)), "Tan": (FLOATS, (7, 22)), "Asin": (FLOATS, (7, 22)),
    "Acos": (FLOATS, (7, 22)), "Atan": (FLOATS, (7, 22)), "Sinh": (FLOATS, (9, 22)), "Cosh": (FLOATS, (9, 22)),
    "Asinh": (FLOATS, (9, 22)), "Acosh": (FLOATS, (9, 22)), "Atanh": (FLOATS, (9, 22)), "Tanh": (FLOATS, (7, 13)),
    "Erf": (NUMBERS, (9, 13)), "IsNaN": (FLOATS, (9, 13, 20)), "IsInf": (FLOATS, (10, 20)), "Not": ((BOOL,), (7,)),
    "BitwiseNot": (INTS, (18,)), "Sigmoid": (FLOATS, (7, 13)), "Relu": (FLOATS + INTS[:4], (7, 13, 14)),
    "Softplus": (FLOATS, (7, 22)), "Softsign": (FLOATS, (7, 22)), "Mish": (FLOATS, (18, 22)),
    "HardSwish": (FLOATS, (14, 22)), "Identity": (NUMBERS + (BOOL, TEXT), (7, 13, 14, 16)),
}
ATTRIBUTES = {
    "IsInf": [dict(detect_positive=0), dict(detect_negative=0), dict(detect_positive=0, detect_negative=0)],
}
ACTIVATIONS = {
    "HardSigmoid": (dict(alpha=[None, 0.5, -0.3], beta=[None, 0.1]), (7, 22), ""),
    "Elu": (dict(alpha=[None, 0.3, 2.0]), (7, 22), ""),
    "Celu": (dict(alpha=[None, 0.4, 2.5]), (12,), ""),
    "Selu": (dict(alpha=[None, 1.2], gamma=[None, 0.8]), (7, 22), ""),
    "LeakyRelu": (dict(alpha=[None, 0.0, 0.3, 1.5, -0.5]), (7, 16), ""),
    "ThresholdedRelu": (dict(alpha=[None, 0.0, -1.0, 2.0]), (10, 22), ""),
    "Shrink": (dict(bias=[None, 0.7], lambd=[None, 1.5]), (9,), ""),
    "Gelu": (dict(approximate=[None, "tanh", "none"]), (20,), ""),
    "ImageScaler": (dict(scale=[None]), (7,), ""),
    "ParametricSoftplus": (dict(alpha=[0.7], beta=[1.3]), (7,), ""),
    "ScaledTanh": (dict(alpha=[0.7], beta=[1.3]), (7,), ""),
}
MICROSOFT = {
    "Gelu": {}, "FastGelu": {}, "QuickGelu": dict(alpha=[None, 1.0, 0.3]), "BiasGelu": {},
}
SHAPES = [(), (0,), (5,), (1, 1), (2, 3, 4), (3, 0, 2), (33,), (2, 17)]


def product(options):
    sets = [{}]
    for key, values in options.items():
        sets = [{**one, key: value} for one in sets for value in values]
    return sets


def near_one(inputs, outputs):
    """For results between -1 and 1 whose small ones are differences of larger."""
    return 1.0, ""


def around(inputs, outputs):
    """The scale of the input, where terms of its size are added."""
    return [np.maximum(np.abs(inputs[0].astype(F64)), np.abs(outputs[0].astype(F64))) + 1.0], ""


def by_doubles(op, attrs, bias):
    """Functions that ONNX Runtime computes with singles for doubles too, computed with doubles."""
    single = lambda name, default: float(np.float32(attrs[name] if attrs.get(name) is not None else default))
    erf = np.vectorize(math.erf, otypes=[F64])

    def function(x):
        if op == "Shrink":
            low, less = single("lambd", 0.5), single("bias", 0.0)
            return np.where(x < -low, x + less, np.where(x > low, x - less, 0.0))
        if op == "QuickGelu":
            return x / (1 + np.exp(-single("alpha", 1.702) * x))
        if op == "FastGelu" or attrs.get("approximate") == "tanh":
            return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))
        return 0.5 * x * (1 + erf(x / math.sqrt(2)))

    def standard(inputs, outputs):
        x = inputs[0]
        if x.dtype != F64:
            return outputs, ""
        right = function(x + bias[0] if bias else x)
        # Where the formula has no value, as in zero times infinity, ONNX Runtime's stands.
        right = np.where(np.isnan(right), outputs[0], right)
        if (np.abs(right - outputs[0]) <= 1e-10 * np.abs(right)).all():
            return outputs, ""
        return [right], f"{op} of doubles, which ONNX Runtime computes with singles: here with doubles"
    return standard


def signs(inputs, outputs):
    nan = np.isnan(inputs[0].astype(F64)) if inputs[0].dtype == F16 else np.zeros(())
    if nan.any():
        return [np.where(nan, np.nan, 1.0)], "Sign of NaN in halves: ONNX Runtime says 0, of singles NaN"
    return None, ""


JUDGES = {"Sign": signs, "Sigmoid": near_one, "Tanh": near_one, "Erf": near_one, "Mish": around, "HardSwish": around, "Softplus": around}


def graphs(rng):
    for op, (types, opsets) in UNARY.items():
        for dtype in types:
            for attrs in [{}] + ATTRIBUTES.get(op, []):
                for opset in opsets:
                    judge = JUDGES.get(op)
                    yield single(rng, op, [Arg(dtype, (None, 6))], attrs, opset, judge=judge)
                for shape in SHAPES:
                    yield single(rng, op, [Arg(dtype, shape)], attrs, opsets[-1], is_rows=False, judge=judge)
    for op, (options, opsets, domain) in ACTIVATIONS.items():
        for dtype in FLOATS:
            for attrs in product(options):
                some = [single(rng, op, [Arg(dtype, (None, 6))], attrs, opset, domain, judge=around) for opset in opsets]
                some.append(single(rng, op, [Arg(dtype, (2, 17))], attrs, opsets[-1], domain, is_rows=False, judge=around))
                for graph in some:
                    graph.standard = by_doubles(op, attrs, []) if op in ("Shrink", "Gelu") else None
                    yield graph
    for op, options in MICROSOFT.items():
        for dtype in FLOATS:
            for attrs in product(options):
                bias = [draw(rng, dtype, (6,), "plain")] if op == "BiasGelu" else []
                for bias in [bias, [draw(rng, dtype, (6,), "plain")]] if op == "FastGelu" else [bias]:
                    graph = single(rng, op, [Arg(dtype, (None, 6)), *bias], attrs, 17, "com.microsoft", judge=around)
                    graph.standard = by_doubles(op, attrs, bias)
                    yield graph
