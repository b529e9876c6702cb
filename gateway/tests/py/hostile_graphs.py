"""ONNX graphs that no gateway should serve, and that should cost it nothing: written by hand, without the onnx package."""

import struct

FLOAT, INT64, STRING = 1, 7, 8


def varint(number):
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)



def field(number, value):
    """One field of a message: a number, bytes or text; a list is a repeated field."""
    if isinstance(value, list):
        return b"".join(field(number, one) for one in value)
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, str):
        value = value.encode()
    return varint(number << 3 | 2) + varint(len(value)) + value


def tensor(name, dims, kind=FLOAT, raw=b"", extra=b""):
    return field(1, list(dims)) + field(2, kind) + field(8, name) + (field(9, raw) if raw else b"") + extra


def ints(name, *values):
    return tensor(name, [len(values)], INT64, struct.pack(f"<{len(values)}q", *values))


def scalar(name, value, kind=INT64):
    return tensor(name, [], kind, struct.pack("<q" if kind == INT64 else "<f", value))


def attribute(name, value):
    """Of an operator: a number, a list of them, text, or bytes for a tensor; `graph` marks a subgraph."""
    if isinstance(value, tuple):
        return field(1, name) + field(6, value[0]) + field(20, 5)
    if isinstance(value, float):
        return field(1, name) + varint(2 << 3 | 5) + struct.pack("<f", value) + field(20, 1)
    if isinstance(value, int):
        return field(1, name) + field(3, value) + field(20, 2)
    if isinstance(value, str):
        return field(1, name) + field(4, value) + field(20, 3)
    if isinstance(value, bytes):
        return field(1, name) + field(5, value) + field(20, 4)
    if value and isinstance(value[0], str):
        return field(1, name) + field(9, value) + field(20, 8)
    if value and isinstance(value[0], float):
        packed = struct.pack(f"<{len(value)}f", *value)
        return field(1, name) + field(7, packed) + field(20, 6)
    return field(1, name) + field(8, list(value)) + field(20, 7)


def node(kind, inputs, outputs, domain="", **attributes):
    parts = field(1, list(inputs)) + field(2, list(outputs)) + field(4, kind)
    parts += b"".join(field(5, attribute(name, value)) for name, value in attributes.items())
    return parts + (field(7, domain) if domain else b"")


def value(name, *dims, kind=FLOAT):
    shape = b"".join(field(1, field(2, dim) if isinstance(dim, str) else field(1, dim)) for dim in dims)
    return field(1, name) + field(2, field(1, field(1, kind) + field(2, shape)))


def body(nodes, inits=(), inputs=(), outputs=()):
    return field(1, list(nodes)) + field(2, "g") + field(5, list(inits)) + field(11, list(inputs)) + field(12, list(outputs))


def model(nodes, inits=(), inputs=None, outputs=None, opset=13, ml=False, extra=b""):
    inputs = [value("x", "N", 1)] if inputs is None else inputs
    outputs = [value("y", "N", 1)] if outputs is None else outputs
    domains = field(8, field(2, opset)) + (field(8, field(1, "ai.onnx.ml") + field(2, 3)) if ml else b"")
    return field(1, 8) + domains + field(7, body(nodes, inits, inputs, outputs)) + extra


IDENTITY = node("Identity", ["x"], ["y"])


def filled(side, dims=2):
    """`big`: as many ones as side^dims, of a shape that is computed."""
    return [node("Mul", ["a", "b"], ["s"]), node("ConstantOfShape", ["s"], ["big"], value=tensor("v", [1], FLOAT, struct.pack("<f", 1)))], [
        ints("a", *[side] * dims), ints("b", *[1] * dims)]


def constant():
    nodes, inits = filled(1 << 16)
    return model([*nodes, node("ReduceSum", ["big"], ["r"], keepdims=0), node("Add", ["x", "r"], ["y"])], inits)


def products():
    """A thousand products of constants."""
    nodes, inits = filled(4096)
    nodes += [node("MatMul", [f"m{i}" if i else "big", "big"], [f"m{i + 1}"]) for i in range(1000)]
    return model([*nodes, node("ReduceSum", ["m1000"], ["r"], keepdims=0), node("Add", ["x", "r"], ["y"])], inits)


def widened(kind, *inputs, inits, **attributes):
    """Each row becomes very wide, and narrow again."""
    nodes = [node(kind, ["x", *inputs], ["t"], **attributes), node("ReduceMax", ["t"], ["y"], axes=[1])]
    return model(nodes, inits)


def nested_ifs(depth=1500):
    inner = body([node("Identity", ["x"], ["o"])], outputs=[value("o", "N", 1)])
    for _ in range(depth):
        inner = body([node("If", ["c"], ["o"], then_branch=(inner,), else_branch=(body([node("Identity", ["x"], ["o"])], outputs=[value("o", "N", 1)]),))],
                     outputs=[value("o", "N", 1)])
    return model([node("If", ["c"], ["y"], then_branch=(inner,), else_branch=(inner,))], [tensor("c", [], 9, b"\1")])


def loop(grows):
    """A loop with a very large trip count; one that grows keeps what each round gives."""
    of_round = body(
        [node("Identity", ["go"], ["on"]), node("Add", ["v", "v"], ["w"])] + ([node("Identity", ["w"], ["kept"])] if grows else []),
        inputs=[value("i", kind=INT64), value("go", kind=9), value("v", "N", 1)],
        outputs=[value("on", kind=9), value("w", "N", 1)] + ([value("kept", "N", 1)] if grows else []),
    )
    outputs = ["y", "all"] if grows else ["y"]
    nodes = [node("Loop", ["n", "c", "x"], outputs, body=(of_round,))]
    declared = [value("y", "N", 1)] + ([value("all", "R", "N", 1)] if grows else [])
    return model(nodes, [scalar("n", 1 << 40), tensor("c", [], 9, b"\1")], outputs=declared)


def symbols(count=40):
    nodes = [node("Shape", ["x"], ["sh"]), node("Gather", ["sh", "zero"], ["d0"])]
    for i in range(count):
        nodes += [node("Add", [f"d{i}", "one"], [f"a{i}"]), node("Mul", [f"a{i}", f"d{i}"], [f"d{i + 1}"])]
    nodes += [node("Mod", [f"d{count}", "one"], ["m"]), node("Cast", ["m"], ["f"], to=1), node("Add", ["x", "f"], ["y"])]
    return model(nodes, [scalar("zero", 0), scalar("one", 1)])


def trees(nodes_of_tree, **changes):
    """A regressor of trees with these nodes: (feature, true branch, false branch)."""
    count = len(nodes_of_tree)
    attributes = {
        "nodes_treeids": [0] * count, "nodes_nodeids": list(range(count)), "nodes_featureids": [at[0] for at in nodes_of_tree],
        "nodes_values": [0.5] * count, "nodes_hitrates": [1.0] * count, "nodes_modes": ["BRANCH_LEQ"] * count,
        "nodes_truenodeids": [at[1] for at in nodes_of_tree], "nodes_falsenodeids": [at[2] for at in nodes_of_tree],
        "target_treeids": [0], "target_nodeids": [0], "target_ids": [0], "target_weights": [1.0], "n_targets": 1,
    }
    return model([node("TreeEnsembleRegressor", ["x"], ["y"], "ai.onnx.ml", **attributes | changes)], ml=True)


def external(path):
    entry = field(13, field(1, "location") + field(2, path))
    return model([node("Add", ["x", "w"], ["y"])], [tensor("w", [1], extra=entry + field(14, 1))])


def function_of_itself():
    call = node("Again", ["x"], ["y"], "own")
    function = field(1, "Again") + field(4, "x") + field(5, "y") + field(7, node("Again", ["x"], ["y"], "own")) + field(9, field(2, 13)) + field(10, "own")
    return model([call], extra=field(8, field(1, "own") + field(2, 1)) + field(25, function))


GRAPHS = {
    "text": lambda: b"not a graph",
    "empty": lambda: b"",
    "zeros": lambda: b"\0" * (1 << 20),
    "half": lambda: (whole := model([node("MatMul", ["x", "w"], ["y"])], [tensor("w", [1, 1], FLOAT, struct.pack("<f", 1))]))[: len(whole) // 2],
    "constant": constant,
    "products": products,
    "tile": lambda: widened("Tile", "n", inits=[ints("n", 1, 1 << 30)]),
    "expand": lambda: widened("Expand", "n", inits=[ints("n", 1, 1 << 34)]),
    "pad": lambda: widened("Pad", "n", inits=[ints("n", 0, 0, 0, 1 << 32)]),
    "range": lambda: model([node("Range", ["a", "b", "c"], ["r"]), node("ReduceSum", ["r"], ["s"], keepdims=0), node("Cast", ["s"], ["f"], to=1),
                            node("Add", ["x", "f"], ["y"])], [scalar("a", 0), scalar("b", 1 << 40), scalar("c", 1)]),
    "one-hot": lambda: model([node("Cast", ["x"], ["i"], to=7), node("OneHot", ["i", "d", "v"], ["o"]), node("ReduceSum", ["o", "ax"], ["y"], keepdims=0)],
                             [scalar("d", 1 << 36), tensor("v", [2], FLOAT, struct.pack("<2f", 0, 1)), ints("ax", 2)]),
    "nested-ifs": nested_ifs,
    "loop": lambda: loop(False),
    "growing-loop": lambda: loop(True),
    "symbols": symbols,
    "many-nodes": lambda: model([node("Neg", [f"v{i}" if i else "x"], [f"v{i + 1}"]) for i in range(300_000)] + [node("Identity", ["v300000"], ["z"])]),
    "cycle": lambda: model([node("Add", ["x", "b"], ["a"]), node("Add", ["a", "x"], ["b"]), node("Identity", ["b"], ["y"])]),
    "unknown-operator": lambda: model([node("Mine", ["x"], ["y"])]),
    "unknown-name": lambda: model([node("Add", ["x", "nothing"], ["y"])]),
    "no-outputs": lambda: model([IDENTITY], outputs=[]),
    "opset": lambda: model([IDENTITY, node("Mine", ["x"], ["z"])], opset=1 << 40, outputs=[value("y", "N", 1), value("z", "N", 1)]),
    "huge-dimension": lambda: model([node("Add", ["x", "w"], ["y"])], [tensor("w", [1 << 40, 1 << 40])]),
    "negative-dimension": lambda: model([node("Add", ["x", "w"], ["y"])], [tensor("w", [-7])]),
    "element-type": lambda: model([node("Add", ["x", "w"], ["y"])], [tensor("w", [1], 999, b"1234")]),
    "rank": lambda: model([node("Add", ["x", "w"], ["y"])], [tensor("w", [1] * 200_000, FLOAT, b"1234")]),
    "external-outside": lambda: external("../../../../../../etc/passwd"),
    "external-missing": lambda: external("nothing.bin"),
    "function-of-itself": function_of_itself,
    "tree-cycle": lambda: trees([(0, 1, 1), (0, 0, 0)]),
    "tree-features": lambda: trees([(1 << 40, 1, 2)], nodes_modes=["BRANCH_LEQ"]),
    "tree-lists": lambda: trees([(0, 1, 2)], target_ids=[0, 1 << 40, -1]),
    "kernel": lambda: model([node("Reshape", ["x", "s"], ["r"]), node("MaxPool", ["r"], ["p"], kernel_shape=[1 << 40]), node("Reshape", ["p", "t"], ["y"])],
                            [ints("s", -1, 1, 1), ints("t", -1, 1)]),
}
