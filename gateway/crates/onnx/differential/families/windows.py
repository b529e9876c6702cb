"""Convolutions, pooling, and what resamples pictures."""
import onnxruntime

from graphs import *

PLAIN = ("plain", "large")


def absolute_terms(model):
    """A judge whose bound is the same graph of magnitudes: each product and each sum without its sign."""
    def judge(inputs, outputs):
        magnitudes = onnx.ModelProto()
        magnitudes.CopyFrom(model)
        for tensor in magnitudes.graph.initializer:
            value = numpy_helper.to_array(tensor)
            if value.dtype.kind == "f":
                tensor.CopyFrom(numpy_helper.from_array(np.abs(value), tensor.name))
        session = onnxruntime.InferenceSession(magnitudes.SerializeToString(), providers=["CPUExecutionProvider"])
        names = [value.name for value in session.get_inputs()]
        finite = [np.abs(np.nan_to_num(value, nan=0, posinf=0, neginf=0)) if value.dtype.kind == "f" else value for value in inputs]
        bounds = session.run(None, dict(zip(names, finite)))
        return [np.nan_to_num(np.abs(bound.astype(F64)), nan=1e300, posinf=1e300) for bound in bounds], ""
    return judge


def without_nan(model):
    """A judge for maxima: ONNX Runtime's answer to a window with a NaN depends on where in the window it is."""
    session = []

    def judge(inputs, outputs):
        least = np.finfo(F32).min
        if not np.isnan(inputs[0].astype(F64)).any():
            if outputs[0].dtype == F32 and (outputs[0] == least).any():
                hidden = np.where(outputs[0] == least, np.nan, np.abs(outputs[0].astype(F64)))
                return [hidden] * len(outputs), "a window of minus infinities, for which ONNX Runtime gives the least number"
            return None, ""
        if not session:
            session.append(onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]))
        marks = session[0].run(None, {session[0].get_inputs()[0].name: np.isnan(inputs[0]).astype(inputs[0].dtype)})[0]
        scale = lambda out: np.where((marks > 0) | (outputs[0] == least), np.nan, np.abs(out.astype(F64)))
        return [scale(out) for out in outputs], "a window with a NaN, whose maximum depends on its place in ONNX Runtime"
    return judge


def maxima(rng, *args, **options):
    graph = single(rng, *args, **options)
    graph.judge = without_nan(graph.model)
    return graph


def by_largest(inputs, outputs):
    """Of weights that sum to one, some of them negative."""
    return [np.maximum(np.abs(out.astype(F64)), np.abs(inputs[0].astype(F64)).max(initial=0)) for out in outputs], ""


def on_edges(model):
    """A judge for the nearest value at symmetric half pixels: where a coordinate lies on the edge between two values but for
    rounding, it tells whose rounding it was."""
    node = model.graph.node[0]
    given = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    rounding = given.get("nearest_mode", b"round_prefer_floor").decode()

    def judge(inputs, outputs):
        shape, found = inputs[0].shape, outputs[0].shape
        scales = constants.get(node.input[2]) if len(node.input) > 2 else None
        scales = scales if scales is not None and scales.size else np.array(found) / np.array(shape)
        hidden = np.zeros(found, bool)
        for axis, (size, target) in enumerate(zip(shape, found)):
            if size == target and scales[axis] == 1:
                continue
            # Sizes that keep a ratio have another scale than that of the sizes; both are looked at.
            for scale in (scales[axis], target / size):
                offset = size / 2 * (1 - target / (scale * size))
                place = offset + (np.arange(target) + 0.5) / scale - 0.5
                place = place + 0.5 if rounding.startswith("round") else place
                edge = np.abs(place - np.rint(place)) < 1e-4
                hidden |= edge.reshape([-1 if at == axis else 1 for at in range(len(found))])
        if not hidden.any():
            return None, ""
        return ([np.where(hidden, np.nan, np.abs(outputs[0]))],
                "Resize to the nearest value at symmetric half pixels that lie on the edge between two values: rounding decides")
    return judge


def summed(rng, *args, **options):
    graph = single(rng, *args, **options)
    attributes = {attribute.name: attribute.s for attribute in graph.model.graph.node[0].attribute}
    if attributes.get("coordinate_transformation_mode") == b"half_pixel_symmetric" and attributes.get("mode") == b"nearest":
        graph.judge = on_edges(graph.model)
        return graph
    is_cubic = any(attribute.name == "mode" and b"cubic" in attribute.s for attribute in graph.model.graph.node[0].attribute)
    graph.judge = by_largest if is_cubic else absolute_terms(graph.model)
    return graph


def convolutions(rng):
    weights = lambda *shape: draw(rng, F32, shape, "plain")
    for opset in (7, 11, 22):
        for group, channels, outputs in ((1, 2, 3), (2, 4, 6), (3, 3, 3), (4, 4, 8)):
            for kernel in ((3, 3), (1, 1), (2, 3)):
                for extra in ({}, {"pads": (1, 1, 1, 1)}, {"pads": (0, 1, 2, 0)}, {"strides": (2, 1)}, {"dilations": (2, 2)},
                              {"strides": (2, 2), "pads": (1, 1, 1, 1), "dilations": (1, 2)}, {"auto_pad": "SAME_UPPER"},
                              {"auto_pad": "SAME_LOWER", "strides": (2, 2)}, {"auto_pad": "VALID"}, {"kernel_shape": kernel}):
                    args = [Arg(F32, (None, channels, 7, 6)), weights(outputs, channels // group, *kernel)]
                    attrs = {"group": group if group > 1 else None, **extra}
                    yield summed(rng, "Conv", args, attrs, opset, kinds=PLAIN if group == 1 else ("plain",))
                    yield summed(rng, "Conv", [*args, weights(outputs)], attrs, opset, kinds=("plain", "mixed") if group == 1 else ("plain",))
    for dims, kernel in (((9,), (3,)), ((4, 5, 6), (2, 2, 3)), ((9,), (1,))):
        rank = len(dims)
        for extra in ({}, {"pads": (1,) * 2 * rank}, {"strides": (2,) * rank}, {"dilations": (2,) * rank}, {"auto_pad": "SAME_UPPER"},
                      {"auto_pad": "SAME_LOWER", "strides": (2,) * rank}):
            for group in (1, 2):
                args = [Arg(F32, (None, 4, *dims)), weights(6, 4 // group, *kernel), weights(6)]
                yield summed(rng, "Conv", args, {"group": group, **extra}, 11, kinds=("plain",))
        yield summed(rng, "Conv", [Arg(F32, (2, 2, *dims)), Arg(F32, (3, 2, *kernel), "plain")], {}, 11, is_rows=False, kinds=("plain",))
    yield summed(rng, "Conv", [Arg(F32, (None, 2, 0, 5)), weights(3, 2, 1, 1)], {}, 11)
    for opset in (7, 11):
        for group, channels, outputs in ((1, 3, 2), (2, 4, 6), (3, 3, 3)):
            for kernel in ((3, 3), (2, 2), (1, 3)):
                for extra in ({}, {"pads": (1, 1, 1, 1)}, {"pads": (0, 1, 1, 0)}, {"strides": (2, 2)}, {"strides": (3, 2), "output_padding": (1, 1)},
                              {"dilations": (2, 1)}, {"strides": (2, 2), "auto_pad": "SAME_UPPER"}, {"strides": (2, 2), "auto_pad": "SAME_LOWER"},
                              {"strides": (2, 2), "output_shape": (10, 9)}, {"strides": (2, 3), "output_shape": (9, 10), "auto_pad": "SAME_UPPER"}, {"strides": (2, 3), "output_shape": (9, 10), "auto_pad": "SAME_LOWER"}, {"auto_pad": "VALID", "strides": (2, 1)}, {"kernel_shape": kernel},
                              {"strides": (2, 2), "pads": (1, 1, 1, 1), "output_padding": (1, 0)}):
                    args = [Arg(F32, (None, channels, 5, 4)), weights(channels, outputs // group, *kernel)]
                    attrs = {"group": group if group > 1 else None, **extra}
                    yield summed(rng, "ConvTranspose", args, attrs, opset, kinds=PLAIN)
                    yield summed(rng, "ConvTranspose", [*args, weights(outputs)], attrs, opset, kinds=("plain",))
    for dims, kernel in (((5,), (3,)), ((3, 4, 2), (2, 2, 2))):
        rank = len(dims)
        for extra in ({}, {"strides": (2,) * rank}, {"pads": (1,) * 2 * rank, "strides": (2,) * rank, "output_padding": (1,) * rank}):
            yield summed(rng, "ConvTranspose", [Arg(F32, (None, 2, *dims)), weights(2, 3, *kernel), weights(3)], extra, 11, kinds=("plain",))


def pools(rng):
    shapes = [{"kernel_shape": (2, 2)}, {"kernel_shape": (3, 2), "strides": (2, 1)}, {"kernel_shape": (3, 3), "pads": (1, 1, 1, 1)},
              {"kernel_shape": (2, 3), "pads": (0, 1, 1, 2), "strides": (2, 2)}, {"kernel_shape": (3, 3), "auto_pad": "SAME_UPPER"},
              {"kernel_shape": (2, 2), "auto_pad": "SAME_LOWER", "strides": (2, 2)}, {"kernel_shape": (2, 2), "auto_pad": "VALID", "strides": (3, 3)}]
    for op, opsets in (("MaxPool", (7, 8, 10, 11, 12, 22)), ("AveragePool", (7, 10, 11, 19, 22)), ("LpPool", (7, 11, 18))):
        for opset in opsets:
            for attrs in shapes:
                for ceil in ((None, 1) if opset >= 10 and (op != "LpPool" or opset >= 18) else (None,)):
                    for dilations in ((None, (2, 2)) if op == "MaxPool" and opset >= 10 or opset >= 19 else (None,)):
                        variants = [{}]
                        if op == "AveragePool":
                            variants = [{}, {"count_include_pad": 1}]
                        if op == "LpPool":
                            variants = [{}, {"p": 1}, {"p": 3}]
                        for variant in variants:
                            full = {**attrs, **variant, "ceil_mode": ceil, "dilations": dilations}
                            kinds = ("plain", "large", "special") if op == "MaxPool" else ("plain",)
                            make = maxima if op == "MaxPool" else summed
                            yield make(rng, op, [Arg(F32, (None, 2, 7, 8))], full, opset, kinds=kinds)
                            if op == "MaxPool" and opset >= 8:
                                yield single(rng, op, [Arg(F32, (None, 2, 7, 8))], {**full, "storage_order": (None, 1)[opset % 2]}, opset, outputs=2, kinds=("plain",))
    for dims, kernel in (((9,), (3,)), ((4, 5, 6), (2, 2, 3))):
        for op in ("MaxPool", "AveragePool", "LpPool"):
            for extra in ({}, {"strides": (2,) * len(dims)}, {"pads": (1,) * 2 * len(dims)}, {"ceil_mode": 1, "strides": (2,) * len(dims)}):
                yield summed(rng, op, [Arg(F32, (None, 2, *dims))], {"kernel_shape": kernel, **extra}, 12 if op != "LpPool" else 18, kinds=("plain",))
    # Windows larger than the image.
    for op in ("MaxPool", "AveragePool", "LpPool"):
        for size in (1, 2, 3):
            for kernel in ((4, 2), (2, 3), (5, 5)):
                for stride in (1, 2, 3, 5):
                    for ceil in (None, 1) if op != "LpPool" else (None,):
                        for pads in (None, (1, 0, 0, 0)):
                            attrs = {"kernel_shape": kernel, "strides": (stride, stride), "ceil_mode": ceil, "pads": pads}
                            yield summed(rng, op, [Arg(F32, (None, 2, size, 4))], attrs, 12 if op != "LpPool" else 11, kinds=("plain",))
    for dtype in (np.int8, np.uint8, F64, F16):
        for attrs in shapes:
            yield maxima(rng, "MaxPool", [Arg(dtype, (None, 2, 7, 8))], attrs, 12)
            yield single(rng, "MaxPool", [Arg(dtype, (None, 2, 7, 8))], attrs, 12, outputs=2, kinds=("plain",))
    for op in ("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"):
        for dims in ((5, 6), (7,), (2, 3, 4), (1, 1)):
            for dtype in (F32, F64, F16):
                for extra in ({}, {"p": 1}) if op == "GlobalLpPool" else ({},):
                    make = maxima if op == "GlobalMaxPool" else summed
                    yield make(rng, op, [Arg(dtype, (None, 3, *dims))], extra, 7, kinds=("plain", "large", "special") if op == "GlobalMaxPool" else PLAIN)


def resizes(rng):
    modes = ("nearest", "linear", "cubic")
    transforms = (None, "half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric", "tf_crop_and_resize")
    roundings = (None, "round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
    scales = ((1, 1, 2, 2), (1, 1, 0.5, 0.5), (1, 1, 1.7, 0.6), (1, 1, 1, 3), (1, 1, 0.3, 2.5))
    sizes = ((7, 9), (3, 2), (4, 5), (1, 1), (8, 3))
    x = Arg(F32, (None, 2, 4, 5))
    empty = np.array([], F32)
    for opset in (10, 11, 13, 18, 19):
        for mode in modes:
            for transform in transforms:
                if opset == 10 and (transform or mode == "cubic") or transform == "half_pixel_symmetric" and opset < 19:
                    continue
                for rounding in roundings if mode == "nearest" and opset > 10 else (None,):
                    attrs = {"mode": mode, "coordinate_transformation_mode": transform, "nearest_mode": rounding}
                    roi = np.array([0, 0, 0.1, 0.2, 1, 1, 0.8, 0.9], F32) if transform == "tf_crop_and_resize" else (empty if opset == 11 else None)
                    for scale in scales:
                        args = [x, np.array(scale, F32)] if opset == 10 else [x, roi, np.array(scale, F32)]
                        yield summed(rng, "Resize", args, attrs, opset, kinds=("plain",), rows=(2,))
                    if opset == 10:
                        continue
                    for size in sizes:
                        # The rows' size stands among the sizes: only as tensors are.
                        args = [Arg(F32, (2, 2, 4, 5)), roi, empty if opset < 18 else None, np.array((2, 2, *size))]
                        yield summed(rng, "Resize", args, attrs, opset, kinds=("plain",), is_rows=False)
                        if opset >= 18 and transform != "tf_crop_and_resize":
                            for policy in (None, "not_larger", "not_smaller"):
                                yield summed(rng, "Resize", [x, None, None, np.array(size)],
                                             {**attrs, "axes": (2, 3), "keep_aspect_ratio_policy": policy}, opset, kinds=("plain",), rows=(2,))
        if opset == 10:
            continue
        for extra in ({"cubic_coeff_a": -0.5}, {"exclude_outside": 1}, {"exclude_outside": 1, "cubic_coeff_a": -0.5}):
            for transform in transforms[:5]:
                for scale in scales:
                    yield summed(rng, "Resize", [x, empty if opset == 11 else None, np.array(scale, F32)],
                                 {"mode": "cubic", "coordinate_transformation_mode": transform, **extra}, opset, kinds=("plain",), rows=(2,))
        for extrapolation in (None, 7.5):
            for mode in modes:
                yield summed(rng, "Resize", [x, np.array([0, 0, -0.2, 0.2, 1, 1, 1.3, 0.9], F32), np.array([1, 1, 2, 2], F32)],
                             {"mode": mode, "coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": extrapolation},
                             opset, kinds=("plain",), rows=(2,))
    for mode in ("linear", "cubic"):
        for scale in scales[1:]:
            yield summed(rng, "Resize", [x, None, np.array(scale, F32)], {"mode": mode, "antialias": 1}, 18, kinds=("plain",), rows=(2,))
    for dtype in (np.uint8, np.int8, np.int32, F64, F16):
        for mode in modes[:2]:
            for scale in scales[:3]:
                yield summed(rng, "Resize", [Arg(dtype, (None, 2, 4, 5)), None, np.array(scale, F32)], {"mode": mode}, 13, kinds=("plain",), rows=(2,))
    for dims, scale in (((6,), (1, 1, 2)), ((3, 4, 5), (1, 1, 2, 1, 0.5)), ((4, 4), (1, 1, 1, 1))):
        for mode in modes[:2]:
            yield summed(rng, "Resize", [Arg(F32, (None, 2, *dims)), None, np.array(scale, F32)], {"mode": mode}, 13, kinds=("plain",), rows=(2,))
    for opset in (7, 9):
        for mode in (None, "nearest", "linear"):
            for scale in ((1, 1, 2, 2), (1, 1, 3, 1), (1, 1, 1.5, 2.2)):
                args, attrs = ([x], {"mode": mode, "scales": [float(each) for each in scale]}) if opset == 7 else ([x, np.array(scale, F32)], {"mode": mode})
                yield summed(rng, "Upsample", args, attrs, opset, kinds=("plain",), rows=(2,))


def samplers(rng):
    grid = lambda shape: Arg(F32, shape, "plain", lambda rng, shape: (rng.random(shape) * 2.6 - 1.3).astype(F32))
    for opset, modes in ((16, ("bilinear", "nearest", "bicubic")), (20, ("linear", "nearest", "cubic"))):
        for mode in (None, *modes):
            for padding in (None, "zeros", "border", "reflection"):
                for corners in (None, 1):
                    attrs = {"mode": mode, "padding_mode": padding, "align_corners": corners}
                    yield summed(rng, "GridSample", [Arg(F32, (None, 2, 4, 5)), grid((None, 3, 4, 2))], attrs, opset, kinds=("plain",))
                    if opset == 20 and mode != "cubic":
                        yield summed(rng, "GridSample", [Arg(F32, (None, 2, 3, 4, 5)), grid((None, 2, 3, 4, 3))], attrs, opset, kinds=("plain",))
    boxes = np.array([[0, 0, 4, 4], [1, 1, 3.5, 5], [2, 0.5, 6, 3], [0.2, 0.1, 0.3, 0.4]], F32)
    batch = np.array([0, 1, 0, 1], np.int64)
    for opset in (10, 16):
        for mode in ("avg", "max"):
            for ratio in (0, 1, 2):
                for scale in (1.0, 0.5):
                    for transform in ((None,) if opset == 10 else (None, "half_pixel", "output_half_pixel")):
                        attrs = {"mode": mode, "output_height": 3, "output_width": 2, "sampling_ratio": ratio, "spatial_scale": scale,
                                 "coordinate_transformation_mode": transform}
                        yield summed(rng, "RoiAlign", [Arg(F32, (2, 2, 7, 8), "plain"), boxes, batch], attrs, opset, is_rows=False, kinds=("plain",))
    yield single(rng, "RoiAlign", [Arg(F32, (2, 2, 7, 8), "plain"), boxes, batch], {}, 16, is_rows=False, kinds=("plain",))
    scores = lambda rng, shape: rng.random(shape).astype(F32)
    corners = lambda rng, shape: np.concatenate([rng.random((*shape[:-1], 2)), 1 + rng.random((*shape[:-1], 2))], -1).astype(F32)
    for opset in (10, 11):
        for center in (None, 1):
            for most in (None, 0, 2, 10):
                for overlap in (None, 0.3, 0.6):
                    for least in (None, 0.4):
                        args = [Arg(F32, (2, 6, 4), "plain", corners), Arg(F32, (2, 3, 6), "plain", scores)]
                        rest = [None if most is None else np.array([most]), None if overlap is None else np.array([overlap], F32),
                                None if least is None else np.array([least], F32)]
                        while rest and rest[-1] is None:
                            rest.pop()
                        yield single(rng, "NonMaxSuppression", args + rest, {"center_point_box": center}, opset, is_rows=False, kinds=("plain",))
    for opset in (18,):
        for attrs in ({}, {"pads": (1, 1, 1, 1)}, {"strides": (2, 2)}, {"dilations": (2, 1)}):
            image, block = np.array([5, 5]), np.array([2, 2])
            steps = [1 if key not in attrs else attrs[key] for key in ("strides", "dilations")]
            def count(axis):
                stride = attrs.get("strides", (1, 1))[axis]
                dilation = attrs.get("dilations", (1, 1))[axis]
                pad = attrs.get("pads", (0, 0, 0, 0))
                return (5 + pad[axis] + pad[axis + 2] - dilation - 1) // stride + 1
            yield single(rng, "Col2Im", [Arg(F32, (None, 8, count(0) * count(1))), image, block], attrs, opset, kinds=("plain",))


def graphs(rng):
    yield from convolutions(rng)
    yield from pools(rng)
    yield from resizes(rng)
    yield from samplers(rng)
