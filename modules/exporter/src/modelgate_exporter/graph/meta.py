"""Estimators made of estimators."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from onnx import TensorProto

from .columns import Col, Context, spread
from .linear import several_labels
from .numeric import clipped, interpolated
from .result import Result, argmax, by_probability, by_score, numbers, pair, scored, shares

Answer = Callable[..., Result]


class Meta:
    """The rules; they ask `answer` for the estimators within."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    def target_transformed(self, step: Any, cols: Any, context: Context) -> Result:
        """TransformedTargetRegressor."""
        from .inverse import inverted

        made = self.answer(step.regressor_, cols, context.at("regressor"))
        assert made.values is not None
        values = inverted(step.transformer_, made.values, made.width, cols.cols, context)
        return numbers(values, made.width, flat=step._training_dim == 1)

    def threshold(self, step: Any, cols: Any, context: Context) -> Result:
        """FixedThresholdClassifier and TunedThresholdClassifierCV."""
        graph = context.graph
        inner = step.estimator_ if hasattr(step, "estimator_") else step.estimator
        made = self.answer(inner, cols, context.at("estimator"))
        classes = list(made.classes)
        tuned = hasattr(step, "best_threshold_")
        method = getattr(step, "_response_method", None) or step.response_method
        methods = ["predict_proba", "decision_function"] if method == "auto" else [method]
        label = step._curve_scorer._get_pos_label() if tuned else step.pos_label
        place = 1 if label is None else classes.index(label)
        score, _ = scored(graph, made, methods)
        by_likelihood = methods[0] == "predict_proba" and made.probabilities is not None
        limit = step.best_threshold_ if tuned else step.threshold
        if limit == "auto":
            limit = 0.5 if by_likelihood else 0.0
        if place == 0:
            score = graph.gather(made.probabilities, [0]) if by_likelihood else graph.op("Neg", score)  # type: ignore[arg-type]
        above = graph.cast(graph.op("GreaterOrEqual", score, graph.constant([[float(limit)]])), TensorProto.INT64)
        if place == 0:
            above = graph.op("Sub", graph.places([1]), above)
        return Result(index=above, classes=made.classes, probabilities=made.probabilities, decision=made.decision)

    def several_regressors(self, step: Any, cols: Any, context: Context) -> Result:
        """MultiOutputRegressor."""
        parts = [self.answer(inner, cols, context.at(str(at))).values for at, inner in enumerate(step.estimators_)]
        return numbers(context.graph.concat([part for part in parts if part]), len(parts), flat=False)

    def several_classifiers(self, step: Any, cols: Any, context: Context) -> Result:
        """MultiOutputClassifier."""
        return Result(targets=[self.answer(inner, cols, context.at(str(at))) for at, inner in enumerate(step.estimators_)])

    def chain(self, step: Any, cols: Any, context: Context) -> Result:
        """RegressorChain and ClassifierChain: each sees the answers before it."""
        graph = context.graph
        results: list[Result] = []
        values: list[str] = []
        seen = list(cols.cols)
        for at, inner in enumerate(step.estimators_):
            made = self.answer(inner, cols.of(seen), context.at(str(at)))
            results.append(made)
            method = "predict" if made.values is not None else getattr(step, "chain_method_", "predict")
            value, _ = scored(graph, made, [method])
            values.append(made.values or value)
            seen = [*seen, *spread(cols.cols, value, 1)]
        order = list(np.argsort(step.order_))
        if all(made.values is not None for made in results):
            return numbers(graph.concat([values[at] for at in order]), len(values), flat=False)
        targets = [results[at] for at in order]
        likely = None
        if all(made.probabilities is not None and len(made.classes) == 2 for made in targets):
            # A chain tells of each target how likely its second class is.
            likely = graph.concat([graph.gather(made.probabilities, [1]) for made in targets])  # type: ignore[arg-type]
        return Result(targets=targets, probabilities=likely)

    def voting_classifier(self, step: Any, cols: Any, context: Context) -> Result:
        """VotingClassifier."""
        graph = context.graph
        weights = step._weights_not_none
        weights = np.ones(len(step.estimators_)) if weights is None else np.asarray(weights, np.float64)
        members = self._members(step, cols, context)
        count = len(step.classes_)
        total: str | None = None
        for made, weight in zip(members, weights, strict=True):
            if step.voting == "soft":
                assert made.probabilities is not None
                part = graph.op("Mul", made.probabilities, graph.constant([[weight / weights.sum()]]))
            else:
                hot = graph.op("Equal", made.index, graph.constant([np.arange(count)], np.int64))  # type: ignore[arg-type]
                part = graph.op("Mul", graph.double(hot), graph.constant([[weight]]))
            total = part if total is None else graph.op("Add", total, part)
        assert total is not None
        if step.voting == "soft":
            return by_probability(graph, total, step.classes_)
        return Result(index=argmax(graph, total), classes=step.classes_)

    def voting_regressor(self, step: Any, cols: Any, context: Context) -> Result:
        """VotingRegressor."""
        graph = context.graph
        weights = step._weights_not_none
        weights = np.ones(len(step.estimators_)) if weights is None else np.asarray(weights, np.float64)
        parts = [made.values for made in self._members(step, cols, context)]
        return numbers(graph.affine(graph.concat([p for p in parts if p]), (weights / weights.sum())[:, None]))

    def _members(self, step: Any, cols: Any, context: Context) -> list[Result]:
        names = [name for name, inner in getattr(step, "estimators", []) if inner != "drop"]
        names = names if len(names) == len(step.estimators_) else [str(at) for at in range(len(step.estimators_))]
        return [self.answer(inner, cols, context.at(name)) for name, inner in zip(names, step.estimators_, strict=True)]

    def stacking(self, step: Any, cols: Any, context: Context) -> Result:
        """StackingClassifier and StackingRegressor."""
        graph = context.graph
        made: list[Col] = []
        methods = [method for (_, inner), method in zip(step.estimators, step.stack_method_, strict=False) if inner != "drop"]
        methods = methods if len(methods) == len(step.estimators_) else list(step.stack_method_)
        for result, method in zip(self._members(step, cols, context), methods, strict=True):
            value, width = scored(graph, result, [method])
            made += spread(cols.cols, value, width)
        if step.passthrough:
            made += cols.cols
        answer = self.answer(step.final_estimator_, cols.of(made), context.at("final_estimator"))
        if answer.classes is not None:
            answer.classes = step.classes_
        return answer

    def calibrated(self, step: Any, cols: Any, context: Context) -> Result:
        """CalibratedClassifierCV."""
        graph = context.graph
        total: str | None = None
        for at, member in enumerate(step.calibrated_classifiers_):
            part = self._calibrated(member, cols, context.at(str(at)), len(step.classes_))
            total = part if total is None else graph.op("Add", total, part)
        assert total is not None
        count = len(step.calibrated_classifiers_)
        likely = total if count == 1 else graph.op("Div", total, graph.constant([[float(count)]]))
        return by_probability(graph, likely, step.classes_)

    def _calibrated(self, member: Any, cols: Any, context: Context, classes: int) -> str:
        graph = context.graph
        inner = self.answer(member.estimator, cols, context)
        value, width = scored(graph, inner)
        parts = []
        for at, calibrator in enumerate(member.calibrators):
            score = graph.gather(value, [at]) if width > 1 else value
            kind = type(calibrator).__name__
            if kind == "_SigmoidCalibration":
                line = graph.op("Mul", score, graph.constant([[float(calibrator.a_)]]))
                parts.append(graph.op("Sigmoid", graph.op("Neg", graph.op("Add", line, graph.constant([[float(calibrator.b_)]])))))
            elif kind == "IsotonicRegression":
                parts.append(isotonic(calibrator, score, context))
            elif kind == "_TemperatureScaling":
                return self._tempered(calibrator, inner, value, width, context)
            else:
                raise context.refuse(member.estimator, cols.cols, f"its calibrator is {kind}", "use method='sigmoid' or 'isotonic'")
        if classes == 2:
            return pair(graph, parts[0])
        return shares(graph, graph.concat(parts), 1.0 / classes)

    def _tempered(self, calibrator: Any, inner: Result, value: str, width: int, context: Context) -> str:
        """Scores, or logarithms of probabilities, divided by one temperature."""
        graph = context.graph
        if inner.decision is None:
            assert inner.probabilities is not None
            value = graph.op("Log", clipped(graph, inner.probabilities, float(np.finfo(np.float64).eps), None))
        elif width == 1:
            value = graph.concat([graph.op("Neg", value), value])
        return graph.op("Softmax", graph.op("Mul", value, graph.constant([[float(calibrator.beta_)]])), axis=1)

    def bagging(self, step: Any, cols: Any, context: Context) -> Result:
        """BaggingClassifier and BaggingRegressor."""
        graph = context.graph
        classes = getattr(step, "classes_", None)
        total: str | None = None
        for at, (inner, features) in enumerate(zip(step.estimators_, step.estimators_features_, strict=True)):
            part = self.answer(inner, cols.of([cols.cols[place] for place in features]), context.at(str(at)))
            value = part.values if classes is None else self._share(graph, part, len(classes))
            assert value is not None
            total = value if total is None else graph.op("Add", total, value)
        assert total is not None
        mean = graph.op("Div", total, graph.constant([[float(len(step.estimators_))]]))
        return numbers(mean) if classes is None else by_probability(graph, mean, classes)

    @staticmethod
    def _share(graph: Any, part: Result, count: int) -> str:
        own = np.asarray(part.classes).astype(int)
        if part.probabilities is None:
            hot = graph.op("Equal", part.index, graph.constant([np.arange(len(own))], np.int64))
            value = graph.double(hot)
        else:
            value = part.probabilities
        if len(own) == count:
            return str(value)
        return str(graph.op("MatMul", value, graph.constant(np.eye(count)[own])))

    def ada_boost(self, step: Any, cols: Any, context: Context) -> Result:
        """AdaBoostClassifier (SAMME)."""
        graph = context.graph
        if getattr(step, "algorithm", "SAMME") == "SAMME.R":
            raise context.refuse(step, cols.cols, "algorithm='SAMME.R'", "train it with algorithm='SAMME'")
        count = len(step.classes_)
        weights = np.asarray(step.estimator_weights_[: len(step.estimators_)], np.float64)
        total: str | None = None
        for at, (inner, weight) in enumerate(zip(step.estimators_, weights, strict=True)):
            made = self.answer(inner, cols, context.at(str(at)))
            hot = graph.op("Equal", made.index, graph.constant([np.arange(count)], np.int64))  # type: ignore[arg-type]
            part = graph.where(hot, graph.constant([[weight]]), graph.constant([[-weight / (count - 1)]]))
            total = part if total is None else graph.op("Add", total, part)
        assert total is not None
        scores = graph.op("Div", total, graph.constant([[weights.sum()]]))
        if count == 2:
            score = graph.op("Sub", graph.gather(scores, [1]), graph.gather(scores, [0]))
            half = graph.op("Mul", score, graph.constant([[0.5]]))
            likely = graph.op("Softmax", graph.concat([graph.op("Neg", half), half]), axis=1)
            return by_score(graph, score, step.classes_, likely)
        likely = graph.op("Softmax", graph.op("Div", scores, graph.constant([[count - 1.0]])), axis=1)
        return by_score(graph, scores, step.classes_, likely)

    def one_vs_rest(self, step: Any, cols: Any, context: Context) -> Result:
        """OneVsRestClassifier."""
        graph = context.graph
        members = [self.answer(inner, cols, context.at(str(at))) for at, inner in enumerate(step.estimators_)]
        scores = [scored(graph, made)[0] for made in members]
        if step.multilabel_:
            limit = 0.0 if members[0].decision is not None else 0.5
            labels = several_labels(graph, graph.concat(scores), len(members), limit, False)
            if all(made.probabilities is not None for made in members):
                labels.probabilities = graph.concat([graph.gather(made.probabilities, [1]) for made in members])  # type: ignore[arg-type]
            return labels
        likely = None
        if all(made.probabilities is not None for made in members):
            each = graph.concat([graph.gather(made.probabilities, [1]) for made in members])  # type: ignore[arg-type]
            likely = pair(graph, each) if len(members) == 1 else shares(graph, each)
        if len(members) == 1:
            limit = 0.0 if members[0].decision is not None else 0.5
            return by_score(graph, scores[0], step.classes_, likely, limit)
        made = graph.concat(scores)
        result = Result(index=argmax(graph, made), classes=step.classes_, probabilities=likely)
        if members[0].decision is not None:
            result.decision, result.decision_width = made, len(step.classes_)
        return result

    def frozen(self, step: Any, cols: Any, context: Context) -> Result:
        """FrozenEstimator and other wrappers of one estimator."""
        inner = getattr(step, "estimator_", None)
        return self.answer(step.estimator if inner is None else inner, cols, context)


def isotonic(step: Any, score: str, context: Context) -> str:
    """IsotonicRegression: lines between its points."""
    x, y = np.asarray(step.X_thresholds_, np.float64), np.asarray(step.y_thresholds_, np.float64)
    if len(y) == 1:
        zero = context.graph.op("Mul", score, context.graph.constant([[0.0]]))
        return context.graph.op("Add", zero, context.graph.constant([[y[0]]]))
    made = clipped(context.graph, score, float(step.X_min_), float(step.X_max_))
    return interpolated(context.graph, made, x, y)


def isotonic_regressor(step: Any, cols: list[Col], context: Context) -> Result:
    """IsotonicRegression as the model."""
    if step.out_of_bounds == "raise":
        raise context.refuse(step, cols, "it refuses numbers out of bounds", "use out_of_bounds='clip'")
    return numbers(isotonic(step, context.matrix(cols, step), context))


def labelled(step: Any, classes: Sequence[Any]) -> Any:
    """The estimator with numbers for classes."""
    inner = copy.copy(step)
    inner.classes_ = np.arange(len(classes))
    return inner
