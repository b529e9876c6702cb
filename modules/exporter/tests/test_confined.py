"""A pickle that does what it must not: in the process that reads it, it cannot."""

import os
import pickle
import socket
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelgate_exporter import jobs

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux keeps the process in")


class Runs:
    """Runs code when it is read, and tells what came of it as the reason of the failure."""

    def __init__(self, code: str) -> None:
        self.code = code

    def __reduce__(self) -> Any:
        return exec, (self.code,)


def run(tmp_path: Path, code: str, limits: jobs.Limits = jobs.Limits()) -> jobs.Report:
    """The code's `told` is the report's reason."""
    job = tmp_path / "job"
    (job / "model").mkdir(parents=True)
    whole = f"told = 'nothing'\n{code}\nraise SystemExit if told is None else RuntimeError(told)"
    (job / "model" / "model.pkl").write_bytes(pickle.dumps(Runs(whole)))
    flavors = {"sklearn": {"pickled_model": "model.pkl"}}
    (job / "model" / "MLmodel").write_text(yaml.safe_dump({"flavors": flavors}))
    return jobs.run(job, Path(sys.executable), {"name": "m", "version": "1"}, limits)


TRY = """
def tried(what):
    try:
        return repr(what())
    except Exception as error:
        return type(error).__name__
"""


def test_it_has_no_network(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        report = run(
            tmp_path,
            TRY
            + f"import socket\ntold = tried(lambda: socket.create_connection(('127.0.0.1', {port}), 3))",
        )
        server.settimeout(0.1)
        with pytest.raises(TimeoutError):
            server.accept()
    assert report.state in ("failed", "refused") and "Error" in report.reason
    assert "socket.socket" not in report.reason
    assert report.held["calls"] or report.held["namespace"]


def test_it_has_no_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-the-tests")
    jobs.guard()
    parents = f"""
import os
told = ' '.join(os.environ) + ' '.join(os.environ.values())[:40] + tried(lambda: open('/proc/{os.getpid()}/environ', 'rb').read())
told += tried(lambda: open('/proc/{os.getpid()}/mem', 'rb').read(1))
"""
    report = run(tmp_path, TRY + parents)
    assert "HOME" in report.reason and "of-the-tests" not in report.reason
    assert report.held["powerless"] and report.reason.count("PermissionError") == 2


def test_it_writes_to_its_own_folders_alone(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    code = f"""
told = tried(lambda: open('{outside}/x', 'w'))
told += tried(lambda: open(__import__('modelgate_exporter').__file__, 'a'))
told += tried(lambda: open('{outside.parent}/job/model/MLmodel', 'a'))
told += tried(lambda: open('{outside.parent}/job/tmp/x', 'w').write('12345'))
"""
    report = run(tmp_path, TRY + code)
    if not report.held["files"]:
        pytest.fail("this kernel has no Landlock: run the tests on Linux 5.13 or later with it enabled")
    assert report.reason.count("PermissionError") == 3 and "5" in report.reason
    assert not list(outside.iterdir())


def test_it_leaves_nothing_running(tmp_path: Path) -> None:
    jobs.guard()
    code = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open(os.environ['TMPDIR'] + '/pid', 'w').write(str(os.getpid()))
        time.sleep(600)
    os._exit(0)
while not os.path.exists(os.environ['TMPDIR'] + '/pid'):
    time.sleep(0.01)
"""
    run(tmp_path, code)
    pid = (tmp_path / "job" / "tmp" / "pid").read_text()
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize(
    ("code", "limits", "why"),
    [
        ("x = bytearray(3 << 30)", jobs.Limits(memory=2 << 30), "memory"),
        ("while True: pass", jobs.Limits(cpu_seconds=6), "processor time"),
        ("import time; time.sleep(600)", jobs.Limits(seconds=6), "longer than 6 s"),
        ("import os; os.kill(os.getpid(), 11)", jobs.Limits(), "signal 11"),
        ("import os; os._exit(3)", jobs.Limits(), "ended with 3"),
    ],
)
def test_it_is_ended_at_its_limits(
    tmp_path: Path, code: str, limits: jobs.Limits, why: str
) -> None:
    began = time.monotonic()
    report = run(tmp_path, code, limits)
    assert report.state == "failed" and why in report.reason, report
    assert time.monotonic() - began < 60


@pytest.mark.parametrize(
    "code",
    [
        "import os; os.symlink('/etc/hostname', os.environ['TMPDIR'] + '/../out/report.json'); os._exit(0)",
        "import os; os.mkfifo(os.environ['TMPDIR'] + '/../out/report.json'); os._exit(0)",
        "open(__import__('os').environ['TMPDIR'] + '/../out/report.json', 'w').write('[]'); __import__('os')._exit(0)",
        "open(__import__('os').environ['TMPDIR'] + '/../out/report.json', 'w')"
        ".write('{\"state\": \"converted\"}'); __import__('os')._exit(0)",
    ],
)
def test_what_it_tells_is_not_believed(tmp_path: Path, code: str) -> None:
    report = run(tmp_path, code)
    assert report.state == "failed" and report.bundle is None
