"""Where artifacts are: a bucket, the tracking server's proxy, or a folder of this machine."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, unquote, urlsplit

from .tracking import Registry, Unreachable, _secret, encoded

PIECE = 1 << 20


class Store(Protocol):
    """A folder of artifacts. Paths are below it; `FileNotFoundError` says that one is not there."""

    address: str

    def list(self) -> Iterator[tuple[str, int]]:
        """Every file with its size."""

    def read(self, path: str, most: int) -> bytes:
        """A file of at most `most` bytes."""

    def write(self, path: str, content: bytes) -> None:
        """Puts a file there as a whole."""


class Bucket:
    """A part of a bucket."""

    def __init__(self, address: str) -> None:
        try:
            import boto3
            import botocore.config
        except ImportError:
            raise ValueError(
                "artifacts are in S3: pip install 'modelgate-exporter[registry]'"
            ) from None
        rest = address.removeprefix("s3://").strip("/")
        self._bucket, _, self._prefix = rest.partition("/")
        self.address = f"s3://{rest}"
        endpoint = os.environ.get("MLFLOW_S3_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT_URL")
        self._client = boto3.client(
            "s3",
            endpoint_url=endpoint or None,
            aws_access_key_id=_secret("AWS_ACCESS_KEY_ID") or None,
            aws_secret_access_key=_secret("AWS_SECRET_ACCESS_KEY") or None,
            aws_session_token=_secret("AWS_SESSION_TOKEN") or None,
            region_name=os.environ.get("AWS_REGION")
            or os.environ.get("AWS_DEFAULT_REGION")
            or "us-east-1",
            config=botocore.config.Config(
                connect_timeout=10, read_timeout=30, retries={"max_attempts": 3, "mode": "standard"}
            ),
        )

    def _key(self, path: str) -> str:
        return f"{self._prefix}/{path}" if self._prefix else path

    def list(self) -> Iterator[tuple[str, int]]:
        """Every file with its size."""
        folder = self._key("")
        pages = self._client.get_paginator("list_objects_v2")
        with _told(self.address):
            for page in pages.paginate(Bucket=self._bucket, Prefix=folder):
                for entry in page.get("Contents", []):
                    yield entry["Key"][len(folder) :], entry["Size"]

    def read(self, path: str, most: int) -> bytes:
        """A file of at most `most` bytes."""
        with _told(f"{self.address}/{path}"):
            answer = self._client.get_object(Bucket=self._bucket, Key=self._key(path))
            return _bounded(answer["Body"], most, path)

    def write(self, path: str, content: bytes) -> None:
        """Puts a file there as a whole."""
        with _told(f"{self.address}/{path}"):
            self._client.put_object(Bucket=self._bucket, Key=self._key(path), Body=content)


class Proxy:
    """A part of what the tracking server's artifact proxy has."""

    def __init__(self, registry: Registry, path: str) -> None:
        self._registry, self._path = registry, path.strip("/")
        self.address = f"mlflow-artifacts:/{self._path}"

    def _at(self, path: str) -> str:
        return f"api/2.0/mlflow-artifacts/artifacts/{encoded(f'{self._path}/{path}'.strip('/'))}"

    def list(self, below: str = "") -> Iterator[tuple[str, int]]:
        """Every file with its size."""
        path = f"{self._path}/{below}".strip("/")
        asked = f"api/2.0/mlflow-artifacts/artifacts?path={quote(path, safe='')}"
        with self._registry.open(asked) as answer:
            listed = json.loads(answer.read(64 << 20))
        for entry in listed.get("files", []):
            name = f"{below}/{entry['path'].rsplit('/', 1)[-1]}".strip("/")
            if entry.get("is_dir"):
                yield from self.list(name)
            else:
                yield name, int(entry.get("file_size") or 0)

    def read(self, path: str, most: int) -> bytes:
        """A file of at most `most` bytes."""
        folder, _, name = path.rpartition("/")
        # The proxy answers a file that is not there like a store that is down.
        asked = f"{self._path}/{folder}".strip("/")
        with self._registry.open(
            f"api/2.0/mlflow-artifacts/artifacts?path={quote(asked, safe='')}"
        ) as answer:
            listed = json.loads(answer.read(64 << 20)).get("files", [])
        if name not in (entry["path"].rsplit("/", 1)[-1] for entry in listed):
            raise FileNotFoundError(f"{self.address}/{path}: not there")
        with self._registry.open(self._at(path)) as answer:
            return _bounded(answer, most, path)

    def write(self, path: str, content: bytes) -> None:
        """Puts a file there as a whole."""
        self._registry.open(self._at(path), content, "PUT").close()


class Folder:
    """A folder of this machine."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.address = str(path)

    def list(self) -> Iterator[tuple[str, int]]:
        """Every file with its size."""
        for path in sorted(self._path.rglob("*")):
            if path.is_file():
                yield str(path.relative_to(self._path)), path.stat().st_size

    def read(self, path: str, most: int) -> bytes:
        """A file of at most `most` bytes."""
        with (self._path / path).open("rb") as file:
            return _bounded(file, most, path)

    def write(self, path: str, content: bytes) -> None:
        """Puts a file there as a whole."""
        at = self._path / path
        at.parent.mkdir(parents=True, exist_ok=True)
        made = at.with_name(f".{at.name}.{os.getpid()}")
        made.write_bytes(content)
        made.rename(at)


def open_store(address: str, registry: Registry | None) -> Store:
    """The store at an address as the registry gives it. Touches no network."""
    parts = urlsplit(address)
    if parts.scheme == "s3":
        return Bucket(address)
    if parts.scheme == "mlflow-artifacts" and registry is not None:
        # With or without a host, which is the tracking server's.
        return Proxy(registry, parts.path)
    if parts.scheme in ("", "file"):
        return Folder(Path(unquote(parts.path)))
    raise ValueError(
        f"artifacts at {parts.scheme}: cannot be reached; only s3:, mlflow-artifacts: and folders can"
    )


def _bounded(body: Any, most: int, path: str) -> bytes:
    content = bytearray()
    while piece := body.read(PIECE):
        content += piece
        if len(content) > most:
            raise ValueError(f"{path} has more than {most} bytes")
    return bytes(content)


class _told:
    """Turns what S3's client raises into the errors of this module."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: Any, error: BaseException | None, _trace: Any) -> None:
        if error is None:
            return
        import botocore.exceptions as raised

        if isinstance(error, raised.ClientError):
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code in ("NoSuchKey", "404"):
                raise FileNotFoundError(f"{self.what}: not there") from None
            raise Unreachable(f"{self.what}: {code} {error}"[:300]) from None
        if isinstance(error, raised.BotoCoreError | raised.HTTPClientError):
            raise Unreachable(f"{self.what}: {error}"[:300]) from None
