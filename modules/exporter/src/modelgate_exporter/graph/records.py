"""DictVectorizer: a column for each number and for each text of a dictionary."""

from __future__ import annotations

from typing import Any

import numpy as np

from .categories import matches
from .columns import Col, Context, alone, spread


def vectorized(step: Any, cols: list[Col], context: Context) -> list[Col]:
    """The dictionary of a row has its columns; where pipelines take dictionaries themselves, a missing value is no entry."""
    graph = context.graph
    by_label = {str(col.label): col for col in cols}
    absent = bool(context.options.get("records"))
    parts = []
    for feature in step.feature_names_:
        col = by_label.get(str(feature))
        if col is not None:
            if col.kind not in ("number", "bool"):
                raise context.refuse(
                    step, [col], "some of its values were numbers or missing when it was fitted, and others text",
                    "give the column one type, and fill it, before the pipeline is fitted",
                )  # fmt: skip
            value = alone(graph, col)
            parts.append(graph.where(graph.op("IsNaN", value), graph.constant([[0.0]]), value) if absent else value)
            continue
        name, found, word = str(feature).partition(step.separator)
        while found and name not in by_label and step.separator in word:
            more, _, word = word.partition(step.separator)
            name = f"{name}{step.separator}{more}"
        if name in by_label and found:
            parts.append(graph.double(matches(context, [by_label[name]], [[word]])))
        else:
            some = alone(graph, cols[0])
            parts.append(graph.where(graph.op("IsNaN", some), graph.constant([[0.0]]), graph.constant(np.zeros((1, 1)))))
    return spread(cols, graph.concat(parts), len(parts))
