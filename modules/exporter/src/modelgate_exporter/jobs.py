"""One conversion in a process of its own, which is trusted with nothing: see `sandbox`."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import sandbox
from .stores import Store

PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER = 4, 36
MOST_FILES = 2000
START = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from pathlib import Path; from modelgate_exporter.convert import main; "
    "sys.exit(main(Path(sys.argv[2])))"
)


@dataclass(frozen=True)
class Limits:
    """The limits of a conversion."""

    memory: int = 4 << 30
    cpu_seconds: int = 600
    seconds: int = 900
    file_bytes: int = 1 << 30
    model_bytes: int = 2 << 30
    user: int | None = None
    """Whose process it is, where this one may change that."""
    required: bool = True
    """Whether nothing is run where the network cannot be cut off."""


@dataclass(frozen=True)
class Report:
    """The result of a conversion."""

    state: str
    """`converted`, `refused` (as it is, it cannot be), `failed` (it may go better later)."""
    reason: str
    about: dict[str, Any]
    bundle: Path | None
    held: dict[str, bool]
    """What kept the process in."""


def guard() -> None:
    """To be called once, before the first job: what a job leaves behind becomes this process's
    child, and no process of the same user can read this one's memory or environment."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


@contextmanager
def folder(work: Path) -> Iterator[Path]:
    """A job's folder, removed with all that is in it."""
    work.mkdir(parents=True, exist_ok=True)
    job = Path(tempfile.mkdtemp(prefix="job-", dir=work))
    job.chmod(0o755)
    try:
        yield job
    finally:
        shutil.rmtree(job, ignore_errors=True)


def download(store: Store, into: Path, most: int) -> None:
    """A version's files. Raises `ValueError` where they are too large, too many, or no paths."""
    total = 0
    for number, (path, size) in enumerate(store.list()):
        parts = Path(path).parts
        if number >= MOST_FILES or ".." in parts or path.startswith("/") or not parts:
            raise ValueError(f"its files are more than {MOST_FILES}, or have no proper names")
        total += size
        if total > most:
            raise ValueError(f"its files are more than {most} bytes")
        at = into / path
        at.parent.mkdir(parents=True, exist_ok=True)
        content = store.read(path, most)
        total += max(0, len(content) - size)
        at.write_bytes(content)


def run(
    job: Path,
    python: Path,
    asked: dict[str, Any],
    limits: Limits,
    say: Callable[[str], None] = lambda _: None,
) -> Report:
    """Converts `job/model`, which is there already, with this interpreter."""
    (job / "job.json").write_text(json.dumps(asked))
    package = Path(__file__).parent
    shutil.copytree(
        package, job / "exporter" / package.name, ignore=shutil.ignore_patterns("__pycache__")
    )
    own = [job / "out", job / "home", job / "tmp"]
    user = limits.user if os.getuid() == 0 and _reachable(python, job) else None
    for made in own:
        made.mkdir()
        if user is not None:
            os.chown(made, user, user)
    read, write = os.pipe()
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(job / "home"),
        "TMPDIR": str(job / "tmp"),
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "LOKY_MAX_CPU_COUNT": "1",
    }
    spec = {
        "memory": limits.memory,
        "cpu_seconds": limits.cpu_seconds,
        "file_bytes": limits.file_bytes,
        "user": user,
        "required": limits.required,
        "report": write,
        "read": _readable(python, job),
        "write": [*map(str, own), "/dev/null"],
    }
    command = [sys.executable, "-I", sandbox.__file__, json.dumps(spec)]
    command += [str(python), "-I", "-B", "-c", START, str(job / "exporter"), str(job)]
    before = set(_children())
    process = subprocess.Popen(
        command,
        env=environment,
        cwd=job / "tmp",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        pass_fds=[write],
        start_new_session=True,
    )
    os.close(write)
    lines: deque[str] = deque(maxlen=40)
    reader = threading.Thread(target=_follow, args=(process.stderr, lines, say), daemon=True)
    reader.start()
    late = False
    try:
        process.wait(limits.seconds)
    except subprocess.TimeoutExpired:
        late = True
    finally:
        # Also where this process is told to end.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        _end(before)
    reader.join(5)
    with os.fdopen(read) as told:
        held = _held(told.read(4096))
    return _report(job, process.returncode, late, limits, lines, held)


def _report(
    job: Path, code: int, late: bool, limits: Limits, lines: deque[str], held: dict[str, bool]
) -> Report:
    def failed(reason: str) -> Report:
        return Report("failed", reason, {}, None, held)

    if late:
        return failed(f"it took longer than {limits.seconds} s")
    if code == -signal.SIGXCPU:
        return failed(f"it took more than {limits.cpu_seconds} s of processor time")
    if code < 0:
        return failed(f"its process ended by signal {-code}: {' '.join(list(lines)[-3:])[:300]}")
    try:
        at = os.open(job / "out" / "report.json", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(at, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ValueError("no plain file")
            told = json.loads(file.read(1 << 20))
        state, reason = told.pop("state"), str(told.pop("reason", ""))[:1500]
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        words = " ".join(list(lines)[-3:])[:300]
        return failed(f"its process ended with {code} and told nothing: {words}")
    bundle = job / "out" / "bundle"
    if state == "converted" and bundle.is_dir() and not bundle.is_symlink():
        about = {key: told[key] for key in ("rows", "compared", "seconds") if key in told}
        return Report("converted", "", about, bundle, held)
    return Report("refused" if state == "refused" else "failed", reason, {}, None, held)


def _follow(stream: Any, lines: deque[str], say: Callable[[str], None]) -> None:
    told = 0
    for raw in iter(lambda: stream.readline(2000), b""):
        line = raw.decode(errors="replace").strip()
        lines.append(line)
        told += 1
        if told <= 50 and line.startswith(("reading ", "exporting ")):
            say(line)


def _held(text: str) -> dict[str, bool]:
    try:
        return {str(key): bool(value) for key, value in json.loads(text).items()}
    except (ValueError, AttributeError):
        return {}


def _readable(python: Path, job: Path) -> list[str]:
    """The files that the process needs to read: the system's libraries, its interpreter, its job."""
    base = Path(os.path.realpath(python))
    system = [
        "/usr",
        "/lib",
        "/lib64",
        "/lib32",
        "/bin",
        "/sys/fs/cgroup",
        "/sys/devices/system/cpu",
    ]
    # Of processes its own alone: others' environments hold credentials.
    system += [f"/proc/{name}" for name in ("self", "cpuinfo", "meminfo", "stat", "mounts", "sys")]
    system += ["/dev/urandom", "/dev/random", "/dev/zero"]
    system += [
        f"/etc/{name}" for name in ("ld.so.cache", "localtime", "nsswitch.conf", "passwd", "ssl")
    ]
    own = [base.parent.parent, python.parent.parent, Path(sys.base_prefix), Path(sys.prefix)]
    return [*system, *map(str, own), str(job)]


def _reachable(*paths: Path) -> bool:
    """Whether another user can come to all of these."""
    for path in paths:
        for way in {Path(os.path.abspath(path)), Path(os.path.realpath(path))}:
            for folder in way.parents:
                if not folder.stat().st_mode & stat.S_IXOTH:
                    return False
    return True


def _children() -> Iterator[int]:
    """The processes whose parent is this one."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == os.getpid():
            yield int(entry.name)


def _end(before: set[int]) -> None:
    """Ends what the job left behind: its orphans are this process's children now."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        left = [pid for pid in _children() if pid not in before]
        if not left:
            return
        for pid in left:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
            with suppress(OSError):
                os.waitpid(pid, 0)
