"""Fitted pipelines of every kind that the exporter knows, small enough to be fitted in a moment.

`cases()` yields names and factories; a factory gives (pipeline, frame, target). `measure.py` exports each
and compares it on fresh rows; `test_kinds.py` does so on a few.
"""

from cases import (
    boosters,
    combined,
    encoders,
    estimators,
    functions,
    hashed,
    kernels,
    libraries,
    loops,
    numbers,
    outside,
    registered,
    rewritten,
    targets,
    teams,
    texts,
    whole,
)
from cases.data import cases

__all__ = [
    "boosters", "cases", "combined", "encoders", "estimators", "functions", "hashed", "kernels", "libraries", "loops", "numbers", "outside", "registered", "rewritten", "targets",
    "teams", "texts", "whole",
]  # fmt: skip
