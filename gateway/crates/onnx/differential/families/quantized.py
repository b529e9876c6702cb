"""Operators on bytes that stand for real numbers, and those that make and undo them."""
from graphs import *

BYTES = (np.int8, np.uint8)


def zero_of(rng, dtype, shape=()):
    info = np.iinfo(dtype)
    return rng.integers(max(info.min, -20) if info.min < 0 else 100, 21 if info.min < 0 else 150, shape).astype(dtype)


def scale_of(rng, shape=(), low=0.01, high=0.2):
    return (rng.random(shape) * (high - low) + low).astype(F32)


def one_step(scale, zero=False):
    """Whole numbers must be equal; so there is no bound but the type's own."""
    return None


def linear(rng):
    for opset in (10, 13, 19, 21):
        for dtype in BYTES + ((np.int16, np.uint16) if opset == 21 else ()):
            for source in (F32, np.int32) + ((F16,) if opset >= 19 else ()):
                scale = scale_of(rng).astype(source if source == F16 else F32)
                x = Arg(source, (None, 4, 3))
                yield single(rng, "QuantizeLinear", [x, scale, zero_of(rng, dtype)], {}, opset, kinds=("plain", "special", "large"))
                yield single(rng, "QuantizeLinear", [x, scale], {}, opset)
                if opset == 10:
                    continue
                for axis in (1, 2, -1, None):
                    size = {1: 4, 2: 3, -1: 3, None: 4}[axis]
                    scales = scale_of(rng, (size,)).astype(scale.dtype)
                    yield single(rng, "QuantizeLinear", [x, scales, zero_of(rng, dtype, (size,))], {"axis": axis}, opset, kinds=("plain", "special", "large"))
                    yield single(rng, "QuantizeLinear", [x, scales], {"axis": axis}, opset, kinds=("plain", "special"))
        yield single(rng, "QuantizeLinear", [Arg(F32, (None, 5)), Arg(F32, (), "plain", lambda rng, shape: scale_of(rng, shape)), np.array(3, np.uint8)],
                     {}, opset, is_rows=False, feeds=[Feed([draw(rng, F32, (2, 5)), scale_of(rng)]) for _ in range(3)])
        for half in ([0.5, 1.5, 2.5, -0.5, -1.5, 3.5],):
            yield single(rng, "QuantizeLinear", [Arg(F32, (6,)), np.array(1, F32), np.array(0, np.int8)], {}, opset, is_rows=False,
                         feeds=[Feed([np.array(half, F32)])])
        for dtype in BYTES + (np.int32,) + ((np.int16, np.uint16) if opset == 21 else ()):
            x = Arg(dtype, (None, 4, 3))
            scale = scale_of(rng)
            yield single(rng, "DequantizeLinear", [x, scale], {}, opset)
            zero = zero_of(rng, dtype) if dtype != np.int32 else np.array(0, np.int32)
            yield single(rng, "DequantizeLinear", [x, scale, zero], {}, opset)
            yield single(rng, "DequantizeLinear", [Arg(dtype, (4, 3)), Arg(F32, (), "plain", lambda rng, shape: scale_of(rng, shape)), zero], {}, opset,
                         is_rows=False)
            if opset >= 19 and dtype != np.int32:
                yield single(rng, "DequantizeLinear", [x, scale.astype(F16), zero], {}, opset)
            if opset == 10:
                continue
            for axis in (1, 2, -1, None):
                size = {1: 4, 2: 3, -1: 3, None: 4}[axis]
                zeros = zero_of(rng, dtype, (size,)) if dtype != np.int32 else np.zeros(size, np.int32)
                yield single(rng, "DequantizeLinear", [x, scale_of(rng, (size,)), zeros], {"axis": axis}, opset)
                yield single(rng, "DequantizeLinear", [x, scale_of(rng, (size,))], {"axis": axis}, opset)
        if opset == 21:
            blocks = scale_of(rng, (1, 2, 3))
            yield single(rng, "DequantizeLinear", [Arg(np.int8, (1, 4, 3)), blocks], {"axis": 1, "block_size": 2}, opset, is_rows=False)
            yield single(rng, "QuantizeLinear", [Arg(F32, (1, 4, 3)), blocks, zero_of(rng, np.uint8, (1, 2, 3))], {"axis": 1, "block_size": 2}, opset, is_rows=False)
    for dims in ((4,), (2, 3), (1,), (3, 4, 5)):
        for kind in ("plain", "positive", "large"):
            yield single(rng, "DynamicQuantizeLinear", [Arg(F32, dims)], {}, 11, outputs=3, is_rows=False, kinds=(kind,) * 3)
    yield single(rng, "DynamicQuantizeLinear", [Arg(F32, (4,))], {}, 11, outputs=3, is_rows=False, feeds=[
        Feed([np.zeros(4, F32)]), Feed([np.full(4, -2, F32)]), Feed([np.full(4, 3, F32)]), Feed([np.array([0, 1e-30, 2e-30, 0], F32)]),
        Feed([np.array([-1e30, 1e30, 0, 1], F32)])])


def products(rng):
    for one in BYTES:
        for other in BYTES:
            for shape, more in (((None, 4), (4, 3)), ((None, 2, 4), (4, 3)), ((None, 2, 4), (2, 4, 3) if False else (4, 3))):
                weights = draw(rng, other, more, "mixed")
                args = [Arg(one, shape), weights]
                yield single(rng, "MatMulInteger", args, {}, 10)
                yield single(rng, "MatMulInteger", [*args, zero_of(rng, one)], {}, 10)
                yield single(rng, "MatMulInteger", [*args, zero_of(rng, one), zero_of(rng, other)], {}, 10)
                yield single(rng, "MatMulInteger", [*args, None, zero_of(rng, other)], {}, 10)
                yield single(rng, "MatMulInteger", [*args, zero_of(rng, one), zero_of(rng, other, (more[-1],))], {}, 10)
                yield single(rng, "MatMulInteger", [Arg(one, (2, 4)), Arg(other, (4, 3)), zero_of(rng, one), zero_of(rng, other)], {}, 10, is_rows=False)
            yield single(rng, "MatMulInteger", [Arg(one, (3, 2, 4)), Arg(other, (3, 4, 2))], {}, 10, is_rows=False)
            for per_output in (False, True):
                for result in BYTES:
                    size = (3,) if per_output else ()
                    yield single(rng, "QLinearMatMul", [
                        Arg(one, (None, 4)), scale_of(rng), zero_of(rng, one), draw(rng, other, (4, 3)), scale_of(rng, size), zero_of(rng, other, size),
                        scale_of(rng, (), 0.5, 2), zero_of(rng, result)], {}, 10)
            for attrs in ({}, {"pads": (1, 1, 1, 1)}, {"strides": (2, 1)}, {"dilations": (1, 2)}, {"auto_pad": "SAME_UPPER"}, {"group": 2}):
                group = attrs.get("group", 1)
                x, weights = Arg(one, (None, 4, 5, 6)), draw(rng, other, (6, 4 // group, 3, 2))
                yield single(rng, "ConvInteger", [x, weights], attrs, 10)
                yield single(rng, "ConvInteger", [x, weights, zero_of(rng, one)], attrs, 10)
                yield single(rng, "ConvInteger", [x, weights, zero_of(rng, one), zero_of(rng, other)], attrs, 10)
                for bias in (False, True):
                    for per_output in (False, True):
                        size = (6,) if per_output else ()
                        zero = np.zeros(size, other) if other == np.int8 else np.full(size, 128, other)
                        args = [x, scale_of(rng), zero_of(rng, one), weights, scale_of(rng, size), zero, scale_of(rng, (), 2, 9), zero_of(rng, one)]
                        if bias:
                            args.append(rng.integers(-1000, 1000, 6).astype(np.int32))
                        yield single(rng, "QLinearConv", args, attrs, 10)
        for axis_dims, dims in (((), (None, 4)), ((), (None, 2, 3))):
            for other_dims in (dims, dims[1:], ()):
                for op in ("QLinearAdd", "QLinearMul"):
                    other = Arg(one, other_dims) if other_dims == dims else draw(rng, one, other_dims)
                    yield single(rng, op, [Arg(one, dims), scale_of(rng), zero_of(rng, one), other, scale_of(rng), zero_of(rng, one),
                                           scale_of(rng), zero_of(rng, one)], {}, 17, domain="com.microsoft")
        for op, attrs in (("QLinearSigmoid", {}), ("QLinearLeakyRelu", {"alpha": 0.1})):
            yield single(rng, op, [Arg(one, (None, 5)), scale_of(rng), zero_of(rng, one), np.array(1 / 256, F32), zero_of(rng, one)], attrs, 17, domain="com.microsoft")
        for last in (0, 1):
            dims = (None, 4, 5, 3) if last else (None, 3, 4, 5)
            yield single(rng, "QLinearGlobalAveragePool", [Arg(one, dims), scale_of(rng), zero_of(rng, one), scale_of(rng), zero_of(rng, one)],
                         {"channels_last": last}, 17, domain="com.microsoft")
        yield single(rng, "QLinearAveragePool", [Arg(one, (None, 2, 5, 5)), scale_of(rng), zero_of(rng, one), scale_of(rng), zero_of(rng, one)],
                     {"kernel_shape": (2, 2), "strides": (2, 2)}, 17, domain="com.microsoft")
        yield single(rng, "QLinearConcat", [scale_of(rng), zero_of(rng, one), Arg(one, (None, 2)), scale_of(rng), zero_of(rng, one), Arg(one, (None, 3)),
                                            scale_of(rng), zero_of(rng, one)], {"axis": 1}, 17, domain="com.microsoft")
        yield single(rng, "QLinearSoftmax", [Arg(one, (None, 6)), scale_of(rng), zero_of(rng, one), np.array(1 / 256, F32), np.array(0 if one == np.uint8 else -128, one)],
                     {"axis": -1, "opset": 13}, 17, domain="com.microsoft")


def dynamic(rng):
    """The graph that dynamic quantisation writes: the input becomes bytes by a scale of all of it."""
    for other in BYTES:
        for per_output in (False, True):
            size = (3,) if per_output else ()
            zero = np.zeros(size, other) if other == np.int8 else np.full(size, 128, other)
            for bias in (False, True):
                weights, scale = draw(rng, other, (4, 3)), scale_of(rng, size)
                args = [Arg(F32, (3, 4)), weights, scale, zero] + ([draw(rng, F32, (3,), "plain")] if bias else [])
                judge = lambda inputs, outputs, weights=weights, scale=scale: (
                    [np.abs(inputs[0].astype(F64)) @ np.abs(weights.astype(F64)) * np.max(scale) + 10], "")
                yield single(rng, "DynamicQuantizeMatMul", args, {}, 17, domain="com.microsoft", is_rows=False, kinds=("plain", "unit"), judge=judge)
                args = [Arg(np.uint8, (3, 4)), weights, np.array(0.02, F32), scale, np.array(120, np.uint8), zero] + ([draw(rng, F32, (3,), "plain")] if bias else [])
                yield single(rng, "MatMulIntegerToFloat", args, {}, 17, domain="com.microsoft", is_rows=False, kinds=("plain",))


def between(rng):
    """Operators between bytes, as quantisers write them: what they compute with is real."""
    for kind in BYTES:
        for op, attrs, extra in (("Softmax", {"axis": -1}, ()), ("MatMul", {}, ((6, 3),)), ("Relu", {}, ()), ("Sigmoid", {}, ()), ("Add", {}, ((1, 6),))):
            for opset in (13, 21):
                zero = zero_of(rng, kind)
                constants = {"s": np.array(0.05, F32), "z": zero, "t": np.array(1 / 256 if op in ("Softmax", "Sigmoid") else 0.3, F32),
                             "u": np.array(0 if kind == np.uint8 else -128, kind) if op in ("Softmax", "Sigmoid") else zero}
                nodes = [helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]), helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"])]
                names = ["d"]
                for place, shape in enumerate(extra):
                    constants["w"], constants["ws"] = draw(rng, np.int8, shape), np.array(0.02, F32)
                    nodes.append(helper.make_node("DequantizeLinear", ["w", "ws"], ["wd"]))
                    names.append("wd")
                nodes += [helper.make_node(op, names, ["r"], **attrs), helper.make_node("QuantizeLinear", ["r", "t", "u"], ["y"])]
                model = model_of(nodes, [("x", F32, (None, 6))], ["y"], constants, opset)
                yield Graph(f"{op} between bytes", f"opset {opset} {np.dtype(kind).name}", model,
                            [Feed([draw(rng, F32, (rows, 6), "plain")]) for rows in (1, 3)], judge=nearly)


def nearly(inputs, outputs):
    """ONNX Runtime fuses some of these, so that a value on the edge between two bytes may fall to either side."""
    return None, ""


def graphs(rng):
    yield from between(rng)
    yield from linear(rng)
    yield from products(rng)
    yield from dynamic(rng)
