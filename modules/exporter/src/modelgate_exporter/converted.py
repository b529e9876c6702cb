"""The place of a version's converted bundle, which the gateway's `models:/` source knows as well.

`ROOT/NAME/VERSION/SOURCE/` has `converted.json`, the manifest with what it was made from; `DIGEST/`,
its files under the manifest's digest; and `state.json`, what keeps the converter from it. `SOURCE` is
the beginning of the `MLmodel`'s digest: two registries with one bucket may number alike. The record
is written last, so a bundle is there as a whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .registry import check_files, read_manifest
from .stores import Store, open_store
from .tracking import Registry, Version

ROOT = "modelgate/converted"
"""In the store that has the version's own artifacts, unless MODELGATE_CONVERTED says where."""

FORMAT = 1
RECORD, STATE = "converted.json", "state.json"
MAX_KEY, CUT = 200, 120
MAX_FILES, MAX_BYTES = 16, 1 << 30
"""Of a bundle."""


def key(name: str) -> str:
    """A model's name as part of a key; no two names have the same. Letters, digits, `_`, `-` and
    `.` stand for themselves, but a leading `.` does not; every other byte is `=` and two
    hexadecimal digits. What is longer than 200 is cut, and told apart by its digest."""
    plain = re.compile(r"[A-Za-z0-9_-]")
    out = "".join(
        chr(byte) if plain.match(chr(byte)) or (byte == ord(".") and place > 0) else f"={byte:02X}"
        for place, byte in enumerate(name.encode())
    )
    if len(out) > MAX_KEY:
        return f"{out[:CUT]}=x{hashlib.sha256(name.encode()).hexdigest()}"
    return out


def label(name: str) -> str:
    """A registry's name as requests can say it: `_` for what they cannot."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)[:128]


def folder(artifacts: str, version: Version, mlmodel: str, root: str | None = None) -> str:
    """The address of a version's folder. `artifacts` is where its own files are, `mlmodel` the
    sha256 of the `MLmodel` among them."""
    root = root or os.environ.get("MODELGATE_CONVERTED") or None
    if root is None:
        parts = urlsplit(artifacts)
        if parts.scheme == "s3":
            root = f"s3://{parts.netloc}/{ROOT}"
        elif parts.scheme == "mlflow-artifacts":
            root = f"mlflow-artifacts:/{ROOT}"
        else:
            raise ValueError(
                f"there is no usual place for what is converted from artifacts at {artifacts}: set "
                "MODELGATE_CONVERTED, for instance to s3://bucket/prefix"
            )
    return f"{root.rstrip('/')}/{key(version.name)}/{version.version}/{mlmodel[:16]}"


@dataclass
class State:
    """The converter's report on a version that has no bundle yet."""

    state: str
    """`converting`, `refused` (it is as it is) or `failed` (it may go better later)."""
    mlmodel_sha256: str
    reason: str = ""
    attempts: int = 0
    retry_at: float = 0.0
    """In seconds since 1970; while `converting`, until when others leave it alone."""
    exporter: str = ""
    by: str = ""
    at: float = field(default_factory=time.time)


@dataclass(frozen=True)
class Place:
    """A version's folder."""

    store: Store
    version: Version
    artifacts: str
    mlmodel: str
    """The sha256 of the version's `MLmodel`."""

    @classmethod
    def of(
        cls, registry: Registry, version: Version, artifacts: str, mlmodel: str, root: str | None
    ) -> Place:
        """Where it is; touches no network."""
        store = open_store(folder(artifacts, version, mlmodel, root), registry)
        return cls(store, version, artifacts, mlmodel)

    def is_converted(self) -> bool:
        """Whether a bundle is there that was made from this very version."""
        record = self._json(RECORD)
        return bool(record) and (
            record.get("format") == FORMAT
            and record.get("name") == self.version.name
            and record.get("version") == self.version.version
            and record.get("mlmodel_sha256") == self.mlmodel
        )

    def state(self) -> State | None:
        """A converter's report on it."""
        try:
            state = State(**self._json(STATE))
        except TypeError:
            return None
        return state if state.mlmodel_sha256 == self.mlmodel else None

    def say(self, state: State) -> None:
        """For the gateway, for other converters, and for this one after a restart."""
        self.store.write(STATE, json.dumps(asdict(state)).encode())

    def _json(self, path: str) -> Any:
        try:
            found = json.loads(self.store.read(path, 1 << 20))
        except (FileNotFoundError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def publish(self, bundle: Path, about: Mapping[str, Any]) -> str:
        """Puts a bundle there: its files first, the record last. Gives where the record is."""
        manifest, files = verified(bundle, label(self.version.name), self.version.version)
        digest = hashlib.sha256(manifest).hexdigest()
        for name, content in files.items():
            self.store.write(f"{digest}/{name}", content)
        record = {
            "format": FORMAT,
            "name": self.version.name,
            "version": self.version.version,
            "run_id": self.version.run_id,
            "source": self.artifacts,
            "mlmodel_sha256": self.mlmodel,
            "manifest": manifest.decode(),
            **about,
        }
        self.store.write(RECORD, json.dumps(record, indent=1).encode())
        return f"{self.store.address}/{RECORD}"


def verified(bundle: Path, name: str, version: str) -> tuple[bytes, dict[str, bytes]]:
    """The manifest and the files of a bundle that a process made which is not trusted: plain files
    that the manifest names, with its digests, the gateway's own modules, this name and version.
    Raises `ValueError`."""
    total = 0
    found = set()
    for entry in os.scandir(bundle):
        if entry.is_symlink() or not entry.is_file(follow_symlinks=False):
            raise ValueError(f"{entry.name}: a bundle has plain files only")
        if entry.stat(follow_symlinks=False).st_nlink > 1:
            raise ValueError(f"{entry.name}: it is a file of something else, too")
        total += entry.stat(follow_symlinks=False).st_size
        found.add(entry.name)
    if len(found) > MAX_FILES or total > MAX_BYTES:
        raise ValueError(f"the bundle has {len(found)} files of {total} bytes")
    if "bundle.toml" not in found or (bundle / "bundle.toml").stat().st_size > 1 << 19:
        raise ValueError("there is no bundle.toml, or a very large one")
    manifest = read_manifest(bundle)
    if (manifest.get("name"), manifest.get("version")) != (name, version):
        raise ValueError(f"the bundle says it is {manifest.get('name')} {manifest.get('version')}")
    stages = manifest.get("stage", [])
    if not all(str(stage.get("module", "")).startswith("builtin:") for stage in stages):
        raise ValueError("the bundle has modules of its own")
    named = check_files(bundle, manifest)
    if set(named) != found - {"bundle.toml"}:
        raise ValueError("the bundle has files that its manifest does not name")
    return (bundle / "bundle.toml").read_bytes(), {
        name: (bundle / name).read_bytes() for name in dict.fromkeys(named)
    }
