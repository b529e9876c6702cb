"""`serve`: from a fitted pipeline to a running gateway, and to its next version."""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from . import card
from .cells import Array
from .client import Client
from .errors import CannotServe, ModelgateError
from .gateway import Gateway
from .schema import Model

Frame = TypeVar("Frame")

LOAD_SECONDS = 300
"""As long as the gateway gives a version to load."""


def serve(
    pipeline: Any,
    sample: Any = None,
    *,
    name: str | None = None,
    port: int = 0,
    options: Mapping[str, object] | None = None,
    **exporting: Any,
) -> Served:
    """Serves a fitted scikit-learn pipeline from this process, and returns a handle.

    `sample` has rows as the pipeline takes them, for instance the test set: they give the columns' types, and what the
    export is compared on. In place of a pipeline there may be the folder of a bundle, without a sample. `name` is what
    requests call the model (`model`, or the bundle's own). `port` 0 is a free one. `options` are settings of
    `modelgate serve`, such as `{"workers": 2, "cors_origin": "*"}`. What else `export` takes (`classes`, `targets`,
    `tolerance`, `limits`, `description`) goes through `exporting`.

    The gateway is a child process that listens on 127.0.0.1. It ends by `stop()`, at the end of a `with` block, when
    the handle is deleted, and when this process ends, whatever ends it.

    Raises `CannotExport` where the pipeline cannot be served exactly, `CannotServe` where the gateway does not start.
    """
    return Served(pipeline, sample, name, port, options, exporting)


class Served:
    """A model that is served by a gateway of this process's own."""

    def __init__(
        self,
        pipeline: Any,
        sample: Any,
        name: str | None,
        port: int,
        options: Mapping[str, object] | None,
        exporting: dict[str, Any],
    ) -> None:
        # Refused before anything is started: a handle is of a model that answers.
        self._number = 0
        self._swapping = threading.Lock()
        self._exporting = exporting
        self._classes: dict[str, tuple[Any, ...]] = {}
        self.example: dict[str, Any] = {}
        """A row that the model takes, as JSON; empty for a bundle without golden examples."""
        self.report: Any = None
        """What `export` compared; `None` for a bundle that was there."""
        self._gateway = Gateway(f"127.0.0.1:{port}", options)
        try:
            # Not by the handle itself: it ends when nothing refers to it.
            classes = self._classes

            def known(version: str) -> tuple[Any, ...]:
                return classes.get(version, ())

            self.name = name or _own_name(pipeline) or "model"
            self.client = Client(self._gateway.url, self.name, classes=known)
            self._live(pipeline, sample, exporting)
        except BaseException:
            self.stop()
            raise

    @property
    def url(self) -> str:
        """The gateway's address."""
        return self._gateway.url

    @property
    def docs(self) -> str:
        """The address of the page that describes the model and makes predictions."""
        return f"{self.url}/docs"

    @property
    def version(self) -> str:
        """The version that answers; the first is 1."""
        return self._version

    @property
    def signature(self) -> Model:
        """The model's inputs and outputs."""
        return self._model

    @property
    def running(self) -> bool:
        """Whether the gateway runs."""
        return self._gateway.running

    def predict(self, rows: Frame, *, timeout: float | None = None) -> Frame:
        """The model's answers, as rows of the kind that came: see `Client.predict`."""
        self._check()
        return self.client.predict(rows, timeout=timeout)

    def predict_proba(self, rows: Frame, *, timeout: float | None = None) -> Frame:
        """The probability of each class: see `Client.predict_proba`."""
        self._check()
        return self.client.predict_proba(rows, timeout=timeout)

    def outputs(self, rows: Any, *, timeout: float | None = None) -> dict[str, Array]:
        """All outputs by name, as arrays."""
        self._check()
        return self.client.outputs(rows, timeout=timeout)

    def swap(self, pipeline: Any, sample: Any = None, **exporting: Any) -> Served:
        """Serves another pipeline under the same name as the next version, without a request lost in between.

        Returns this handle once the new version answers. Where it is refused, the error says why, and the version
        before it goes on answering. What `serve` was given for the export holds unless it is given anew.
        """
        self._check()
        with self._swapping:
            self._live(pipeline, sample, {**self._exporting, **exporting})
        return self

    def log(self, lines: int = 50) -> str:
        """The last lines of the gateway's log."""
        return self._gateway.log(lines)

    def stop(self) -> None:
        """Ends the gateway. Again it does nothing."""
        if hasattr(self, "client"):
            self.client.close()
        self._gateway.stop()

    def __enter__(self) -> Served:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def __repr__(self) -> str:
        if not self.running:
            return f"<modelgate: '{self.name}' version {self._version}, stopped>"
        return f"<modelgate: '{self.name}' version {self._version} at {self.url}>"

    def _repr_html_(self) -> str:
        return card.html(self)

    def _check(self) -> None:
        if not self.running:
            last = self._gateway.log(3)
            told = f"; it says: {last}" if last else ""
            raise CannotServe(f"the gateway of '{self.name}' was stopped; serve() starts another one{told}")

    def _live(self, pipeline: Any, sample: Any, exporting: dict[str, Any]) -> None:
        """Makes the next version's bundle, and waits until it answers."""
        self._number += 1
        version = str(self._number)
        made = self._gateway.folder / f"made-{version}"
        report = _bundle(pipeline, sample, made, self.name, version, exporting)
        self._classes[version] = _class_names(pipeline, exporting)
        place = self._gateway.bundles / version
        os.rename(made, place)
        try:
            self._wait(version)
        except BaseException:
            shutil.rmtree(place, ignore_errors=True)
            raise
        for older in self._gateway.bundles.iterdir():
            if older != place:
                shutil.rmtree(older, ignore_errors=True)
        self.report, self._version = report, version
        self.example = _example(place)
        self._model = self.client.signature()

    def _wait(self, version: str) -> None:
        deadline = time.monotonic() + LOAD_SECONDS
        state = "it was not found"
        while time.monotonic() < deadline:
            for entry in self.client._run(lambda _: _index(), None):
                if entry.get("name") != self.name or str(entry.get("version")) != version:
                    continue
                if entry.get("state") == "READY":
                    return
                state = entry.get("reason") or str(entry.get("state"))
                if entry.get("state") == "UNAVAILABLE" and entry.get("reason"):
                    raise CannotServe(f"the gateway refuses '{self.name}' version {version}: {entry['reason']}")
            if not self.running:
                raise CannotServe(f"the gateway ended: {self._gateway.log(5)}")
            time.sleep(0.02)
        raise CannotServe(f"'{self.name}' version {version} was not live within {LOAD_SECONDS} s: {state}")


def _index() -> Any:
    from .calls import Request, _json

    response = yield Request("POST", "/v2/repository/index", {"Content-Type": "application/json"}, b"{}")
    return _json(response)


def _example(bundle: Path) -> dict[str, Any]:
    """A row that the model takes: the first golden example."""
    try:
        golden = json.loads((bundle / "golden.json").read_text())
        return dict(golden["examples"][0]["input"])
    except (OSError, ValueError, LookupError):
        return {}


def _own_name(given: Any) -> str | None:
    if not isinstance(given, (str, os.PathLike)):
        return None
    return str(_manifest(Path(given))["name"])


def _manifest(folder: Path) -> dict[str, Any]:
    if not (folder / "bundle.toml").is_file():
        if folder.suffix in (".pkl", ".joblib", ".pickle"):
            advice = "load it first: serve(joblib.load(path), sample)"
        else:
            advice = "serve() takes a fitted pipeline, or the folder of a bundle (with a bundle.toml)"
        raise CannotServe(f"{folder} is no bundle: {advice}")
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    return tomllib.loads((folder / "bundle.toml").read_text())


def _bundle(pipeline: Any, sample: Any, out: Path, name: str, version: str, exporting: dict[str, Any]) -> Any:
    """Writes the bundle, and tells what was compared."""
    if isinstance(pipeline, (str, os.PathLike)):
        manifest = _manifest(Path(pipeline))
        shutil.copytree(pipeline, out)
        _renamed(out / "bundle.toml", manifest, name, version)
        return None
    if sample is None:
        raise CannotServe(
            "serve() needs a sample: rows as the pipeline takes them, such as the test set: serve(pipeline, X_test)"
        )
    try:
        from modelgate_exporter import export
    except ImportError as error:
        raise CannotServe(
            f"exporting a pipeline needs {error.name}: pip install modelgate-serving, without --no-deps"
        ) from error
    return export(pipeline, sample, out, name=name, version=version, quiet=True, **exporting)


def _renamed(path: Path, manifest: Mapping[str, Any], name: str, version: str) -> None:
    """The manifest with the handle's name and the next version: its own may be the one that answers already."""
    head, bracket, rest = path.read_text().partition("\n[")
    lines = []
    for line in head.splitlines():
        key = line.partition("=")[0].strip()
        value = {"name": name, "version": version}.get(key)
        lines.append(f'{key} = "{value}"' if value is not None else line)
    path.write_text("\n".join(lines) + bracket + rest)


def _class_names(pipeline: Any, exporting: Mapping[str, Any]) -> tuple[Any, ...]:
    given = exporting.get("classes")
    if given is not None:
        return tuple(str(value) for value in getattr(given, "classes_", given))
    classes = getattr(pipeline, "classes_", None)
    if classes is None or isinstance(classes, list):
        return ()
    return tuple(value.item() if hasattr(value, "item") else value for value in classes)


__all__ = ["CannotServe", "ModelgateError", "Served", "serve"]
