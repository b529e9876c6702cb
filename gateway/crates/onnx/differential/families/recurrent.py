"""LSTM, GRU and RNN, whole and by bytes, and loops."""
from graphs import *

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
STATES = {"LSTM": 2, "GRU": 1, "RNN": 1}
NAMES = ("Affine", "Relu", "LeakyRelu", "ThresholdedRelu", "Tanh", "ScaledTanh", "Sigmoid", "HardSigmoid", "Elu", "Softsign", "Softplus")
FUNCTIONS = {"LSTM": 3, "GRU": 2, "RNN": 1}


def unbounded(inputs, outputs):
    """Of functions that grow without bound, so that rounding grows with each step; Softplus overflows in ONNX Runtime."""
    scales, reason = one(inputs, outputs)
    if any((~(np.abs(out) < 1e15)).any() for out in outputs):
        reason = reason or "sums beyond 1e15 in a recurrent layer, where ONNX Runtime's functions overflow or cut"
        return [np.full(out.shape, np.nan) for out in outputs], reason
    return [scale * 30 for scale in scales], reason


def one(inputs, outputs):
    """Sums through several gates: rounding is relative to one. ONNX Runtime's gates cut what is not finite."""
    if any(value.dtype.kind == "f" and not np.isfinite(value).all() for value in inputs):
        return [np.full(out.shape, np.nan) for out in outputs], "NaN and infinity in a recurrent layer, which ONNX Runtime's gates cut to finite numbers"
    return [np.maximum(np.abs(np.nan_to_num(out.astype(F64), posinf=0, neginf=0)), 1) for out in outputs], ""


def net(rng, op, dtype=F32, direction="forward", bias=True, lengths=None, initial=(), peepholes=False, outputs=None, features=3,
        hidden=4, batch=None, time=5, opset=14, kinds=("plain",), rows=(1, 3), dynamic=False, layout=0, **attrs):
    """As `single`, with the time first: so no dimension is the rows, unless a Transpose puts it there."""
    ways = 2 if direction == "bidirectional" else 1
    gates = GATES[op]
    weight = lambda *shape: (rng.standard_normal(shape) * 0.5).astype(dtype)
    nodes, inputs, constants, names = [], [], {}, ["t"]
    if layout == 0:
        nodes.append(helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0, 2]))
    else:
        nodes.append(helper.make_node("Identity", ["x"], ["t"]))
    inputs.append(("x", dtype, (batch, time, features)))
    args = [Arg(dtype, (batch, time, features))]
    for name, value in (("w", weight(ways, gates * hidden, features)), ("r", weight(ways, gates * hidden, hidden)),
                        ("b", weight(ways, 2 * gates * hidden) if bias else None)):
        if value is None:
            names.append("")
            continue
        constants[name] = value
        names.append(name)
    if lengths:
        inputs.append(("l", np.int32, (batch,)))
        args.append(Arg(np.int32, (batch,), "plain", lambda rng, shape: rng.integers(0 if lengths == "any" else 1, time + 1, shape).astype(np.int32)))
        names.append("l")
    else:
        names.append("")
    for state in ("h", "c"):
        if state == "c" and op != "LSTM":
            continue
        if state not in initial:
            names.append("")
            continue
        dims = (batch, ways, hidden)
        inputs.append((state, dtype, dims))
        args.append(Arg(dtype, dims))
        if layout == 0:
            nodes.append(helper.make_node("Transpose", [state], [f"{state}t"], perm=[1, 0, 2]))
            names.append(f"{state}t")
        else:
            names.append(state)
    if peepholes:
        constants["p"] = weight(ways, 3 * hidden)
        names.append("p")
    while names[-1] == "":
        names.pop()
    attrs = {key: value for key, value in attrs.items() if value is not None}
    if layout:
        attrs["layout"] = layout
    wanted = outputs or ("y", "yh", "yc")[:1 + STATES[op]]
    outs = [name if name in wanted else "" for name in ("y", "yh", "yc")[:1 + STATES[op]]]
    while outs[-1] == "":
        outs.pop()
    nodes.append(helper.make_node(op, names, outs, hidden_size=hidden, direction=direction, **attrs))
    results = []
    for out in outs:
        if not out:
            continue
        if layout == 0:
            nodes.append(helper.make_node("Transpose", [out], [f"{out}o"], perm=[2, 0, 1, 3] if out == "y" else [1, 0, 2]))
        else:
            nodes.append(helper.make_node("Identity", [out], [f"{out}o"]))
        results.append(f"{out}o")
    model = model_of(nodes, inputs, results, constants, opset)
    shown = {"direction": direction, "bias": bias, "lengths": lengths, "initial": initial, "peepholes": peepholes, "outputs": wanted,
             "opset": opset, **attrs}
    note = " ".join(f"{key}={value}" for key, value in shown.items() if value)
    grows = not set(attrs.get("activations", ["Tanh"])) <= {"Tanh", "Sigmoid", "HardSigmoid", "Softsign"}
    feeds = feeds_of(rng, args, rows if batch is None else (0,), kinds)
    return Graph(op, f"{np.dtype(dtype).name} {note}", model, feeds, batch is None, unbounded if grows else one)


def layers(rng):
    for op in GATES:
        for direction in ("forward", "reverse", "bidirectional"):
            for bias in (True, False):
                for lengths in (None, "some", "any"):
                    for initial in ((), ("h",), ("h", "c")) if op == "LSTM" else ((), ("h",)):
                        for dtype in (F32, F64):
                            yield net(rng, op, dtype, direction, bias, lengths, initial)
                            if op == "GRU":
                                yield net(rng, op, dtype, direction, bias, lengths, initial, linear_before_reset=1)
                        if op == "LSTM":
                            yield net(rng, op, F32, direction, bias, lengths, initial, peepholes=True)
                            yield net(rng, op, F32, direction, bias, lengths, initial, input_forget=1)
            for wanted in (("y",), ("yh",), ("yc",), ("yh", "yc"), ("y", "yc")):
                if op != "LSTM" and "yc" in wanted:
                    continue
                yield net(rng, op, F32, direction, outputs=wanted)
            for clip in (0.1, 0.5, 2.0):
                yield net(rng, op, F32, direction, clip=clip, kinds=("plain", "large"))
                if op == "GRU":
                    yield net(rng, op, F32, direction, clip=clip, linear_before_reset=1)
                if op == "LSTM":
                    yield net(rng, op, F32, direction, clip=clip, peepholes=True)
            yield net(rng, op, F32, direction, kinds=("plain", "special", "large", "mixed"))
            yield net(rng, op, F32, direction, features=40, hidden=33, time=7)
            yield net(rng, op, F32, direction, time=1)
            yield net(rng, op, F32, direction, batch=3)
            yield net(rng, op, F32, direction, batch=1)
            yield net(rng, op, F32, direction, hidden=1, features=1)
            for opset in (7, 13, 14, 22):
                yield net(rng, op, F32, direction, opset=opset)
        for name in NAMES:
            for alpha, beta in ((None, None), (0.3, 0.7)):
                count = FUNCTIONS[op]
                takes_alpha = name in ("Affine", "LeakyRelu", "ThresholdedRelu", "ScaledTanh", "HardSigmoid", "Elu")
                takes_beta = name in ("Affine", "ScaledTanh", "HardSigmoid")
                if alpha is not None and not takes_alpha:
                    continue
                yield net(rng, op, F32, activations=[name] * count, kinds=("plain", "mixed"),
                          activation_alpha=[alpha] * count if alpha is not None else None,
                          activation_beta=[beta] * count if beta is not None and takes_beta else None)
        both = {"LSTM": ["Sigmoid", "Tanh", "Tanh", "HardSigmoid", "Softsign", "Relu"], "GRU": ["Sigmoid", "Tanh", "HardSigmoid", "Relu"],
                "RNN": ["Tanh", "Relu"]}[op]
        yield net(rng, op, F32, "bidirectional", activations=both)
        yield net(rng, op, F32, activations=[name.lower() for name in both[:FUNCTIONS[op]]])


def quantised(rng):
    for direction in ("forward", "reverse", "bidirectional"):
        ways = 2 if direction == "bidirectional" else 1
        for kind in (np.int8, np.uint8):
            for per_output in (False, True):
                for bias in (True, False):
                    for initial in (False, True):
                        features, hidden, time, batch = 3, 4, 5, 2
                        low, high = (-100, 100) if kind == np.int8 else (0, 255)
                        scales = (ways, 4 * hidden) if per_output else (ways,)
                        zero = (np.zeros(scales) if per_output else rng.integers(-3, 4, scales) + (128 if kind == np.uint8 else 0)).astype(kind)
                        if per_output and kind == np.uint8:
                            zero = np.full(scales, 128, kind)
                        constants = {"w": rng.integers(low, high, (ways, features, 4 * hidden)).astype(kind),
                                     "r": rng.integers(low, high, (ways, hidden, 4 * hidden)).astype(kind),
                                     "ws": (rng.random(scales) * 0.01 + 0.001).astype(F32), "wz": zero,
                                     "rs": (rng.random(scales) * 0.01 + 0.001).astype(F32), "rz": zero}
                        if bias:
                            constants["b"] = rng.standard_normal((ways, 8 * hidden)).astype(F32)
                        names = ["x", "w", "r", "b" if bias else "", "", "h" if initial else "", "c" if initial else "", "", "ws", "wz", "rs", "rz"]
                        inputs = [("x", F32, (time, batch, features))]
                        args = [Arg(F32, (time, batch, features))]
                        if initial:
                            for state in ("h", "c"):
                                inputs.append((state, F32, (ways, batch, hidden)))
                                args.append(Arg(F32, (ways, batch, hidden)))
                        node = helper.make_node("DynamicQuantizeLSTM", names, ["y", "yh", "yc"], domain="com.microsoft", hidden_size=hidden, direction=direction)
                        model = model_of([node], inputs, ["y", "yh", "yc"], constants, 17)
                        yield Graph("com.microsoft.DynamicQuantizeLSTM", f"{direction} {np.dtype(kind).name} per output {per_output} bias {bias} initial {initial}",
                                    model, feeds_of(rng, args, (0,), ("plain", "unit")), False, one)


def loops(rng):
    """Loop, Scan and If around a small body."""
    body = helper.make_graph(
        [helper.make_node("Add", ["s", "x_in"], ["s_out"]), helper.make_node("Identity", ["s_out"], ["each"])], "body",
        [value_info("s", F32, (3,)), value_info("x_in", F32, (3,))], [value_info("s_out", F32, (3,)), value_info("each", F32, (3,))])
    for direction in (0, 1):
        for out_direction in (0, 1):
            node = helper.make_node("Scan", ["s0", "x"], ["last", "all"], body=body, num_scan_inputs=1,
                                    scan_input_directions=[direction], scan_output_directions=[out_direction])
            for opset in (9, 11, 16):
                model = model_of([node], [("s0", F32, (3,)), ("x", F32, (4, 3))], ["last", "all"], {}, opset)
                yield Graph("Scan", f"opset {opset} {direction} {out_direction}", model,
                            feeds_of(rng, [Arg(F32, (3,)), Arg(F32, (4, 3))], (0,), ("plain", "small")), False)
    for axis in (0, 1, -1):
        node = helper.make_node("Scan", ["s0", "x"], ["last", "all"], body=body, num_scan_inputs=1, scan_input_axes=[axis % 2],
                                scan_output_axes=[axis])
        model = model_of([node], [("s0", F32, (3,)), ("x", F32, (4, 3) if axis == 0 else (3, 4))], ["last", "all"], {}, 13)
        yield Graph("Scan", f"axis {axis}", model,
                    feeds_of(rng, [Arg(F32, (3,)), Arg(F32, (4, 3) if axis == 0 else (3, 4))], (0,), ("plain",)), False)
    count = helper.make_graph(
        [helper.make_node("Add", ["v", "step"], ["v_out"]), helper.make_node("Identity", ["v_out"], ["each"]),
         helper.make_node("Identity", ["go"], ["go_out"])], "body",
        [value_info("i", np.int64, ()), value_info("go", BOOL, ()), value_info("v", F32, (2,))],
        [value_info("go_out", BOOL, ()), value_info("v_out", F32, (2,)), value_info("each", F32, (2,))])
    until = helper.make_graph(
        [helper.make_node("Add", ["v", "step"], ["v_out"]), helper.make_node("Identity", ["v_out"], ["each"]),
         helper.make_node("ReduceSum", ["v_out"], ["sum"], keepdims=0), helper.make_node("Less", ["sum", "bound"], ["go_out"])], "body",
        [value_info("i", np.int64, ()), value_info("go", BOOL, ()), value_info("v", F32, (2,))],
        [value_info("go_out", BOOL, ()), value_info("v_out", F32, (2,)), value_info("each", F32, (2,))])
    constants = {"step": np.array([1, 2], F32), "bound": np.array(10, F32)}
    for opset in (11, 13, 16):
        for trips in (0, 1, 4):
            for graph, name in ((count, "count"), (until, "until")):
                for wanted in (["last", "all"], ["last"]):
                    node = helper.make_node("Loop", ["m", "g", "v0"], ["last", "all"], body=graph)
                    model = model_of([node], [("v0", F32, (2,))], wanted, {**constants, "m": np.array(trips), "g": np.array(True)}, opset)
                    yield Graph("Loop", f"opset {opset} {name} {trips} {wanted}", model, feeds_of(rng, [Arg(F32, (2,))], (0,), ("plain", "small")), False)
    branch = lambda name, op: helper.make_graph([helper.make_node(op, ["x"], ["out"])], name, [], [value_info("out", F32, (None, 3))])
    for opset in (11, 13, 16, 19):
        node = helper.make_node("If", ["c"], ["y"], then_branch=branch("then", "Neg"), else_branch=branch("else", "Abs"))
        for known in (True, False):
            model = model_of([node], [("x", F32, (None, 3))], ["y"], {"c": np.array(known)}, opset)
            yield Graph("If", f"opset {opset} known {known}", model, feeds_of(rng, [Arg(F32, (None, 3))], (1, 3), ("plain", "mixed")))
        model = model_of([node], [("c", BOOL, ()), ("x", F32, (2, 3))], ["y"], {}, opset)
        yield Graph("If", f"opset {opset} open", model, feeds_of(rng, [Arg(BOOL, ()), Arg(F32, (2, 3))], (0,), ("plain",) * 4), False)


def graphs(rng):
    yield from layers(rng)
    yield from quantised(rng)
    yield from loops(rng)
