"""Transformers of numbers: scalers, bins, splines, projections."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from .apart import squared
from .build import Graph
from .columns import Col, Context, spread

Floats = npt.NDArray[np.float64]


def _row(values: Any) -> Floats:
    return np.atleast_2d(np.asarray(values, np.float64))


def standard(step: Any, cols: list[Col], context: Context) -> list[Col]:
    """StandardScaler."""
    mean = step.mean_ if step.with_mean else None
    return _scaled(context, step, cols, mean, step.scale_ if step.with_std else None)


def robust(step: Any, cols: list[Col], context: Context) -> list[Col]:
    """RobustScaler."""
    center = step.center_ if step.with_centering else None
    return _scaled(context, step, cols, center, step.scale_ if step.with_scaling else None)


def _scaled(context: Context, step: Any, cols: list[Col], center: Any, scale: Any) -> list[Col]:
    graph = context.graph
    matrix = context.matrix(cols, step)
    if center is not None:
        matrix = rounded(graph, cols, graph.op("Sub", matrix, graph.constant(_row(center))))
    if scale is not None:
        matrix = rounded(graph, cols, graph.op("Div", matrix, graph.constant(_row(scale))))
    return kept(cols, matrix, single(cols))


def single(cols: list[Col]) -> bool:
    """Whether the columns together are single floats, with which scikit-learn's scalers compute then."""
    return bool(cols) and all(col.dtype == "float32" for col in cols)


def rounded(graph: Graph, cols: list[Col], matrix: str) -> str:
    """The matrix as single floats where the columns are such."""
    return graph.double(graph.cast(matrix, TensorProto.FLOAT)) if single(cols) else matrix


def kept(cols: list[Col], matrix: str, narrow: bool = False) -> list[Col]:
    """The same columns with other values."""
    return [col.number(matrix, place, dtype="float32" if narrow else "") for place, col in enumerate(cols)]


def min_max(step: Any, cols: list[Col], context: Context) -> list[Col]:
    """MinMaxScaler."""
    graph = context.graph
    matrix = rounded(graph, cols, graph.op("Mul", context.matrix(cols, step), graph.constant(_row(step.scale_))))
    matrix = rounded(graph, cols, graph.op("Add", matrix, graph.constant(_row(step.min_))))
    if step.clip:
        matrix = clipped(graph, matrix, *step.feature_range)
    return kept(cols, matrix, single(cols))


def clipped(graph: Graph, matrix: str, low: float | None, high: float | None) -> str:
    """Within bounds; NaN stays NaN, which the operators of engines do not agree on."""
    if low is not None:
        limit = graph.constant([[float(low)]])
        matrix = graph.where(graph.op("Less", matrix, limit), limit, matrix)
    if high is not None:
        limit = graph.constant([[float(high)]])
        matrix = graph.where(graph.op("Greater", matrix, limit), limit, matrix)
    return matrix


def max_abs(step: Any, cols: list[Col], context: Context) -> list[Col]:
    """MaxAbsScaler."""
    matrix = context.graph.op("Div", context.matrix(cols, step), context.graph.constant(_row(step.scale_)))
    matrix = rounded(context.graph, cols, matrix)
    if getattr(step, "clip", False):
        matrix = clipped(context.graph, matrix, -1.0, 1.0)
    return kept(cols, matrix, single(cols))


def normalizer(step: Any, cols: list[Col], context: Context) -> list[Col]:
    """Normalizer: each row by its own length."""
    graph = context.graph
    matrix = context.matrix(cols, step)
    if step.norm == "l2":
        size = graph.op("Sqrt", graph.sum(graph.op("Mul", matrix, matrix)))
    elif step.norm == "l1":
        size = graph.sum(graph.op("Abs", matrix))
    else:
        size = graph.op("ReduceMax", graph.op("Abs", matrix), axes=[1], keepdims=1)
    zero = graph.op("Equal", size, graph.constant([[0.0]]))
    return kept(cols, graph.op("Div", matrix, graph.where(zero, graph.constant([[1.0]]), size)))


def binarizer(step: Any, cols: list[Col], context: Context) -> list[Col]:
    """Binarizer."""
    graph = context.graph
    test = graph.op("Greater", context.matrix(cols, step), graph.constant([[float(step.threshold)]]))
    return kept(cols, graph.double(test))


def bins(step: Any, cols: list[Col], context: Context) -> list[Col]:
    """KBinsDiscretizer."""
    graph = context.graph
    context.matrix(cols, step)
    made: list[Col] = []
    for place, col in enumerate(cols):
        inner = np.asarray(step.bin_edges_[place], np.float64)[1:-1]
        value = context.matrix([col])
        if len(inner):
            reached = graph.op("GreaterOrEqual", value, graph.constant([inner]))
            bin_ = graph.sum(graph.double(reached))
        else:
            bin_ = graph.op("Mul", value, graph.constant([[0.0]]))
        if step.encode == "ordinal":
            made.append(col.number(bin_))
            continue
        count = int(step.n_bins_[place])
        hot = graph.double(graph.op("Equal", bin_, graph.constant([np.arange(count, dtype=float)])))
        made += [col.number(hot, at) for at in range(count)]
    return made


def power(step: Any, cols: list[Col], context: Context) -> list[Col]:
    """PowerTransformer."""
    graph = context.graph
    matrix = context.matrix(cols, step)
    change = yeo_johnson if step.method == "yeo-johnson" else box_cox
    parts = [change(graph, graph.gather(matrix, [at]), float(value)) for at, value in enumerate(step.lambdas_)]
    made = kept(cols, graph.concat(parts))
    return standard(step._scaler, made, context) if step.standardize else made


def yeo_johnson(graph: Graph, x: str, power: float) -> str:
    """The power transformation of any number."""
    one, zero = graph.constant([[1.0]]), graph.constant([[0.0]])
    positive = graph.op("GreaterOrEqual", x, zero)
    # Each side is computed for all rows, so that the other side's are put where it is defined.
    above = graph.op("Add", graph.where(positive, x, zero), one)
    below = graph.op("Sub", one, graph.where(positive, zero, x))
    return graph.where(positive, _powered(graph, above, power), graph.op("Neg", _powered(graph, below, 2 - power)))


def box_cox(graph: Graph, x: str, power: float) -> str:
    """The power transformation of positive numbers."""
    return _powered(graph, x, power)


def _powered(graph: Graph, x: str, power: float) -> str:
    """`(x ** power - 1) / power`, or the logarithm at its limit."""
    log = graph.op("Log", x)
    if abs(power) < np.spacing(1.0):
        return log
    grown = graph.op("Exp", graph.op("Mul", log, graph.constant([[power]])))
    return graph.op("Div", graph.op("Sub", grown, graph.constant([[1.0]])), graph.constant([[power]]))


def quantile(step: Any, cols: list[Col], context: Context) -> list[Col]:
    """QuantileTransformer."""
    graph = context.graph
    matrix = context.matrix(cols, step)
    parts = []
    for place in range(len(cols)):
        x = graph.gather(matrix, [place])
        known = np.asarray(step.quantiles_[:, place], np.float64)
        marks = np.asarray(step.references_, np.float64)
        up = interpolated(graph, x, known, marks)
        down = interpolated(graph, graph.op("Neg", x), -known[::-1], -marks[::-1])
        middle = graph.op("Mul", graph.op("Sub", up, down), graph.constant([[0.5]]))
        low, high = graph.constant([[known[0]]]), graph.constant([[known[-1]]])
        if step.output_distribution == "normal":
            tiny = 1e-7
            first, last = graph.op("Less", graph.op("Sub", x, graph.constant([[tiny]])), low), graph.op(
                "Greater", graph.op("Add", x, graph.constant([[tiny]])), high
            )
        else:
            first, last = graph.op("Equal", x, low), graph.op("Equal", x, high)
        middle = graph.where(last, graph.constant([[1.0]]), middle)
        middle = graph.where(first, graph.constant([[0.0]]), middle)
        if step.output_distribution == "normal":
            from scipy.stats import norm

            end = norm.ppf(1e-7 - np.spacing(1)), norm.ppf(1 - (1e-7 - np.spacing(1)))
            middle = clipped(graph, normal_quantile(graph, middle), float(end[0]), float(end[1]))
        parts.append(middle)
    return kept(cols, graph.concat(parts))


def interpolated(graph: Graph, x: str, points: Floats, values: Floats) -> str:
    """`np.interp`: between the neighbours in a table, and its ends outside of it."""
    reached = graph.sum(graph.double(graph.op("GreaterOrEqual", x, graph.constant([points]))))
    last = len(points) - 1
    place = graph.cast(clipped(graph, graph.op("Sub", reached, graph.constant([[1.0]])), 0.0, float(max(last - 1, 0))), 7)
    with np.errstate(divide="ignore", invalid="ignore"):
        slopes = np.diff(values) / np.diff(points)
    slopes = np.where(np.isfinite(slopes), slopes, 0.0) if last else np.zeros(1)
    start = graph.op("Gather", graph.constant(points), place, axis=0)
    base = graph.op("Gather", graph.constant(values), place, axis=0)
    slope = graph.op("Gather", graph.constant(slopes), place, axis=0)
    made = graph.op("Add", graph.op("Mul", slope, graph.op("Sub", x, start)), base)
    made = graph.where(graph.op("LessOrEqual", x, graph.constant([[points[0]]])), graph.constant([[values[0]]]), made)
    # At a run of equal first points np.interp gives the value of the last one.
    equal = int(np.sum(points == points[0])) - 1
    if equal:
        first = graph.op("Equal", x, graph.constant([[points[0]]]))
        made = graph.where(first, graph.constant([[values[min(equal, last)]]]), made)
    made = graph.where(graph.op("GreaterOrEqual", x, graph.constant([[points[-1]]])), graph.constant([[values[-1]]]), made)
    return graph.where(graph.op("IsNaN", x), x, made)


def normal_quantile(graph: Graph, p: str) -> str:
    """The inverse of the normal distribution's function: Wichura's algorithm AS 241."""
    middle = (
        (2.50908_09287_30122_6727e3, 3.34305_75583_58812_8105e4, 6.72657_70927_00870_0853e4, 4.59219_53931_54987_1457e4,
         1.37316_93765_50946_1125e4, 1.97159_09503_06551_4427e3, 1.33141_66789_17843_7745e2, 3.38713_28727_96366_6080e0),
        (5.22649_52788_52854_5610e3, 2.87290_85735_72194_2674e4, 3.93078_95800_09271_0610e4, 2.12137_94301_58659_5867e4,
         5.39419_60214_24751_1077e3, 6.87187_00749_20579_0830e2, 4.23133_30701_60091_1252e1, 1.0),
    )
    near = (
        (7.74545_01427_83414_07640e-4, 2.27238_44989_26918_45833e-2, 2.41780_72517_74506_11770e-1,
         1.27045_82524_52368_38258e0, 3.64784_83247_63204_60504e0, 5.76949_72214_60691_40550e0,
         4.63033_78461_56545_29590e0, 1.42343_71107_49683_57734e0),
        (1.05075_00716_44416_84324e-9, 5.47593_80849_95344_94600e-4, 1.51986_66563_61645_71966e-2,
         1.48103_97642_74800_74590e-1, 6.89767_33498_51000_04550e-1, 1.67638_48301_83803_84940e0,
         2.05319_16266_37758_82187e0, 1.0),
    )
    far = (
        (2.01033_43992_92288_13265e-7, 2.71155_55687_43487_57815e-5, 1.24266_09473_88078_43860e-3,
         2.65321_89526_57612_30930e-2, 2.96560_57182_85048_91230e-1, 1.78482_65399_17291_33580e0,
         5.46378_49111_64114_36990e0, 6.65790_46435_01103_77720e0),
        (2.04426_31033_89939_78564e-15, 1.42151_17583_16445_88870e-7, 1.84631_83175_10054_68180e-5,
         7.86869_13114_56132_59100e-4, 1.48753_61290_85061_48525e-2, 1.36929_88092_27358_05310e-1,
         5.99832_20655_58879_37690e-1, 1.0),
    )  # fmt: skip

    def number(value: float) -> str:
        return graph.constant([[value]])

    def ratio(r: str, both: Any) -> str:
        sums = []
        for terms in both:
            total = number(terms[0])
            for term in terms[1:]:
                total = graph.op("Add", graph.op("Mul", total, r), number(term))
            sums.append(total)
        return graph.op("Div", *sums)

    q = graph.op("Sub", p, number(0.5))
    r = graph.op("Sub", number(0.180625), graph.op("Mul", q, q))
    inner = graph.op("Mul", q, ratio(r, middle))
    negative = graph.op("Less", q, number(0.0))
    tail = graph.where(negative, p, graph.op("Sub", number(1.0), p))
    tail = clipped(graph, tail, 1e-300, None)
    root = graph.op("Sqrt", graph.op("Neg", graph.op("Log", tail)))
    close = ratio(graph.op("Sub", root, number(1.6)), near)
    distant = ratio(graph.op("Sub", root, number(5.0)), far)
    outer = graph.where(graph.op("LessOrEqual", root, number(5.0)), close, distant)
    outer = graph.where(negative, graph.op("Neg", outer), outer)
    return graph.where(graph.op("LessOrEqual", graph.op("Abs", q), number(0.425)), inner, outer)


def polynomial(step: Any, cols: list[Col], context: Context) -> list[Col]:
    """PolynomialFeatures: products of columns."""
    graph = context.graph
    matrix = context.matrix(cols, step)
    powers = step.powers_
    factors = [[at for at, times in enumerate(row) for _ in range(int(times))] for row in powers]
    most = max(map(len, factors), default=0)
    one = graph.op("Add", graph.op("Mul", graph.gather(graph.where(graph.op("IsNaN", matrix), graph.constant([[0.0]]), matrix), [0]), graph.constant([[0.0]])), graph.constant([[1.0]]))
    wide = graph.concat([matrix, one])
    made = graph.gather(wide, [(row + [len(cols)])[0] for row in factors])
    for level in range(1, most):
        made = graph.op("Mul", made, graph.gather(wide, [row[level] if level < len(row) else len(cols) for row in factors]))
    return spread(cols, made, len(factors))


def splines(step: Any, cols: list[Col], context: Context) -> list[Col]:
    """SplineTransformer: each interval between knots has a polynomial for each spline."""
    from scipy.interpolate import BSpline, PPoly

    graph = context.graph
    matrix = context.matrix(cols, step)
    made: list[Col] = []
    for place, (col, fitted) in enumerate(zip(cols, step.bsplines_, strict=True)):
        x = graph.gather(matrix, [place])
        degree = fitted.k
        spline = BSpline(fitted.t, np.asarray(fitted.c, np.float64), degree)
        width = spline.c.shape[1]
        low, high = float(fitted.t[degree]), float(fitted.t[-degree - 1])
        each = [PPoly.from_spline((fitted.t, column, degree)) for column in spline.c.T]
        breaks, coefficients = each[0].x, np.stack([one.c for one in each], axis=2)
        knots = np.unique(fitted.t[degree : len(fitted.t) - degree])
        mode = step.extrapolation
        if mode == "periodic":
            turns = graph.op("Floor", graph.op("Div", graph.op("Sub", x, graph.constant([[low]])), graph.constant([[high - low]])))
            x = graph.op("Sub", x, graph.op("Mul", turns, graph.constant([[high - low]])))
        starts, tables = [], []
        for start in knots[:-1]:
            at = int(np.searchsorted(breaks, start, side="right")) - 1
            starts.append(start)
            tables.append(coefficients[::-1, at, :])  # [degree + 1, splines], the constant first
        tests = [graph.constant([knots[1:-1]])] if len(knots) > 2 else []
        count = graph.sum(graph.double(graph.op("GreaterOrEqual", x, tests[0]))) if tests else graph.op("Mul", x, graph.constant([[0.0]]))
        inner = len(starts)
        if mode in ("constant", "linear"):
            for bound in (low, high):
                table = np.zeros((degree + 1, width))
                table[0] = spline(bound)
                if mode == "linear" and degree >= 1:
                    table[1] = spline.derivative()(bound) if degree > 1 else _slope(breaks, coefficients, bound, low)
                starts.append(bound)
                tables.append(table)
            below = graph.op("Less", x, graph.constant([[low]]))
            beyond = graph.op("Greater", x, graph.constant([[high]]))
            count = graph.where(below, graph.constant([[float(inner)]]), count)
            count = graph.where(beyond, graph.constant([[float(inner + 1)]]), count)
        elif mode == "error":
            inside = graph.op("And", graph.op("GreaterOrEqual", x, graph.constant([[low]])), graph.op("LessOrEqual", x, graph.constant([[high]])))
        hot = graph.double(graph.op("Equal", count, graph.constant([np.arange(len(starts), dtype=float)])))
        offset = graph.op("Sub", x, graph.op("MatMul", hot, graph.constant(np.array(starts)[:, None])))
        terms, power_ = [hot], offset
        for _ in range(degree):
            terms.append(graph.op("Mul", hot, power_))
            power_ = graph.op("Mul", power_, offset)
        weights = np.stack(tables, axis=1).reshape(-1, width)
        result = graph.op("MatMul", graph.concat(terms), graph.constant(weights))
        if mode == "error":
            from .categories import guarded

            result = guarded(context, result, width, inside)
        used = list(range(width))
        if not step.include_bias:
            used = used[:-1]
        made += [col.number(result, at) for at in used]
    return made


def _slope(breaks: Floats, coefficients: Floats, bound: float, low: float) -> Floats:
    """The slope of a spline of degree 1 at its end."""
    at = int(np.searchsorted(breaks, bound, side="right" if bound == low else "left")) - 1
    slope: Floats = coefficients[0, at, :]
    return slope


def linear(find: Callable[[Any], tuple[Any, Any, Any]]) -> Callable[[Any, list[Col], Context], list[Col]]:
    """A projection: `find` gives what is subtracted, what is divided by, and the weights."""

    def rule(step: Any, cols: list[Col], context: Context) -> list[Col]:
        graph = context.graph
        mean, scale, weights = find(step)
        matrix = context.matrix(cols, step)
        if mean is not None:
            matrix = graph.op("Sub", matrix, graph.constant(_row(mean)))
        if scale is not None:
            matrix = graph.op("Div", matrix, graph.constant(_row(scale)))
        weights = np.asarray(weights, np.float64)
        return spread(cols, graph.affine(matrix, weights), weights.shape[1])

    return rule


def pca(step: Any) -> tuple[Any, Any, Any]:
    """PCA and IncrementalPCA."""
    weights = step.components_.T
    if step.whiten:
        scale = np.sqrt(step.explained_variance_)
        scale = np.maximum(scale, np.finfo(scale.dtype).eps)
        weights = weights / scale
    return step.mean_, None, weights


def selected(step: Any, cols: list[Col], context: Context) -> list[Col]:
    """Any selection of features."""
    return [cols[at] for at in np.flatnonzero(step.get_support())]


def center_distances(step: Any, cols: list[Col], context: Context) -> list[Col]:
    """KMeans as a transformer: distances to its centers."""
    centers = np.asarray(step.cluster_centers_, np.float64)
    return spread(cols, context.graph.op("Sqrt", squared(context.graph, context.matrix(cols, step), centers, len(cols))), len(centers))


def neighbours_filled(step: Any, cols: list[Col], context: Context) -> list[Col]:
    """KNNImputer."""
    graph = context.graph
    if callable(step.weights) or callable(step.metric) or not np.isnan(step.missing_values):
        raise context.refuse(step, cols, "its weights, metric or mark for missing values are its own", "use weights='uniform' or 'distance' and NaN")
    context.doubt(
        step, cols, f"several rows of the training are equally near as the last of its {step.n_neighbors} neighbours, and which of "
        "them counts depends on the order of numpy's partition", "use SimpleImputer or IterativeImputer in its place",
    )  # fmt: skip
    matrix = context.matrix(cols, step)
    known = np.asarray(step._fit_X, np.float64)
    present = ~np.isnan(known)
    lost = graph.op("IsNaN", matrix)
    there = graph.double(graph.op("Not", lost))
    zero = graph.constant([[0.0]])
    filled = graph.where(lost, zero, matrix)
    points = np.where(present, known, 0.0)
    count = graph.op("MatMul", there, graph.constant(present.T.astype(np.float64)))
    total = None
    for at in range(len(cols)):
        apart = graph.op("Sub", graph.gather(filled, [at]), graph.constant([points[:, at]]))
        both = graph.op("Mul", graph.gather(there, [at]), graph.constant([present[:, at].astype(np.float64)]))
        square = graph.op("Mul", graph.op("Mul", apart, apart), both)
        total = square if total is None else graph.op("Add", total, square)
    assert total is not None
    total = graph.op("Mul", total, graph.constant([[float(len(cols))]]))
    none = graph.op("Less", count, graph.constant([[0.5]]))
    distance = graph.op("Div", total, graph.where(none, graph.constant([[1.0]]), count))
    far = graph.constant([[1e300]])
    distance = graph.where(none, far, distance)
    made: list[Col] = []
    for place, col in enumerate(cols):
        if not step._valid_mask[place]:
            if step.keep_empty_features:
                made.append(col.number(filled, place))
            continue
        donors = np.flatnonzero(present[:, place])
        k = min(step.n_neighbors, len(donors))
        near, which = graph.ops("TopK", graph.gather(distance, list(donors)), graph.places([k]), outputs=2, axis=1, largest=0, sorted=1)
        values = graph.op("Gather", graph.constant(known[donors, place]), which, axis=0)
        weight = graph.double(graph.op("Less", near, graph.constant([[1e299]])))
        if step.weights == "distance":
            same = graph.double(graph.op("Equal", near, zero))
            hit = graph.op("Greater", graph.sum(same), zero)
            safe = graph.where(graph.op("Equal", near, zero), graph.constant([[1.0]]), near)
            inverse = graph.op("Div", weight, graph.op("Sqrt", safe))
            weight = graph.where(hit, same, inverse)
        size = graph.sum(weight)
        nobody = graph.op("Equal", size, zero)
        mean = graph.op("Div", graph.sum(graph.op("Mul", values, weight)), graph.where(nobody, graph.constant([[1.0]]), size))
        mean = graph.where(nobody, graph.constant([[float(known[donors, place].mean())]]), mean)
        own = graph.gather(matrix, [place])
        made.append(col.number(graph.where(graph.op("IsNaN", own), mean, own)))
    if step.add_indicator:
        flags = graph.double(lost)
        made += [cols[at].number(flags, at) for at in step.indicator_.features_]
    return made
