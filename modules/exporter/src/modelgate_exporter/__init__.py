"""Turns a fitted scikit-learn pipeline into a modelgate bundle.

>>> from modelgate_exporter import export
>>> export(pipeline, sample_frame, "out/", name="churn", version="3")
"""

from .compare import Comparison, Exported
from .errors import CannotExport
from .export import export
from .functions import truncate
from .registry import log_bundle, log_model

__version__ = "0.2.0"
__all__ = [
    "CannotExport",
    "Comparison",
    "Exported",
    "export",
    "log_bundle",
    "log_model",
    "truncate",
]
