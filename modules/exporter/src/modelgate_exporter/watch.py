"""`modelgate-export watch`: converts what the registry gets, for as long as it runs."""

from __future__ import annotations

import fnmatch
import hashlib
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from . import __version__, boosters, jobs
from .converted import Place, State, label
from .environments import CannotInstall, Environments, Wanted
from .errors import CannotExport
from .saved import Saved
from .stores import open_store
from .tracking import Registry, Unreachable, Version

CLAIM = 60
"""Seconds for which another converter leaves a version alone; said again while it is worked on."""

FIRST_PAUSE, LONGEST_PAUSE, REFUSED_PAUSE = 30.0, 6 * 3600.0, 24 * 3600.0
LOOKED_AT = 600.0
"""Seconds after which a version that is settled is looked at once more."""


@dataclass(frozen=True)
class Wants:
    """The versions that are converted; patterns as the shell has them, compared without case."""

    models: tuple[str, ...] = ("*",)
    aliases: tuple[str, ...] = ("*",)
    stages: tuple[str, ...] = ("production", "staging")
    latest: bool = False
    """The newest of a model too, whether anything names it or not."""

    def __contains__(self, version: Version) -> bool:
        def matches(value: str, patterns: tuple[str, ...]) -> bool:
            return any(fnmatch.fnmatchcase(value.lower(), p.lower()) for p in patterns)

        return matches(version.name, self.models) and (
            any(matches(alias, self.aliases) for alias in version.aliases)
            or matches(version.stage, self.stages)
            or (self.latest and version.stage == "None" and not version.aliases)
        )


@dataclass
class Known:
    """The facts known of a version."""

    version: Version
    state: str = "waiting"
    reason: str = ""
    due: float = 0.0
    seconds: float = 0.0
    tagged: str = ""


@dataclass
class Figures:
    """The counts since the start."""

    outcomes: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    conversions: int = 0
    last_look: float = 0.0
    registry_up: bool = False
    error: str = ""
    held: dict[str, bool] = field(default_factory=dict)


class Watcher:
    """Follows a registry."""

    def __init__(
        self,
        registry: Registry,
        environments: Environments,
        work: Path,
        *,
        wants: Wants = Wants(),
        limits: jobs.Limits | None = None,
        root: str | None = None,
        tag: bool = False,
    ) -> None:
        self.registry, self.environments, self.work = registry, environments, work
        self.wants, self.limits, self.root, self.tag = wants, limits or jobs.Limits(), root, tag
        self.known: dict[tuple[str, str, str], Known] = {}
        self.figures = Figures()
        self.me = f"{socket.gethostname()}-{os.getpid()}"

    def run(self, every: float, ended: threading.Event) -> None:
        """Until `ended` is set."""
        while not ended.is_set():
            self.look(ended)
            ended.wait(every)

    def look(self, ended: threading.Event | None = None) -> None:
        """Once: converts all that is due."""
        try:
            found = {
                (v.name, v.version, v.run_id): v for v in self.registry.named() if v in self.wants
            }
        except (OSError, KeyError, TypeError, ValueError) as error:
            if self.figures.registry_up or not self.figures.error:
                say(f"the registry cannot be used: {error}")
            self.figures.registry_up, self.figures.error = False, str(error)
            return
        self.figures.registry_up, self.figures.error = True, ""
        self.figures.last_look = time.time()
        self.known = {key: self.known.get(key) or Known(v) for key, v in found.items()}
        for key, version in found.items():
            known = self.known[key]
            known.version = version
            if ended is not None and ended.is_set():
                return
            if known.due <= time.time():
                self._settle(known)

    def _settle(self, known: Known) -> None:
        """Converts a version if it needs that and its time has come."""
        version = known.version
        try:
            state, reason, due = self._convert(known)
        except Exception as error:  # one version must not keep the others from being converted
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:500]
            state, due = "failed", time.time() + FIRST_PAUSE
            if known.reason != reason:
                say(f"{version.name} {version.version}: {reason}")
        known.state, known.reason, known.due = state, reason, due
        if self.tag and known.tagged != state + reason and state != "not needed":
            known.tagged = state + reason
            try:
                self.registry.tag(version, "modelgate.conversion", state)
                self.registry.tag(version, "modelgate.conversion.reason", reason or "-")
            except OSError as error:
                say(f"{version.name} {version.version} cannot be tagged: {error}")

    def _convert(self, known: Known) -> tuple[str, str, float]:
        """The version's state, why, and when it is looked at again."""
        version, now = known.version, time.time()
        artifacts = self.registry.artifacts(version)
        store = open_store(artifacts, self.registry)
        try:
            text = store.read("MLmodel", 1 << 20)
        except FileNotFoundError:
            return "failed", "it has no MLmodel yet", now + FIRST_PAUSE
        flavors = (yaml.safe_load(text) or {}).get("flavors") or {}
        if "modelgate" in flavors or "onnx" in flavors or boosters.is_native(flavors):
            return "not needed", "the gateway serves it as it is", now + LOOKED_AT
        digest = hashlib.sha256(text).hexdigest()
        place = Place.of(self.registry, version, artifacts, digest, self.root)
        if place.is_converted():
            return "converted", "", now + LOOKED_AT
        told = place.state()
        if told is not None and told.retry_at > now and told.by != self.me:
            # What another exporter refused, this one may not.
            if told.state == "converting" or told.exporter == __version__:
                return told.state, told.reason, min(told.retry_at, now + LOOKED_AT)
        attempts = told.attempts if told is not None and told.exporter == __version__ else 0
        say(f"{version.name} {version.version}: converting")
        known.state, known.reason = "converting", ""
        began = time.monotonic()
        with self._claimed(place, attempts):
            report = self._job(place, store)
        known.seconds = time.monotonic() - began
        self.figures.outcomes[report.state] = self.figures.outcomes.get(report.state, 0) + 1
        self.figures.seconds += known.seconds
        self.figures.conversions += 1
        self.figures.held = report.held or self.figures.held
        say(
            f"{version.name} {version.version}: {report.state} after {known.seconds:.1f} s"
            + (f": {report.reason}" if report.reason else "")
        )
        if report.state == "converted":
            return "converted", "", time.time() + LOOKED_AT
        pause = min(FIRST_PAUSE * 4**attempts, LONGEST_PAUSE)
        due = time.time() + (REFUSED_PAUSE if report.state == "refused" else pause)
        place.say(
            State(report.state, digest, report.reason, attempts + 1, due, __version__, self.me)
        )
        return report.state, report.reason, due

    def _job(self, place: Place, store: Any) -> jobs.Report:
        version = place.version
        prefix = f"{version.name} {version.version}: "

        def told(line: str) -> None:
            say(prefix + line)

        return convert(place, store, self.environments, self.work, self.limits, told)

    @contextmanager
    def _claimed(self, place: Place, attempts: int) -> Iterator[None]:
        """Says that it is worked on, for as long as it is."""
        done = threading.Event()

        def claim(until: float) -> None:
            state = State("converting", place.mlmodel, "", attempts, until, __version__, self.me)
            with suppress(OSError):
                place.say(state)

        def again() -> None:
            while not done.wait(CLAIM / 3):
                claim(time.time() + CLAIM)

        claim(time.time() + CLAIM)
        thread = threading.Thread(target=again, daemon=True)
        thread.start()
        try:
            yield
        except BaseException:
            done.set()
            thread.join()
            claim(0.0)  # the next converter need not wait
            raise
        done.set()
        thread.join()


def convert(
    place: Place,
    store: Any,
    environments: Environments,
    work: Path,
    limits: jobs.Limits,
    told: Callable[[str], None],
) -> jobs.Report:
    """Downloads, converts in a process of its own, verifies and publishes one version."""
    version = place.version
    with jobs.folder(work) as job:
        try:
            jobs.download(store, job / "model", limits.model_bytes)
            saved = Saved.open(job / "model")
            saved.flavor()  # says what is missing
            python = environments.python(Wanted.by(saved))
        except (CannotExport, ValueError) as error:
            return jobs.Report("refused", str(error), {}, None, {})
        except CannotInstall as error:
            return jobs.Report("failed", str(error), {}, None, {})
        asked = {
            "name": label(version.name),
            "version": version.version,
            "description": f"Converted from the registry's {version.name} {version.version}",
        }
        if not asked["description"].isprintable():
            asked["description"] = None
        report = jobs.run(job, python, asked, limits, told)
        if report.bundle is None:
            return report
        about = {**report.about, "exporter": __version__, "python": python.parent.parent.name}
        try:
            told(f"published as {place.publish(report.bundle, about)}")
        except Unreachable:
            raise
        except (OSError, ValueError) as error:
            return jobs.Report("failed", f"its bundle is not taken: {error}", {}, None, report.held)
        return report


def say(line: str) -> None:
    """One line of the log."""
    print(
        f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {line}", file=sys.stderr, flush=True
    )
