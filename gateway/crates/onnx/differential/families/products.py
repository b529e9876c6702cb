"""MatMul, Gemm, Einsum, and layers as exports write them."""
from graphs import *

BEYOND = "sums whose terms are beyond the type: their order decides between infinity and NaN"


def bounded(scale_of, args, dtype):
    """The sum of the terms' magnitudes; where finite terms alone are beyond the type, any value will do."""
    sizes = [np.abs(arg.astype(F64)) for arg in args]
    scale = scale_of(*[np.where(np.isfinite(size), size, 0) for size in sizes])
    if np.dtype(dtype).kind != "f":
        # Einsum and Gemm of whole numbers: exact while the sums fit.
        beyond = scale > min(2.0 ** 53, float(np.iinfo(dtype).max))
        return ([np.where(beyond, np.nan, 1.0)], "sums of whole numbers beyond their type or 2^53") if np.any(beyond) else (None, "")
    if len(args) > 2 and dtype != F16 and np.prod([np.max(np.where(np.isfinite(size), size, 0), initial=1) for size in sizes]) > 1e37:
        return [np.full(scale.shape, np.nan)], BEYOND
    if dtype == F32:
        tiny = [np.where((size > 0) & (size < np.finfo(F32).tiny), 1.0, 0.0) for size in sizes]
        rest = [np.where(size == 0, 0.0, 1.0) for size in sizes]
        lost = sum(scale_of(*[tiny[at] if at == place else rest[at] for at in range(len(sizes))]) for place in range(len(sizes)))
        beyond = (lost > 0) | ~(scale < float(np.finfo(F32).max) / 2)
        if np.any(beyond):
            return [np.where(beyond, np.nan, scale)], BEYOND + "; denormal factors, which count as zero here"
        return [scale], ""
    beyond = ~(scale < float(np.finfo(F32 if dtype == F16 else dtype).max) / 2)
    if np.any(beyond):
        return [np.where(beyond, np.nan, scale)], BEYOND
    return [scale], ""


WHOLE = (np.int32, np.int64, np.uint32, np.uint64)


def matmul_scale(constants, order=None):
    def judge(inputs, outputs):
        every = iter(inputs)
        args = [next(every) if value is None else value for value in constants]
        return bounded(np.matmul, args, args[0].dtype.type)
    return judge


MATMULS = [((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 4)), ((2, 3), (3, 4)), ((5, 2, 3), (3, 4)), ((5, 2, 3), (5, 3, 4)),
           ((2, 3), (5, 3, 4)), ((5, 1, 2, 3), (4, 3, 2)), ((1, 1), (1, 1)), ((0, 3), (3, 4)), ((2, 0), (0, 4)), ((2, 3), (3, 0)),
           ((1, 70), (70, 33)), ((9, 40), (40, 17)), ((3,), (5, 3, 4)), ((5, 2, 3), (3,)), ((4, 1, 3), (1, 3, 2)), ((20, 64), (64, 64))]


def graphs(rng):
    for dtype in FLOATS + WHOLE + (np.int8, np.uint8):
        for one, other in MATMULS:
            for constant in (None, 0, 1):
                args = [Arg(dtype, one, "plain"), Arg(dtype, other, "plain")]
                known = [None, None]
                if constant is not None:
                    args[constant] = known[constant] = draw(rng, dtype, (one, other)[constant], "plain")
                for opset in (7, 9, 13) if dtype == F32 else (13,):
                    yield single(rng, "MatMul", args, {}, opset, is_rows=False, judge=matmul_scale(known))
            args = [Arg(dtype, one), Arg(dtype, other)]
            yield single(rng, "MatMul", args, {}, 13, is_rows=False, judge=matmul_scale([None, None]))
        for dims, other in (((None, 3), (3, 4)), ((None, 2, 3), (3, 4)), ((None, 2, 3), (1, 3, 4)), ((None, 3), (3,)), ((None, 40), (40, 33))):
            weights = draw(rng, dtype, other, "plain")
            yield single(rng, "MatMul", [Arg(dtype, dims), weights], {}, 13, judge=matmul_scale([None, weights]), rows=(1, 3, 7),
                         kinds=("plain", "special", "large", None))
        yield single(rng, "MatMul", [Arg(dtype, (None, 2, 3)), Arg(dtype, (None, 3, 2))], {}, 13, judge=matmul_scale([None, None]))
    yield from gemm(rng)
    yield from einsum(rng)
    yield from layers(rng)
    yield from fused(rng)
    yield from convolved(rng)


def gemm_scale(constants, attrs):
    def judge(inputs, outputs):
        every = iter(inputs)
        args = [next(every) if value is None else value for value in constants if value is not False]
        alpha, beta = (1.0 if attrs.get(key) is None else abs(attrs[key]) for key in ("alpha", "beta"))

        def scale_of(one, other, bias=0.0):
            return max(alpha, 1) * ((one.T if attrs.get("transA") else one) @ (other.T if attrs.get("transB") else other)) + max(beta, 1) * bias
        return bounded(scale_of, args, args[0].dtype.type)
    return judge


def gemm(rng):
    for dtype in FLOATS + (np.int32, np.uint32):
        floats = np.dtype(dtype).kind == "f"
        for trans_a in (None, 1):
            for trans_b in (None, 1):
                for alpha, beta in ((None, None), (0.5, None), (None, 2.0), (2.0, 0.5), (None, 0.0), (0.0, None)) if floats else ((None, None),):
                    attrs = dict(transA=trans_a, transB=trans_b, alpha=alpha, beta=beta)
                    shape = (4, 3) if trans_b else (3, 4)
                    weights = draw(rng, dtype, shape, "plain")
                    for bias in (None, (), (1,), (4,), (1, 4), (1, 1)):
                        value = None if bias is None else draw(rng, dtype, bias, "plain")
                        known = [None, weights, False if bias is None else value]
                        if not trans_a:
                            args = [Arg(dtype, (None, 3)), weights] + ([] if bias is None else [value])
                            yield single(rng, "Gemm", args, attrs, 13 if bias is not None else 11, judge=gemm_scale(known, attrs),
                                         note=f"bias {bias}")
                        first = (3, 2) if trans_a else (2, 3)
                        args = [Arg(dtype, first, "plain"), Arg(dtype, shape, "plain")] + ([] if bias is None else [Arg(dtype, bias, "plain")])
                        known = [None, None, False if bias is None else None]
                        yield single(rng, "Gemm", args, attrs, 13 if bias is not None else 11, judge=gemm_scale(known, attrs), is_rows=False)
                    for bias in ((2, 1), (2, 4)):
                        first = (3, 2) if trans_a else (2, 3)
                        args = [Arg(dtype, first), Arg(dtype, shape), Arg(dtype, bias)]
                        yield single(rng, "Gemm", args, attrs, 13, judge=gemm_scale([None] * 3, attrs), is_rows=False)
        for opset in (7, 9, 11):
            weights, bias = draw(rng, dtype, (3, 4), "plain"), draw(rng, dtype, (4,), "plain")
            yield single(rng, "Gemm", [Arg(dtype, (None, 3)), weights, bias], {}, opset, judge=gemm_scale([None, weights, bias], {}))


EQUATIONS = [
    ("ij,jk->ik", [(2, 3), (3, 4)]), ("ij,jk", [(2, 3), (3, 4)]), ("bij,bjk->bik", [(2, 2, 3), (2, 3, 2)]),
    ("bij,bkj->bik", [(2, 2, 3), (2, 4, 3)]), ("i,i->", [(3,), (3,)]), ("i,j->ij", [(3,), (2,)]), ("ij->ji", [(2, 3)]), ("ij->", [(2, 3)]),
    ("ij->i", [(2, 3)]), ("ii->i", [(3, 3)]), ("ii->", [(3, 3)]), ("...i,ij->...j", [(2, 3, 4), (4, 2)]), ("...ij,...jk->...ik", [(2, 2, 3), (2, 3, 2)]),
    ("...ij,...jk->...ik", [(2, 3), (5, 3, 2)]), ("...ii->...i", [(2, 3, 3)]), ("bhid,bhjd->bhij", [(1, 2, 3, 4), (1, 2, 3, 4)]),
    ("bhij,bhjd->bhid", [(1, 2, 3, 3), (1, 2, 3, 4)]), ("bid,bjd->bij", [(2, 3, 4), (2, 3, 4)]), ("ij,ij->ij", [(2, 3), (2, 3)]),
    ("ij,ij->i", [(2, 3), (2, 3)]), ("ijk,k->ij", [(2, 3, 4), (4,)]), ("i,ij,j->", [(2,), (2, 3), (3,)]), ("ij,jk,kl->il", [(2, 3), (3, 2), (2, 4)]),
    (" i j , j k -> i k ", [(2, 3), (3, 4)]), ("ba", [(2, 3)]), ("bca->abc", [(2, 3, 4)]), ("...->...", [(2, 3)]), ("...j,...j->...", [(2, 3), (2, 3)]),
    ("ij,kl->ijkl", [(2, 3), (2, 2)]), ("nlhc,hcd->nld", [(2, 3, 2, 2), (2, 2, 3)]), ("ab,cd->ba", [(2, 3), (2, 2)]), ("Ij,jK->IK", [(2, 3), (3, 2)]),
    ("bn,anm,bm->ba", [(2, 3), (2, 3, 2), (2, 2)]), ("a...b->...", [(2, 3, 2)]), ("ij,j->ij", [(2, 3), (1,)]), ("bi,bi->b", [(3, 40), (3, 40)]),
    ("...i,ij->...j", [(4,), (4, 2)]), ("i...->...", [(3, 2)]), ("i->ii", [(3,)]), ("ij,jk->ik", [(0, 3), (3, 4)]),
]


def einsum(rng):
    def judge_of(equation, known):
        def judge(inputs, outputs):
            every = iter(inputs)
            args = [next(every) if value is None else value for value in known]
            if equation.startswith("ab,cd") and not all(np.isfinite(arg.astype(F64)).all() for arg in args):
                return [np.full(outputs[0].shape, np.nan)], BEYOND
            try:
                return bounded(lambda *sizes: np.einsum(equation.replace(" ", ""), *sizes), args, args[0].dtype.type)
            except ValueError:
                return None, ""
        return judge
    for equation, shapes in EQUATIONS:
        for dtype in FLOATS + (np.int32, np.int64):
            args = [Arg(dtype, shape) for shape in shapes]
            yield single(rng, "Einsum", args, dict(equation=equation), 12, is_rows=False, judge=judge_of(equation, [None] * len(shapes)))
            if len(shapes) > 1:
                last = draw(rng, dtype, shapes[-1], "plain")
                yield single(rng, "Einsum", [*args[:-1], last], dict(equation=equation), 12, is_rows=False,
                             judge=judge_of(equation, [None] * (len(shapes) - 1) + [last]))
                kept = equation.replace(" ", "").split("->")[-1][:1]
                rows = equation.replace(" ", "")[:1]
                if rows == kept and not equation.startswith("...") and (equation.count(rows) == 2 or rows == ".") and shapes[0][0] and len(shapes) == 2:
                    yield single(rng, "Einsum", [Arg(dtype, (None, *shapes[0][1:])), last], dict(equation=equation), 12,
                                 judge=judge_of(equation, [None, last]))


ENDS = ["Relu", "Sigmoid", "Tanh", "LeakyRelu", "Elu", "HardSigmoid", "HardSwish", "Softplus", "Softmax", "LogSoftmax", "Selu", "Gelu"]


def layers(rng):
    """Two layers with an activation between and after them, as networks are exported."""
    for op in ENDS:
        for dtype in (F32, F64, F16):
            for product in ("Gemm", "MatMul"):
                one, other = draw(rng, dtype, (5, 8), "plain"), draw(rng, dtype, (8, 3), "plain")
                bias, last = draw(rng, dtype, (8,), "plain"), draw(rng, dtype, (3,), "plain")
                if product == "Gemm":
                    nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["h"]), helper.make_node(op, ["h"], ["a"]),
                             helper.make_node("Gemm", ["a", "v", "c"], ["o"]), helper.make_node(op, ["o"], ["y"])]
                else:
                    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Add", ["h", "b"], ["g"]),
                             helper.make_node(op, ["g"], ["a"]), helper.make_node("MatMul", ["a", "v"], ["o"]),
                             helper.make_node("Add", ["o", "c"], ["p"]), helper.make_node(op, ["p"], ["y"])]
                model = model_of(nodes, [("x", dtype, (None, 5))], ["y"], dict(w=one, b=bias, v=other, c=last), 20)

                def judge(inputs, outputs, one=one, other=other, bias=bias, last=last):
                    def scale_of(x):
                        hidden = x @ np.abs(one.astype(F64)) + np.abs(bias.astype(F64))
                        return 4 * ((hidden + 1) @ np.abs(other.astype(F64)) + np.abs(last.astype(F64)) + 1)
                    scale, reason = bounded(scale_of, inputs, inputs[0].dtype.type)
                    if inputs[0].dtype == F16 and np.any(scale[0] > 6e4):
                        return [np.where(scale[0] > 6e4, np.nan, scale[0])], "halves beyond their type between two operators: ONNX Runtime keeps singles there"
                    return scale, reason
                args = [Arg(dtype, (None, 5))]
                yield Graph("layers", f"{product} {op} {np.dtype(dtype)}", model, feeds_of(rng, args, (1, 3, 9), ("plain", "special", None)), judge=judge)


def convolved(rng):
    """Convolutions with what follows them in networks, with which runtimes make them one."""
    for op, args in (("Relu", []), ("Clip", ["low", "high"]), ("LeakyRelu", []), ("HardSwish", []), ("Sigmoid", []), ("Max", ["low"]), ("Min", ["high"]), ("Mul", ["zero"])):
        for dims, kernel, group in (((None, 2, 6), (3, 2, 3), 1), ((None, 2, 4, 4), (4, 2, 3, 3), 1), ((None, 2, 4, 4), (2, 1, 3, 3), 2)):
            for norm in (False, True):
                weights = dict(w=draw(rng, F32, kernel, "plain"), b=draw(rng, F32, kernel[:1], "plain"), low=F32(-1), high=F32(6), zero=F32(0))
                weights |= {f"n{at}": draw(rng, F32, kernel[:1], "positive") for at in range(4)}
                nodes = [helper.make_node("Conv", ["x", "w", "b"], ["c"], group=group)]
                last = "c"
                if norm:
                    nodes.append(helper.make_node("BatchNormalization", ["c", "n0", "n1", "n2", "n3"], ["n"]))
                    last = "n"
                nodes += [helper.make_node(op, [last, *args], ["a"]), helper.make_node("Add", ["a", "high"], ["y"])]
                used = {name for node in nodes for name in node.input}
                model = model_of(nodes, [("x", F32, dims)], ["y"], {name: value for name, value in weights.items() if name in used}, 17)

                def judge(inputs, outputs):
                    top = np.max(np.abs(np.where(np.isfinite(inputs[0]), inputs[0], 0)).astype(F64), initial=1.0) * 1e2
                    return (top, "") if top < 1e25 else ([np.full(out.shape, np.nan) for out in outputs], BEYOND)
                feeds = feeds_of(rng, [Arg(F32, dims)], (1, 3), ("plain", "small"))
                for _ in range(2):
                    values = draw(rng, F32, sized(dims, 2), "plain")
                    values.ravel()[rng.integers(0, values.size, 3)] = np.array([np.nan, np.inf, -np.inf], F32)
                    feeds.append(Feed([values]))
                yield Graph("Conv, then", f"{op} {dims} group={group} norm={norm}", model, feeds, judge=judge)


def fused(rng):
    """FusedMatMul, FusedGemm and the like of com.microsoft."""
    for dtype in (F32, F64, F16):
        for trans_a in (None, 1):
            for trans_b in (None, 1):
                for alpha in (None, 0.5):
                    args = [Arg(dtype, (2, 3, 3), "plain"), Arg(dtype, (2, 3, 3), "plain")]
                    yield single(rng, "FusedMatMul", args, dict(transA=trans_a, transB=trans_b, alpha=alpha), 17, "com.microsoft",
                                 is_rows=False, judge=lambda inputs, outputs: (100.0, ""))
