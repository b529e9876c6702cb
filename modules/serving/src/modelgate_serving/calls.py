"""The calls of a client, without a socket.

Each yields requests and is sent the answers, so that a client that blocks and one that awaits run the same code.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar
from urllib.parse import quote

import numpy as np

from . import frames, schema, wire
from .cells import Array, Tensor
from .errors import DeadlineExceeded, InvalidInput, ModelgateError, ModelNotFound, ServerError, Unavailable
from .retry import Deadline
from .schema import Model

MOST_BYTES = 8 << 20
"""Of tensors in one request: a server's default limit is eight times that."""
RESTARTS = 5
"""How often a frame is sent anew because another version came between its parts."""

T = TypeVar("T")


@dataclass(frozen=True)
class Request:
    """One HTTP request."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None


@dataclass(frozen=True)
class Response:
    """One HTTP answer; the names of headers are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


Call = Generator[Request, Response, T]


class Failed(Exception):
    """An answer that is an error, before it is known what it means to the caller."""

    def __init__(self, status: int, text: str, request_id: str) -> None:
        super().__init__(text)
        self.status, self.text, self.request_id = status, text, request_id


def get(path: str) -> Call[Any]:
    """The JSON at a path."""
    response = yield Request("GET", path)
    return _json(response)


def choose() -> Call[str]:
    """The server's only model. Raises `ModelNotFound` where there is none, or several."""
    response = yield Request("POST", "/v2/repository/index", {"Content-Type": "application/json"}, b"{}")
    index = _json(response)
    names = list(dict.fromkeys(str(entry["name"]) for entry in index))
    if len(names) == 1:
        return names[0]
    if not names:
        raise ModelNotFound("the server has no model yet")
    raise ModelNotFound(f"the server has the models {', '.join(names[:20])}: name one with Client(url, model='…')")


def describe(name: str) -> Call[Model]:
    """A model's signature."""
    path = f"/v2/models/{quote(name, safe='')}"
    metadata = yield from get(path)
    try:
        config = yield from get(f"{path}/config")
    except Failed as error:
        if error.status not in (404, 405, 501):
            raise
        config = None
    return schema.model(metadata, config)


def infer(model: Model, tensors: list[Tensor], deadline: Deadline) -> Call[tuple[str, dict[str, Array]]]:
    """The version that answered, and its outputs for all rows, in as many requests as the limits ask for.

    One version answers all rows: where another one takes over in between, they are sent anew.
    """
    count = len(tensors[0].values) if tensors else 0
    size = _step(model, tensors, count)
    for _ in range(RESTARTS):
        answers: list[wire.Answer] = []
        at = 0
        while at < count or not answers:
            part = tensors if not model.max_rows else [_part(tensor, at, at + size) for tensor in tensors]
            headers, body = wire.request(part, deadline.left())
            path = f"/v2/models/{quote(model.name, safe='')}/infer"
            response = yield Request("POST", path, headers, body)
            if response.status == 413 and size > 1:
                size = max(1, size // 2)
                continue
            _check(response, f"rows {at} to {min(at + size, count) - 1}" if count > size else "")
            answers.append(wire.answer(response.headers.get(wire.HEADER_LENGTH.lower()), response.body))
            if answers[-1].version != answers[0].version:
                break
            at += size if model.max_rows else count
        else:
            first = answers[0]
            if len(answers) == 1:
                return first.version, first.outputs
            joined = {name: np.concatenate([answer.outputs[name] for answer in answers]) for name in first.outputs}
            return first.version, joined
    raise Unavailable(f"the model's version changed {RESTARTS} times while the rows were sent; try again")


def _step(model: Model, tensors: list[Tensor], count: int) -> int:
    if not model.max_rows:
        return max(count, 1)
    total = sum(
        tensor.values.nbytes if tensor.values.dtype != object else sum(map(len, tensor.values.ravel())) + 4 * count
        for tensor in tensors
    )
    per_row = max(1, total // max(count, 1))
    return max(1, min(model.max_rows, MOST_BYTES // per_row))


def _part(tensor: Tensor, start: int, end: int) -> Tensor:
    missing = None if tensor.missing is None else tensor.missing[start:end]
    if missing is not None and not missing.any():
        missing = None
    return replace(tensor, values=tensor.values[start:end], missing=missing)


def _json(response: Response) -> Any:
    _check(response)
    try:
        return json.loads(response.body)
    except ValueError as error:
        raise ServerError("the server's answer is not JSON; is this the address of a gateway?") from error


def _check(response: Response, which: str = "") -> None:
    if 200 <= response.status < 300:
        return
    text = response.body[:2000].decode(errors="replace").strip()
    with contextlib.suppress(ValueError, AttributeError):
        text = str(json.loads(text).get("error") or text)
    if which:
        text += f" (of {which}, counted from 0)"
    raise Failed(response.status, text, response.headers.get("x-request-id", ""))


def told(error: Failed, url: str, model: str | None, deadline: Deadline) -> ModelgateError:
    """The error that a caller can act on."""
    what = f"model '{model}' at {url}" if model else url
    if error.status in (400, 413, 422):
        return InvalidInput(f"{what}: {error.text}")
    if error.status == 404:
        return ModelNotFound(f"{what}: {error.text or 'not found'}")
    if error.status in (429, 502, 503):
        return Unavailable(f"{what} cannot answer now, tried {deadline.attempt} times: {error.text}")
    if error.status == 504:
        return DeadlineExceeded(f"{what}: {error.text}")
    named = f" (request id {error.request_id})" if error.request_id else ""
    return ServerError(f"{what} answered {error.status}: {error.text}{named}")


def predict(rows: frames.Rows, model: Model, deadline: Deadline) -> Call[tuple[str, dict[str, Array]]]:
    """The version that answered, and its outputs for the caller's rows."""
    return (yield from infer(model, frames.tensors(model, rows), deadline))
