"""Messages to the gateway's log, which keeps 32 lines and 16 KiB of one request.

`print` and the standard library's `logging` write there, too.
"""

from __future__ import annotations

import sys
from collections.abc import Callable


def _native(level: str, message: str) -> None:
    print(f"{level}: {message}", file=sys.stderr)


#: Where messages go. The sandbox puts the gateway's log here.
sink: Callable[[str, str], None] = _native


def debug(message: object) -> None:
    """Writes a line of little interest; the gateway drops it unless it is told to keep such lines."""
    sink("debug", str(message))


def info(message: object) -> None:
    """Writes a line."""
    sink("info", str(message))


def warn(message: object) -> None:
    """Writes a line about something that is probably wrong."""
    sink("warn", str(message))


def error(message: object) -> None:
    """Writes a line about something that is wrong."""
    sink("error", str(message))
