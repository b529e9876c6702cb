"""A gateway as a child process of this one."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from . import binary
from .errors import CannotServe

START_SECONDS = 60
STOP_SECONDS = 15
KEPT = ("MODELGATE_BINARY", "MODELGATE_CODE_CACHE", "MODELGATE_TRUST_CACHE")
"""Variables that the gateway gets; others of its settings are meant for another one."""


class Gateway:
    """Follows the folder `bundles`, on a free port of this machine, until `stop`, or the end of this process."""

    def __init__(self, listen: str = "127.0.0.1:0", options: Mapping[str, object] | None = None) -> None:
        program = binary.find()
        self.folder = Path(tempfile.mkdtemp(prefix="modelgate-"))
        self.bundles = self.folder / "bundles"
        self.bundles.mkdir()
        self._log = self.folder / "gateway.log"
        command = [
            str(program),
            "serve",
            *("--source", f"notebook={self.bundles}"),
            *("--listen", listen),
            *("--bundle-cache", str(self.folder / "cache")),
            *("--admin-socket", "off"),
            *("--drain-timeout", "5"),
            *("--access-log", "0"),
            *("--poll", "1"),
            *_flags(options or {}),
        ]
        self._process = _started(command, self.folder, self._log)
        # Also at the end of the interpreter, and when nothing refers to this any more.
        self._end = weakref.finalize(self, _stop, self._process, self.folder, os.getpid())
        try:
            self.url = self._address()
        except BaseException:
            self.stop()
            raise

    @property
    def running(self) -> bool:
        """Whether the gateway runs."""
        return self._end.alive and self._process.poll() is None

    def log(self, lines: int = 50) -> str:
        """The last lines of the gateway's log."""
        with contextlib.suppress(OSError):
            return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:])
        return ""

    def stop(self) -> None:
        """Ends the gateway once its requests in flight are answered. Again it does nothing."""
        self._end()

    def _address(self) -> str:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            ended = self._process.poll() is not None
            if found := re.search(r"listens on (http://\S+)", self.log(1000)):
                return found[1]
            if ended:
                said = self.log(5) or "nothing"
                advice = ""
                if "may be written to by others" in said:
                    advice = (
                        "; set TMPDIR to a folder that nobody else can write to, or give "
                        'options={"trust_cache": True} where only you use this machine'
                    )
                raise CannotServe(f"the gateway ended while it started; it says: {said}{advice}")
            time.sleep(0.01)
        raise CannotServe(f"the gateway did not start within {START_SECONDS} s; it says: {self.log(5) or 'nothing'}")


def _flags(options: Mapping[str, object]) -> list[str]:
    """`{"workers": 2, "cors_origin": "*"}` as flags of `modelgate serve`."""
    flags: list[str] = []
    for name, value in options.items():
        values = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
        for each in values:
            told = str(each).lower() if isinstance(each, bool) else str(each)
            flags.append(f"--{name.replace('_', '-')}={told}")
    return flags


def _started(command: list[str], folder: Path, log: Path) -> subprocess.Popen[bytes]:
    supervisor = Path(__file__).with_name("supervisor.py")
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("MODELGATE_") or name in KEPT
    }
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(supervisor), str(folder), *command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            # Interrupting a cell is not meant for the gateway.
            start_new_session=True,
        )


def _stop(process: subprocess.Popen[bytes], folder: Path, owner: int) -> None:
    if os.getpid() != owner:
        return  # a fork of the process that started it
    stdin: IO[bytes] | None = process.stdin
    if stdin is not None:
        with contextlib.suppress(OSError):
            stdin.close()
    with contextlib.suppress(OSError):
        process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    shutil.rmtree(folder, ignore_errors=True)
