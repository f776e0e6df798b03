"""The clock that scenarios read and sleep by."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Seconds that only grow."""

    def now(self) -> float: ...

    def sleep(self, seconds: float) -> None:
        """Wait; nothing for what is not above 0."""


class SystemClock:
    """The machine's finest steady clock."""

    def now(self) -> float:
        return time.perf_counter()

    def sleep(self, seconds: float) -> None:
        if seconds > 0:
            time.sleep(seconds)
