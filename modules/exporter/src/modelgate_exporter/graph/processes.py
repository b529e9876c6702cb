"""Gaussian processes: the mean of a regressor, and a classifier's integral by five error functions, as scikit-learn has it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from .apart import squared
from .build import Graph
from .columns import Col, Context
from .result import Result, numbers, pair

Floats = npt.NDArray[np.float64]


def regressor(step: Any, cols: list[Col], context: Context) -> Result:
    """GaussianProcessRegressor: its mean."""
    graph = context.graph
    if not hasattr(step, "X_train_"):
        raise context.refuse(step, cols, "it was not fitted", "fit it first")
    matrix = context.matrix(cols, step)
    similar = covariance(step.kernel_, matrix, np.asarray(step.X_train_, np.float64), step, cols, context)
    weights = np.asarray(step.alpha_, np.float64)
    flat = weights.ndim == 1
    made = graph.op("MatMul", similar, graph.constant(weights[:, None] if flat else weights))
    scale, mean = np.atleast_2d(step._y_train_std), np.atleast_2d(step._y_train_mean)
    made = graph.op("Add", graph.op("Mul", made, graph.constant(scale)), graph.constant(mean))
    return numbers(made, 1 if flat else weights.shape[1], flat)


def covariance(kernel_: Any, matrix: str, points: Floats, step: Any, cols: list[Col], context: Context) -> str:
    graph = context.graph
    kind = type(kernel_).__name__

    def number(value: float) -> str:
        return graph.constant([[float(value)]])

    if kind in ("Sum", "Product"):
        sides = [covariance(side, matrix, points, step, cols, context) for side in (kernel_.k1, kernel_.k2)]
        return graph.op("Add" if kind == "Sum" else "Mul", *sides)
    if kind == "Exponentiation":
        return graph.op("Pow", covariance(kernel_.kernel, matrix, points, step, cols, context), number(kernel_.exponent))
    zeros = graph.op("Mul", graph.op("MatMul", matrix, graph.constant(points.T)), number(0.0))
    if kind == "ConstantKernel":
        return graph.op("Add", zeros, number(kernel_.constant_value))
    if kind == "WhiteKernel":
        return zeros
    if kind == "ExpSineSquared":
        turns = graph.op("Mul", graph.op("Sqrt", squared(graph, matrix, points, len(cols))), number(np.pi / kernel_.periodicity))
        wave = graph.op("Div", graph.op("Sin", turns), number(kernel_.length_scale))
        return graph.op("Exp", graph.op("Mul", graph.op("Mul", wave, wave), number(-2.0)))
    if kind == "DotProduct":
        return graph.op("Add", graph.op("MatMul", matrix, graph.constant(points.T)), number(kernel_.sigma_0**2))
    if kind in ("RBF", "Matern", "RationalQuadratic"):
        scale = np.broadcast_to(np.asarray(kernel_.length_scale, np.float64), (points.shape[1],))
        if kind == "RationalQuadratic":
            scale = np.ones(points.shape[1])
        apart = squared(graph, graph.op("Div", matrix, graph.constant([scale])), points / scale, len(cols))
        if kind == "RBF" or (kind == "Matern" and kernel_.nu == np.inf):
            return graph.op("Exp", graph.op("Mul", apart, number(-0.5)))
        if kind == "RationalQuadratic":
            base = graph.op("Add", graph.op("Mul", apart, number(1 / (2 * kernel_.alpha * kernel_.length_scale**2))), number(1))
            return graph.op("Pow", base, number(-kernel_.alpha))
        far = graph.op("Sqrt", apart)
        if kernel_.nu == 0.5:
            return graph.op("Exp", graph.op("Neg", far))
        if kernel_.nu % 1 == 0.5:
            return _half_integer(graph, graph.op("Mul", far, number(np.sqrt(2 * kernel_.nu))), int(kernel_.nu - 0.5))
        raise context.refuse(
            step, cols, f"its Matern kernel has nu={kernel_.nu:g}, which takes a Bessel function that no operator is",
            "fit it with nu=0.5, 1.5, 2.5 or another half of an odd number, whose kernel is an exponential times a polynomial",
        )  # fmt: skip
    raise context.refuse(step, cols, f"its kernel has a {kind}", "use RBF, Matern, RationalQuadratic, ExpSineSquared, DotProduct, WhiteKernel and ConstantKernel")


def _half_integer(graph: Graph, far: str, whole: int) -> str:
    """Matern's kernel of nu = `whole` + 1/2 at scaled distances: `exp(-far)` times a polynomial of that degree."""
    total = None
    for at in range(whole + 1):
        factor = math.factorial(whole) / math.factorial(2 * whole) * math.factorial(whole + at) / (math.factorial(at) * math.factorial(whole - at))
        # The power `whole - at` of twice the distance, by Horner's rule.
        term = graph.constant([[factor]])
        total = term if total is None else graph.op("Add", graph.op("Mul", total, graph.op("Mul", far, graph.constant([[2.0]]))), term)
    assert total is not None
    return graph.op("Mul", total, graph.op("Exp", graph.op("Neg", far)))


def _own(kernel_: Any, matrix: str, step: Any, cols: list[Col], context: Context) -> str:
    """The kernel of each row with itself, `[rows, 1]`."""
    graph = context.graph
    kind = type(kernel_).__name__
    if kind in ("Sum", "Product"):
        sides = [_own(side, matrix, step, cols, context) for side in (kernel_.k1, kernel_.k2)]
        return graph.op("Add" if kind == "Sum" else "Mul", *sides)
    if kind == "Exponentiation":
        return graph.op("Pow", _own(kernel_.kernel, matrix, step, cols, context), graph.constant([[float(kernel_.exponent)]]))
    squares = graph.sum(graph.op("Mul", matrix, matrix))
    if kind == "DotProduct":
        return graph.op("Add", squares, graph.constant([[float(kernel_.sigma_0**2)]]))
    value = {"ConstantKernel": "constant_value", "WhiteKernel": "noise_level"}.get(kind)
    same = 1.0 if value is None else float(getattr(kernel_, value))
    return graph.op("Add", graph.op("Mul", squares, graph.constant([[0.0]])), graph.constant([[same]]))


def classifier(step: Any, cols: list[Col], context: Context) -> Result:
    """The part of a GaussianProcessClassifier that tells two classes apart, by Laplace's approximation."""
    from sklearn.gaussian_process._gpc import COEFS, LAMBDAS

    graph = context.graph
    matrix = context.matrix(cols, step)
    similar = covariance(step.kernel_, matrix, np.asarray(step.X_train_, np.float64), step, cols, context)
    weights = np.asarray(step.y_train_ - step.pi_, np.float64)
    latent = graph.op("MatMul", similar, graph.constant(weights[:, None]))
    solved = np.linalg.solve(np.asarray(step.L_, np.float64), np.diag(np.asarray(step.W_sr_, np.float64)))
    turned = graph.op("MatMul", similar, graph.constant(solved.T))
    spread = graph.op("Sub", _own(step.kernel_, matrix, step, cols, context), graph.sum(graph.op("Mul", turned, turned)))
    rates = np.asarray(LAMBDAS, np.float64).reshape(1, -1)
    shares_ = np.asarray(COEFS, np.float64).reshape(-1, 1)
    # `alpha / (alpha + rate²)` with alpha of half the inverse spread.
    wide = graph.op("Add", graph.constant([[1.0]]), graph.op("Mul", spread, graph.constant(2.0 * rates**2)))
    inner = graph.op("Div", graph.op("Mul", latent, graph.constant(rates)), graph.op("Sqrt", wide))
    half = graph.op("Mul", error_function(graph, inner), graph.constant([[0.5]]))
    second = graph.op("Add", graph.op("MatMul", half, graph.constant(shares_)), graph.constant([[0.5 * float(shares_.sum())]]))
    above = graph.cast(graph.op("Greater", latent, graph.constant([[0.0]])), 7)
    return Result(index=above, classes=step.classes_, probabilities=pair(graph, second))


def error_function(graph: Graph, x: str) -> str:
    """The error function in double precision, by the rational functions of W. J. Cody."""
    near = (
        (1.85777706184603153e-1, 3.16112374387056560, 1.13864154151050156e2, 3.77485237685302021e2, 3.20937758913846947e3),
        (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3),
    )
    middle = (
        (2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594, 6.61191906371416295e1, 2.98635138197400131e2,
         8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3, 1.23033935479799725e3),
        (1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2, 1.62138957456669019e3,
         3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3),
    )  # fmt: skip
    far = (
        (1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1, 1.25781726111229246e-1, 1.60837851487422766e-2, 6.58749161529837803e-4),
        (1.0, 2.56852019228982242, 1.87295284992346047, 5.27905102951428412e-1, 6.05183413124413191e-2, 2.33520497626869185e-3),
    )

    def number(value: float) -> str:
        return graph.constant([[value]])

    def ratio(z: str, both: Any) -> str:
        sums = []
        for terms in both:
            total = number(terms[0])
            for term in terms[1:]:
                total = graph.op("Add", graph.op("Mul", total, z), number(term))
            sums.append(total)
        return graph.op("Div", *sums)

    size = graph.op("Abs", x)
    # Beyond six the function is 1; bounds keep the other branches' numbers finite.
    small = graph.op("Less", size, number(0.46875))
    inner = graph.where(small, size, number(0.0))
    first = graph.op("Mul", inner, ratio(graph.op("Mul", inner, inner), near))
    wide = graph.where(small, number(0.5), graph.where(graph.op("Greater", size, number(6.0)), number(6.0), size))
    fall = graph.op("Exp", graph.op("Neg", graph.op("Mul", wide, wide)))
    second = graph.op("Sub", number(1.0), graph.op("Mul", fall, ratio(wide, middle)))
    inverse = graph.op("Div", number(1.0), graph.op("Mul", wide, wide))
    rest = graph.op("Mul", inverse, ratio(inverse, far))
    tail = graph.op("Div", graph.op("Sub", number(float(1.0 / np.sqrt(np.pi))), rest), wide)
    third = graph.op("Sub", number(1.0), graph.op("Mul", fall, tail))
    made = graph.where(small, first, graph.where(graph.op("LessOrEqual", wide, number(4.0)), second, third))
    return graph.where(graph.op("Less", x, number(0.0)), graph.op("Neg", made), made)
