"""Errors between a frame and its answers; each error says what was expected, what came and what to do."""

from __future__ import annotations


class ModelgateError(Exception):
    """The base of all errors of this package."""


class InvalidInput(ModelgateError, ValueError):
    """The rows are not what the model takes. Sending them again cannot help."""


class ModelNotFound(ModelgateError, LookupError):
    """The server has no such model, or several where none was named."""


class Unavailable(ModelgateError, ConnectionError):
    """The server cannot be reached, or the model cannot answer now; every retry failed."""


class DeadlineExceeded(ModelgateError, TimeoutError):
    """There was no answer within the time given."""


class ServerError(ModelgateError, RuntimeError):
    """The server failed, or answered what the protocol does not have."""


class CannotServe(ModelgateError, RuntimeError):
    """The gateway did not start, or refused the model."""
