"""Serve scikit-learn pipelines by the modelgate gateway, and ask it for predictions.

>>> from modelgate_serving import serve
>>> served = serve(pipeline, X_test)
>>> served.predict(X_test)

>>> from modelgate_serving import Client
>>> Client("http://models:8080", model="churn").predict(frame)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .client import AsyncClient, Client
from .errors import (
    CannotServe,
    DeadlineExceeded,
    InvalidInput,
    ModelgateError,
    ModelNotFound,
    ServerError,
    Unavailable,
)
from .schema import Column, Model
from .serving import Served, serve

if TYPE_CHECKING:
    from modelgate_exporter import CannotExport, Exported, export, log_bundle, log_model

__version__ = "0.2.0"

_EXPORTER = ("CannotExport", "Exported", "export", "log_bundle", "log_model")
"""Imported when they are used first: a client needs neither scikit-learn nor ONNX."""

__all__ = [
    "AsyncClient",
    "CannotExport",
    "CannotServe",
    "Client",
    "Column",
    "DeadlineExceeded",
    "Exported",
    "InvalidInput",
    "Model",
    "ModelNotFound",
    "ModelgateError",
    "Served",
    "ServerError",
    "Unavailable",
    "export",
    "log_bundle",
    "log_model",
    "serve",
]


def __getattr__(name: str) -> Any:
    if name in _EXPORTER:
        return getattr(importlib.import_module("modelgate_exporter"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
