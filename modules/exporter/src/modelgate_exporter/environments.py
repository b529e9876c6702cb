"""The packages that a version was logged with: environments of their own, kept for the next one."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from .saved import Saved

EXPORTER = (
    "numpy",
    "pandas",
    "scikit-learn",
    "onnx>=1.16",
    "skl2onnx>=1.18",
    "protobuf<7",
    "onnxruntime>=1.21",
    "pyyaml>=6",
    "joblib",
)
"""What a conversion needs beside the version's own packages."""

LEFT_OUT = ("mlflow", "mlflow-skinny", "mlflow-tracing")
"""Not needed to read a fitted object, and larger than all the rest."""

PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
"""What the exporter runs on."""


class CannotInstall(Exception):
    """The version's packages cannot be had; the text says which and why."""


@dataclass(frozen=True)
class Wanted:
    """A Python and the packages that a version asks for."""

    python: str
    """Such as `3.11`."""
    requirements: tuple[str, ...]

    @classmethod
    def by(cls, saved: Saved) -> Wanted:
        """From the version's `requirements.txt`, or else its `conda.yaml`."""
        lines: list[str] = []
        for line in _lines(saved):
            line = line.split(" #")[0].strip()
            if not line or line.startswith("#"):
                continue
            if line.startswith("-"):
                raise CannotInstall(
                    f"its requirements have the option {line.split()[0]}: packages come from the "
                    "package index alone; log the model with plain requirements"
                )
            try:
                requirement = Requirement(line)
            except InvalidRequirement:
                raise CannotInstall(f"its requirements have {line!r}, which is none") from None
            if requirement.url:
                raise CannotInstall(
                    f"its requirement {requirement.name} comes from {requirement.url.split('?')[0]}: "
                    "packages come from the package index alone"
                )
            if _plain(requirement.name) not in LEFT_OUT:
                lines.append(str(requirement))
        written = (saved.python() or "").rsplit(".", 1)[0]
        here = f"{sys.version_info.major}.{sys.version_info.minor}"
        return cls(written if written in PYTHONS else here, tuple(sorted(set(lines))))

    def is_here(self) -> bool:
        """Whether this process has all of it."""
        if self.python != f"{sys.version_info.major}.{sys.version_info.minor}":
            return False
        for line in (*self.requirements, *EXPORTER):
            requirement = Requirement(line)
            if requirement.marker and not requirement.marker.evaluate():
                continue
            try:
                version = importlib.metadata.version(requirement.name)
            except importlib.metadata.PackageNotFoundError:
                return False
            if not requirement.specifier.contains(version, prereleases=True):
                return False
        return True

    def digest(self, python: str) -> str:
        """Names the environment."""
        text = "\n".join([python, *self.requirements, "", *EXPORTER])
        return hashlib.sha256(text.encode()).hexdigest()[:24]


def _lines(saved: Saved) -> list[str]:
    plain = saved.folder / "requirements.txt"
    for file in (plain, saved.folder / "conda.yaml"):
        if file.is_file() and file.stat().st_size > 1 << 20:
            raise CannotInstall(f"its {file.name} is larger than 1 MiB")
    if plain.is_file():
        return plain.read_text().replace("\\\n", " ").splitlines()
    conda = saved.folder / "conda.yaml"
    if conda.is_file():
        import yaml

        found = yaml.safe_load(conda.read_bytes()) or {}
        for entry in found.get("dependencies", []):
            if isinstance(entry, dict) and "pip" in entry:
                return [str(line) for line in entry["pip"]]
    return []


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


class Environments:
    """Environments in a folder, by digest, the least recently used removed first."""

    def __init__(
        self,
        folder: Path,
        most: int = 8,
        most_bytes: int = 8 << 30,
        seconds: int = 900,
        builds: bool = False,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.folder, self.most, self.most_bytes = folder, most, most_bytes
        self.seconds, self.builds, self.say = seconds, builds, say
        folder.mkdir(parents=True, exist_ok=True)

    def python(self, wanted: Wanted) -> Path:
        """The interpreter of an environment that has what is wanted: this process's own where it
        has it, else one of the folder, made now if need be. Raises `CannotInstall`."""
        if wanted.is_here():
            return Path(sys.executable)
        base, version = self._base(wanted.python)
        at = self.folder / wanted.digest(version)
        ready = at / "ready.json"
        if not ready.is_file():
            self._make(at, base, wanted)
        os.utime(ready)
        self._bound(at)
        return at / "bin" / "python"

    def _base(self, version: str) -> tuple[str, str]:
        """An interpreter of that minor version; this one's where there is none."""
        here = f"{sys.version_info.major}.{sys.version_info.minor}"
        if version != here:
            if uv := _uv():
                done = subprocess.run(
                    [uv, "python", "find", "--no-python-downloads", "--no-project", version],
                    capture_output=True,
                    text=True,
                    env=self._environment(),
                    timeout=60,
                    check=False,
                )
                if done.returncode == 0:
                    return done.stdout.strip(), version
            elif found := shutil.which(f"python{version}"):
                return found, version
            self.say(f"there is no Python {version} here; Python {here} takes its place")
        return sys.executable, here

    def _make(self, at: Path, base: str, wanted: Wanted) -> None:
        made = at.with_name(f".{at.name}.{os.getpid()}")
        shutil.rmtree(made, ignore_errors=True)
        began = time.monotonic()
        self.say(f"installing {', '.join(wanted.requirements) or 'the latest packages'}")
        # No package may run code while it is installed, unless that is asked for.
        only_wheels = [] if self.builds else ["--only-binary", ":all:"]
        if uv := _uv():
            commands = [
                [
                    uv,
                    "venv",
                    "--quiet",
                    "--no-project",
                    "--no-python-downloads",
                    "--python",
                    base,
                    str(made),
                ],
                [
                    uv,
                    "pip",
                    "install",
                    "--quiet",
                    "--python",
                    str(made / "bin/python"),
                    *only_wheels,
                ],
            ]
        else:
            commands = [
                [base, "-m", "venv", str(made)],
                [
                    str(made / "bin/python"),
                    "-m",
                    "pip",
                    "install",
                    "--quiet",
                    "--disable-pip-version-check",
                    *only_wheels,
                ],
            ]
        commands[-1] += [*wanted.requirements, *EXPORTER]
        try:
            for command in commands:
                self._run(command)
            about = {"python": base, "requirements": wanted.requirements, "bytes": _size(made)}
            (made / "ready.json").write_text(json.dumps(about))
            made.chmod(0o755)
            if at.exists():
                shutil.rmtree(at)  # left by a process that ended early
            try:
                os.rename(made, at)
            except OSError:
                if not (at / "ready.json").is_file():  # else another converter was quicker
                    raise
        finally:
            shutil.rmtree(made, ignore_errors=True)
        self.say(f"installed in {time.monotonic() - began:.0f} s")

    def _run(self, command: list[str]) -> None:
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                timeout=self.seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise CannotInstall(
                f"its packages could not be installed within {self.seconds} s"
            ) from None
        if done.returncode != 0:
            words = " ".join(done.stderr.split())[-600:]
            raise CannotInstall(f"its packages cannot be installed: {words}")

    def _environment(self) -> dict[str, str]:
        """The variables that an installer needs, and nothing secret but for an index of one's own."""
        kept = re.compile(
            r"PATH|LANG|LC_.*|UV_.*|PIP_.*|SSL_CERT_(FILE|DIR)|REQUESTS_CA_BUNDLE|(https?|no|all)_proxy",
            re.IGNORECASE,
        )
        environment = {name: value for name, value in os.environ.items() if kept.fullmatch(name)}
        home = self.folder / ".home"
        home.mkdir(exist_ok=True)
        environment.setdefault("UV_CACHE_DIR", str(self.folder / ".cache"))
        # Environments are read by other users, and the cache may be on another disk.
        return environment | {
            "HOME": str(home),
            "UV_LINK_MODE": environment.get("UV_LINK_MODE", "copy"),
        }

    def _bound(self, kept: Path) -> None:
        """Removes what is over the number and the size that may stay, but not `kept`."""
        found = []
        for ready in self.folder.glob("*/ready.json"):
            try:
                found.append(
                    (ready.stat().st_mtime, json.loads(ready.read_text())["bytes"], ready.parent)
                )
            except (OSError, ValueError, KeyError):
                continue
        found.sort(reverse=True)
        total = 0
        for number, (_, size, at) in enumerate(found):
            total += size
            if at != kept and (number >= self.most or total > self.most_bytes):
                self.say(f"removing the environment {at.name}, unused for longest")
                shutil.rmtree(at, ignore_errors=True)


def _uv() -> str | None:
    beside = Path(sys.executable).with_name("uv")
    return os.environ.get("UV") or (str(beside) if beside.exists() else shutil.which("uv"))


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_symlink())
