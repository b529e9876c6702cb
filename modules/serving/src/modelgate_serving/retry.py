"""The time that a call may take, and the moments when it is tried again."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

FIRST_PAUSE = 0.05
"""Seconds before the second attempt; each further pause is up to twice as long."""
LONGEST_PAUSE = 2.0
AGAIN = frozenset({429, 502, 503})
"""Statuses of a server that was busy, starting or about to end: it has computed nothing."""


@dataclass
class Deadline:
    """A point in time by which a call must have ended."""

    seconds: float
    """What the caller gave."""
    ends: float
    attempt: int = 0

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        if not seconds > 0:
            raise ValueError(f"timeout must be more than 0 seconds, not {seconds!r}")
        return cls(seconds, time.monotonic() + seconds)

    def left(self) -> float:
        """Seconds left; 0 once it has passed."""
        return max(0.0, self.ends - time.monotonic())

    def pause(self, asked: str | None = None) -> float | None:
        """Seconds to wait before the next attempt, `None` where it would come too late.

        `asked` is the answer's `Retry-After`, in seconds.
        """
        self.attempt += 1
        longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self.attempt - 1, 10))
        # Half of it at random: callers that failed together do not come back together.
        pause = longest * (0.5 + random.random() / 2)
        if asked is not None and asked.strip().isdigit():
            pause = max(pause, min(float(asked), 30.0))
        return pause if pause < self.left() else None
