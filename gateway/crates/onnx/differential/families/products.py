"""MatMul, Gemm, Einsum, and layers as exports write them."""
from graphs import *

WHOLE = (np.int32, np.int64, np.uint32, np.uint64)


def matmul_scale(constants, order=None):
    def judge(inputs, outputs):
        every = iter(inputs)
        args = [np.abs((next(every) if value is None else value).astype(F64)) for value in constants]
        scale = np.matmul(args[0], args[1])
        return [np.where(np.isfinite(scale), scale, 1.0)], ""
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


def gemm_scale(constants, attrs):
    def judge(inputs, outputs):
        every = iter(inputs)
        args = [None if value is False else np.abs((next(every) if value is None else value).astype(F64)) for value in constants]
        one = args[0].T if attrs.get("transA") else args[0]
        other = args[1].T if attrs.get("transB") else args[1]
        alpha, beta = (1.0 if attrs.get(key) is None else abs(attrs[key]) for key in ("alpha", "beta"))
        scale = alpha * (one @ other) + (0 if args[2] is None else beta * args[2])
        return [np.where(np.isfinite(scale), scale, 1.0)], ""
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
            args = [np.abs((next(every) if value is None else value).astype(F64)) for value in known]
            try:
                scale = np.einsum(equation.replace(" ", ""), *args)
            except ValueError:
                return None, ""
            return [np.where(np.isfinite(scale), scale, 1.0)], ""
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
                if rows == kept and (equation.count(rows) == 2 or rows == ".") and shapes[0][0] and len(shapes) == 2:
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
                    hidden = np.abs(inputs[0].astype(F64)) @ np.abs(one.astype(F64)) + np.abs(bias.astype(F64))
                    scale = (hidden + 1) @ np.abs(other.astype(F64)) + np.abs(last.astype(F64)) + 1
                    return [np.where(np.isfinite(scale), scale, 1.0)], ""
                args = [Arg(dtype, (None, 5))]
                yield Graph("layers", f"{product} {op} {np.dtype(dtype)}", model, feeds_of(rng, args, (1, 3, 9), ("plain", "special", None)), judge=judge)


def fused(rng):
    """FusedMatMul, FusedGemm and the like of com.microsoft."""
    for dtype in (F32, F64, F16):
        for trans_a in (None, 1):
            for trans_b in (None, 1):
                for alpha in (None, 0.5):
                    args = [Arg(dtype, (2, 3, 3), "plain"), Arg(dtype, (2, 3, 3), "plain")]
                    yield single(rng, "FusedMatMul", args, dict(transA=trans_a, transB=trans_b, alpha=alpha), 17, "com.microsoft",
                                 is_rows=False, judge=lambda inputs, outputs: (100.0, ""))
