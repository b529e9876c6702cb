"""IterativeImputer: each column is predicted from the others, round after round."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import categories
from .columns import Col, Context, alone, joined
from .numeric import clipped


def iterative(step: Any, cols: list[Col], context: Context) -> list[Col]:
    """IterativeImputer."""
    from .answers import answer
    from .steps import Columns

    if step.sample_posterior:
        raise context.refuse(step, cols, "it draws at random (sample_posterior)", "use sample_posterior=False")
    graph = context.graph
    context.matrix(cols, step)
    lost = [graph.op("IsNaN", alone(graph, col)) for col in cols]
    initial = step.initial_imputer_
    flags = list(initial.indicator_.features_) if getattr(initial, "add_indicator", False) else []
    started = categories.impute(initial, cols, context)
    valid = [at for at in range(len(cols)) if not np.isnan(np.asarray(initial.statistics_, np.float64)[at]) or step.keep_empty_features]
    lost = [lost[at] for at in valid]
    current = [col.number(alone(graph, col)) for col in started[: len(valid)]]
    low, high = step._min_value, step._max_value
    for at, triplet in enumerate(step.imputation_sequence_):
        others = [current[place] for place in triplet.neighbor_feat_idx]
        made = answer(triplet.estimator, Columns(others, False), context.at(str(at)))
        assert made.values is not None
        place = int(triplet.feat_idx)
        value = clipped(graph, made.values, _bound(low, place), _bound(high, place))
        current[place] = current[place].number(graph.where(lost[place], value, alone(graph, current[place])))
    if step.add_indicator:
        tests = [graph.op("IsNaN", alone(graph, col)) for col in cols]
        current += [cols[at].number(graph.double(tests[at])) for at in step.indicator_.features_]
    assert not flags
    joined(graph, current)
    return current


def _bound(bounds: Any, place: int) -> float | None:
    value = float(np.asarray(bounds)[place])
    return value if np.isfinite(value) else None
