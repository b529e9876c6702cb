"""Runs the gateway for as long as the process that wants it lives: `python -I -S supervisor.py FOLDER COMMAND...`.

A process of its own, since a Python that is killed can end nothing. It knows that its parent has gone by the end of its
standard input, or by having another parent. It ends the gateway then, and removes the folder. Where the gateway ends by
itself, the folder stays for the parent, who reads the reason in its log.
"""

import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys

LOOK = 0.5
"""Seconds between looks at who the parent is: a fork of it may hold the other end of the standard input."""
PATIENCE = 10
"""Seconds that the gateway has to end by itself."""


def main() -> int:
    folder, *command = sys.argv[1:]
    parent = os.getppid()
    ended_by_signal = []
    signal.signal(signal.SIGTERM, lambda *_: ended_by_signal.append(True))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=_with_parent)
    by_itself = False
    try:
        while child.poll() is None and not ended_by_signal and os.getppid() == parent:
            ready, _, _ = select.select([0], [], [], LOOK)
            if ready and not os.read(0, 4096):
                break
        by_itself = child.poll() is not None
    finally:
        if child.poll() is None:
            child.terminate()
            try:
                child.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        if not by_itself:
            shutil.rmtree(folder, ignore_errors=True)
    return 0 if child.returncode == 0 else 1


def _with_parent() -> None:
    """The gateway ends at once if this process is killed (PR_SET_PDEATHSIG; Linux alone has it)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
