"""`Client` and `AsyncClient`: frames in, frames out."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

import httpx

from . import calls, frames
from .calls import Call, Failed, Request, Response
from .cells import Array
from .errors import DeadlineExceeded, InvalidInput, ModelNotFound, Unavailable
from .retry import AGAIN, Deadline
from .schema import Model

Frame = TypeVar("Frame")
T = TypeVar("T")
H = TypeVar("H", httpx.Client, httpx.AsyncClient)

TIMEOUT = 30.0
"""Seconds for a call where none are given."""


class _Base(Generic[H]):
    """The common part of both clients."""

    def __init__(
        self,
        http: Callable[..., H],
        url: str,
        model: str | None,
        timeout: float,
        headers: Mapping[str, str] | None,
        verify: ssl.SSLContext | bool,
        classes: Callable[[str], tuple[Any, ...]] | None,
    ) -> None:
        url = url if "://" in url else f"http://{url}"
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"url must be like http://127.0.0.1:8080, not {url!r}")
        self.url = url.rstrip("/")
        self.model = model
        self.timeout = timeout
        self._known: Model | None = None
        self._classes = classes
        local = parts.hostname in ("localhost", "::1") or parts.hostname.startswith("127.")
        # What is on this machine is reached by no proxy, whatever the environment says.
        self._http: H = http(headers=dict(headers or {}), verify=verify, trust_env=not local, follow_redirects=True)

    def __repr__(self) -> str:
        named = f", model={self.model!r}" if self.model else ""
        return f"{type(self).__name__}({self.url!r}{named})"

    def _call(
        self, rows: Any, finish: Callable[[frames.Rows, Model, dict[str, Array]], T], deadline: Deadline
    ) -> Call[T]:
        """Predicts, and asks for the signature again where that may have changed."""
        given = frames.rows(rows)
        model = self._known
        fresh = model is None
        if model is None:
            model = yield from self._describe()
        if given.count == 0:
            raise InvalidInput("there are no rows")
        while True:
            try:
                version, outputs = yield from calls.predict(given, model, deadline)
            except (Failed, InvalidInput, KeyError) as error:
                if fresh or (isinstance(error, Failed) and error.status not in (400, 404, 422)):
                    raise
                model, fresh, before = (yield from self._describe()), True, model
                if (model.inputs, model.outputs) == (before.inputs, before.outputs):
                    raise
                continue
            if version != model.version and not fresh:
                # Another version answers by now; its classes may have other names.
                model, fresh = (yield from self._describe()), True
            return finish(given, model, outputs)

    def _describe(self) -> Call[Model]:
        name = self.model or (yield from calls.choose())
        model = yield from calls.describe(name)
        if self._classes is not None and not model.classes:
            model = Model(
                model.name, model.version, model.inputs, model.outputs, model.max_rows, self._classes(model.version)
            )
        self.model, self._known = name, model
        return model

    def _requested(self, request: Request, deadline: Deadline) -> httpx.Request:
        left = deadline.left()
        if not left:
            raise DeadlineExceeded(f"{self.url} gave no answer within {deadline.seconds:g} s")
        return self._http.build_request(
            request.method,
            f"{self.url}{request.path}",
            headers=dict(request.headers),
            content=request.body,
            timeout=left,
        )

    def _pause(self, outcome: httpx.Response | httpx.TransportError, deadline: Deadline) -> float | None:
        """Seconds until the next attempt; `None` where the outcome stands."""
        if isinstance(outcome, httpx.Response):
            if outcome.status_code not in AGAIN:
                return None
            return deadline.pause(outcome.headers.get("retry-after"))
        pause = None if isinstance(outcome, httpx.UnsupportedProtocol) else deadline.pause()
        if pause is not None:
            return pause
        if isinstance(outcome, httpx.TimeoutException):
            raise DeadlineExceeded(f"{self.url} gave no answer within {deadline.seconds:g} s") from outcome
        raise Unavailable(
            f"{self.url} cannot be reached ({outcome or type(outcome).__name__}), tried {deadline.attempt} times in "
            f"{deadline.seconds:g} s; is the server running, and is this its address?"
        ) from outcome


def _read(answer: httpx.Response, deadline: Deadline) -> None:
    """Reads the body; each piece has a time limit of its own, so that all of them need one."""
    pieces = []
    try:
        for piece in answer.iter_bytes():
            pieces.append(piece)
            if not deadline.left():
                raise httpx.ReadTimeout("")
    finally:
        answer.close()
    answer._content = b"".join(pieces)


def _response(answer: httpx.Response) -> Response:
    return Response(answer.status_code, {name.lower(): value for name, value in answer.headers.items()}, answer.content)


def _predicted(given: frames.Rows, model: Model, outputs: dict[str, Array]) -> Any:
    return frames.back(given, model, outputs)


def _probable(given: frames.Rows, model: Model, outputs: dict[str, Array]) -> Any:
    if "probabilities" not in outputs:
        raise ModelNotFound(f"model '{model.name}' gives no probabilities; it gives {', '.join(outputs)}")
    return frames.probabilities(given, model, outputs["probabilities"])


def _outputs(_: frames.Rows, __: Model, outputs: dict[str, Array]) -> dict[str, Array]:
    return outputs


class Client(_Base[httpx.Client]):
    """A client of a model gateway, for frames.

    >>> with Client("http://127.0.0.1:8080", model="churn") as client:
    ...     answers = client.predict(customers)

    `model` may be left out where the server has one. `timeout` is in seconds and for a whole call, retries included: a
    call is tried again where the server could not be reached or was busy. One client may be used by many threads.
    """

    def __init__(
        self,
        url: str,
        model: str | None = None,
        *,
        timeout: float = TIMEOUT,
        headers: Mapping[str, str] | None = None,
        verify: ssl.SSLContext | bool = True,
        classes: Callable[[str], tuple[Any, ...]] | None = None,
    ) -> None:
        super().__init__(httpx.Client, url, model, timeout, headers, verify, classes)

    def predict(self, rows: Frame, *, timeout: float | None = None) -> Frame:
        """The model's answers, as rows of the kind that came.

        A frame gets a frame with all outputs: one column for each, and for each class of a classifier one column
        `probabilities_CLASS`. Dicts get dicts. An array gets the first output as an array, a series or a list of
        values as well.

        Raises `InvalidInput` for rows that the model does not take, `ModelNotFound`, `Unavailable`,
        `DeadlineExceeded`, or `ServerError`.
        """
        result: Frame = self._predict(rows, _predicted, timeout)
        return result

    def predict_proba(self, rows: Frame, *, timeout: float | None = None) -> Frame:
        """The probability of each class: a frame with a column for each class, or an array. Raises as `predict`."""
        result: Frame = self._predict(rows, _probable, timeout)
        return result

    def outputs(self, rows: Any, *, timeout: float | None = None) -> dict[str, Array]:
        """All outputs by name, as arrays with rows first. Raises as `predict`."""
        return self._predict(rows, _outputs, timeout)

    def signature(self, *, timeout: float | None = None) -> Model:
        """The model's inputs and outputs now."""
        return self._run(lambda _: self._describe(), timeout)

    def ready(self) -> bool:
        """Whether the server, and the model if one is named, can answer."""
        path = f"/v2/models/{self.model}/ready" if self.model else "/v2/health/ready"
        try:
            return bool(self._http.get(f"{self.url}{path}", timeout=min(self.timeout, 5.0)).is_success)
        except httpx.TransportError:
            return False

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _predict(
        self, rows: Any, finish: Callable[[frames.Rows, Model, dict[str, Array]], T], timeout: float | None
    ) -> T:
        return self._run(lambda deadline: self._call(rows, finish, deadline), timeout)

    def _run(self, call: Callable[[Deadline], Call[T]], timeout: float | None) -> T:
        deadline = Deadline.after(self.timeout if timeout is None else timeout)
        running = call(deadline)
        try:
            request = next(running)
            while True:
                request = running.send(self._send(request, deadline))
        except StopIteration as done:
            result: T = done.value
            return result
        except Failed as error:
            raise calls.told(error, self.url, self.model, deadline) from None

    def _send(self, request: Request, deadline: Deadline) -> Response:
        while True:
            outcome: httpx.Response | httpx.TransportError
            try:
                outcome = self._http.send(self._requested(request, deadline), stream=True)
                _read(outcome, deadline)
            except httpx.TransportError as error:
                outcome = error
            pause = self._pause(outcome, deadline)
            if pause is None:
                assert isinstance(outcome, httpx.Response)
                return _response(outcome)
            time.sleep(pause)


class AsyncClient(_Base[httpx.AsyncClient]):
    """`Client` for asyncio.

    >>> async with AsyncClient("http://127.0.0.1:8080") as client:
    ...     answers = await client.predict(customers)
    """

    def __init__(
        self,
        url: str,
        model: str | None = None,
        *,
        timeout: float = TIMEOUT,
        headers: Mapping[str, str] | None = None,
        verify: ssl.SSLContext | bool = True,
        classes: Callable[[str], tuple[Any, ...]] | None = None,
    ) -> None:
        super().__init__(httpx.AsyncClient, url, model, timeout, headers, verify, classes)

    async def predict(self, rows: Frame, *, timeout: float | None = None) -> Frame:
        """As `Client.predict`."""
        result: Frame = await self._predict(rows, _predicted, timeout)
        return result

    async def predict_proba(self, rows: Frame, *, timeout: float | None = None) -> Frame:
        """As `Client.predict_proba`."""
        result: Frame = await self._predict(rows, _probable, timeout)
        return result

    async def outputs(self, rows: Any, *, timeout: float | None = None) -> dict[str, Array]:
        """As `Client.outputs`."""
        return await self._predict(rows, _outputs, timeout)

    async def signature(self, *, timeout: float | None = None) -> Model:
        """As `Client.signature`."""
        return await self._run(lambda _: self._describe(), timeout)

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _predict(
        self, rows: Any, finish: Callable[[frames.Rows, Model, dict[str, Array]], T], timeout: float | None
    ) -> T:
        return await self._run(lambda deadline: self._call(rows, finish, deadline), timeout)

    async def _run(self, call: Callable[[Deadline], Call[T]], timeout: float | None) -> T:
        deadline = Deadline.after(self.timeout if timeout is None else timeout)
        running = call(deadline)
        try:
            request = next(running)
            while True:
                request = running.send(await self._send(request, deadline))
        except StopIteration as done:
            result: T = done.value
            return result
        except Failed as error:
            raise calls.told(error, self.url, self.model, deadline) from None

    async def _send(self, request: Request, deadline: Deadline) -> Response:
        while True:
            outcome: httpx.Response | httpx.TransportError
            try:
                sent = self._http.send(self._requested(request, deadline))
                outcome = await asyncio.wait_for(sent, deadline.left())
            except (TimeoutError, asyncio.TimeoutError):
                outcome = httpx.ReadTimeout("")
            except httpx.TransportError as error:
                outcome = error
            pause = self._pause(outcome, deadline)
            if pause is None:
                assert isinstance(outcome, httpx.Response)
                return _response(outcome)
            await asyncio.sleep(pause)
