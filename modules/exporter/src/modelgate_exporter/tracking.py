"""The registry's own REST interface, as far as a conversion needs it; the same in MLflow 2 and 3."""

from __future__ import annotations

import base64
import json
import os
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

TIMEOUT = 30
"""Seconds that a call may take."""

MOST = 64 << 20
"""Bytes of an answer."""


class Unreachable(OSError):
    """The registry, or the artifact store, gave no answer of use."""


@dataclass(frozen=True)
class Version:
    """A version of a registered model, with what names it."""

    name: str
    version: str
    run_id: str = ""
    stage: str = "None"
    aliases: tuple[str, ...] = field(default=())


class Registry:
    """A tracking server with a registry of models."""

    def __init__(self, address: str | None = None) -> None:
        address = address or os.environ.get("MLFLOW_TRACKING_URI", "")
        parts = urllib.parse.urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(
                "set MLFLOW_TRACKING_URI to the registry's address, such as http://mlflow:5000"
            )
        host = parts.netloc.rsplit("@", 1)[-1]
        self.address = f"{parts.scheme}://{host}{parts.path.rstrip('/')}"
        name = unquote(parts.username or "") or _secret("MLFLOW_TRACKING_USERNAME")
        password = unquote(parts.password or "") or _secret("MLFLOW_TRACKING_PASSWORD")
        token = _secret("MLFLOW_TRACKING_TOKEN")
        self._authorization = None
        if name and password:
            pair = base64.b64encode(f"{name}:{password}".encode()).decode()
            self._authorization = f"Basic {pair}"
        elif token:
            self._authorization = f"Bearer {token}"

    def open(self, path: str, body: bytes | None = None, method: str | None = None) -> Any:
        """An answer to be read; `path` is below the server's address. Raises `Unreachable`, or
        `FileNotFoundError` for what is not there."""
        request = urllib.request.Request(f"{self.address}/{path}", data=body, method=method)
        if self._authorization:
            request.add_header("Authorization", self._authorization)
        if body is not None:
            request.add_header("Content-Type", "application/json")
        try:
            return urllib.request.urlopen(request, timeout=TIMEOUT)
        except urllib.error.HTTPError as error:
            words = error.read(1 << 14).decode(errors="replace")
            try:
                told = json.loads(words)
                words = f"{told.get('error_code', '')} {told.get('message', '')}".strip()
            except (ValueError, AttributeError):
                words = ""
            missing = error.code == 404 or (
                error.code == 400 and words.startswith("INVALID_PARAMETER_VALUE")
            )
            kind = FileNotFoundError if missing else Unreachable
            raise kind(f"the registry answers {error.code} {words[:300]}".rstrip()) from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise Unreachable(f"the registry at {self.address} does not answer: {reason}") from None

    def call(self, path: str, /, body: Mapping[str, Any] | None = None, **query: Any) -> Any:
        """A call of MLflow's interface: GET with a query, or POST with a body."""
        asked = urllib.parse.urlencode([(k, v) for k, v in query.items() if v not in (None, "")])
        address = f"api/2.0/mlflow/{path}" + (f"?{asked}" if asked else "")
        with self.open(address, None if body is None else json.dumps(body).encode()) as answer:
            text = answer.read(MOST + 1)
        if len(text) > MOST:
            raise Unreachable(f"the registry answers {path} with more than {MOST} bytes")
        try:
            return json.loads(text)
        except ValueError:
            raise Unreachable(f"the registry answers {path} with no JSON") from None

    def named(self) -> Iterator[Version]:
        """Every version that has an alias or a stage: of each stage the newest, as MLflow means
        it. Versions of no stage are there for their aliases, or as the newest of all."""
        token = ""
        while True:
            page = self.call("registered-models/search", max_results=200, page_token=token)
            for model in page.get("registered_models", []):
                yield from self._of(model)
            token = page.get("next_page_token") or ""
            if not token:
                return

    def _of(self, model: Mapping[str, Any]) -> Iterator[Version]:
        name = model["name"]
        aliases: dict[str, list[str]] = {}
        listed = model.get("aliases") or []
        # Some servers write a list of pairs, some an object.
        pairs = (
            listed.items()
            if isinstance(listed, dict)
            else ((entry["alias"], entry["version"]) for entry in listed)
        )
        for alias, version in pairs:
            aliases.setdefault(str(version), []).append(str(alias))
        for entry in model.get("latest_versions") or []:
            version = str(entry["version"])
            yield Version(
                name,
                version,
                entry.get("run_id") or "",
                entry.get("current_stage") or "None",
                tuple(aliases.pop(version, ())),
            )
        for version, names in aliases.items():
            yield Version(name, version, aliases=tuple(names))

    def find(self, reference: str) -> Version:
        """The version that `models:/name@alias`, `/3`, `/latest` or `/Stage` names now."""
        name, version, alias = parse(reference)
        if alias is not None:
            found = self.call("registered-models/alias", name=name, alias=alias)["model_version"]
        elif version and version.isdigit():
            found = self.call("model-versions/get", name=name, version=version)["model_version"]
        else:
            stages = [] if (version or "").lower() == "latest" else [version]
            asked = {"name": name, "stages": stages}
            listed = self.call("registered-models/get-latest-versions", body=asked)
            versions = listed.get("model_versions") or []
            if not versions:
                raise FileNotFoundError(f"the registry has no version of '{name}' in {version}")
            found = max(versions, key=lambda entry: int(entry["version"]))
        stage = found.get("current_stage") or "None"
        return Version(name, str(found["version"]), found.get("run_id") or "", stage)

    def artifacts(self, version: Version) -> str:
        """Where a version's files are."""
        found = self.call(
            "model-versions/get-download-uri", name=version.name, version=version.version
        )
        return str(found["artifact_uri"])

    def run_artifacts(self, run: str) -> str:
        """Where a run's files are."""
        found = self.call("runs/get", run_id=run)
        return str(found["run"]["info"]["artifact_uri"])

    def tag(self, version: Version, key: str, value: str) -> None:
        """Sets a tag of a version."""
        body = {"name": version.name, "version": version.version, "key": key, "value": value[:5000]}
        self.call("model-versions/set-tag", body=body)


def parse(reference: str) -> tuple[str, str | None, str | None]:
    """Name, version and alias of a `models:/` address, by MLflow's rule: what follows a slash is
    no alias."""
    rest = re.sub("^models:/+", "", reference)
    if "/" in rest:
        name, version = rest.rsplit("/", 1)
        if name and version:
            return unquote(name), unquote(version), None
    elif "@" in rest:
        name, alias = rest.rsplit("@", 1)
        if name and alias:
            return unquote(name), None, unquote(alias)
    raise ValueError(
        f"expected models:/name@alias, /name/3, /name/latest or /name/Stage, got {reference}"
    )


def encoded(path: str) -> str:
    """A path of artifacts as part of an address."""
    return quote(path, safe="/=")


def _secret(name: str) -> str:
    """A variable, or what the file holds that `NAME_FILE` names, as Docker's secrets come."""
    if value := os.environ.get(name):
        return value
    file = os.environ.get(f"{name}_FILE")
    return open(file).read().strip() if file else ""
