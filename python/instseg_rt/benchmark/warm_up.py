"""Calls before the measured ones, until they take as long as each other."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass

from instseg_rt.benchmark.clock import Clock

CALLS_PER_WINDOW = 5
WINDOWS = 3
TOLERANCE = 0.05


@dataclass(frozen=True)
class WarmUp:
    """medians_ms: of each window. stable: whether the last ones agreed before the time was over."""

    calls: int
    seconds: float
    stable: bool
    medians_ms: tuple[float, ...]


def warm_up(call: Callable[[int], object], clock: Clock, limit_s: float) -> WarmUp:
    """Make calls until they are stable, or for `limit_s` seconds.

    Stable: the medians of the last three windows of five calls lie within 5% of the lowest of them. The first window is
    whole even without time. call: gets the number of the call in its window, 0 to 4, so that windows do the same work.
    """
    start = clock.now()
    medians: list[float] = []
    while True:
        window = []
        for number in range(CALLS_PER_WINDOW):
            before = clock.now()
            call(number)
            window.append((clock.now() - before) * 1e3)
        medians.append(statistics.median(window))
        stable = _agree(medians[-WINDOWS:])
        seconds = clock.now() - start
        if stable or seconds >= limit_s:
            return WarmUp(CALLS_PER_WINDOW * len(medians), seconds, stable, tuple(medians))


def _agree(medians: list[float]) -> bool:
    return len(medians) == WINDOWS and max(medians) <= (1 + TOLERANCE) * min(medians)
