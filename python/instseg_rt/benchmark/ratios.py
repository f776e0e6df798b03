"""The ratio of two latencies that were measured in turn, with what it may be by chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CONFIDENCE_PERCENT = 95
_RESAMPLES = 2000
_SEED = 20240501


@dataclass(frozen=True)
class PairedRatio:
    """The median of theirs / ours over the pairs, and the interval that holds it with 95% confidence."""

    median: float
    low: float
    high: float
    pairs: int


def paired_ratio(ours: Sequence[float], theirs: Sequence[float]) -> PairedRatio:
    """The median of the ratios pair by pair; above 1: ours is faster.

    What disturbs the machine for a while slows both calls of a pair and so leaves the ratio alone. The interval is the
    percentile interval of a circular block bootstrap: whole runs of neighbouring pairs are drawn, as long as the cube
    root of their number, since such a disturbance makes neighbours alike. The draws are the same in every run.

    Raises ValueError unless both have the same number of samples, at least one.
    """
    if len(ours) != len(theirs) or not len(ours):
        raise ValueError(f"expected as many samples of both, at least one; found {len(ours)} and {len(theirs)}")
    ratios = np.asarray(theirs, np.float64) / np.asarray(ours, np.float64)
    count = len(ratios)
    block = max(1, round(count ** (1 / 3)))
    random = np.random.default_rng(_SEED)
    medians = np.empty(_RESAMPLES)
    for i in range(_RESAMPLES):
        starts = random.integers(count, size=-(-count // block))
        drawn = (starts[:, None] + np.arange(block)).ravel()[:count] % count
        medians[i] = np.median(ratios[drawn])
    tail = (100 - CONFIDENCE_PERCENT) / 2
    low, high = np.percentile(medians, (tail, 100 - tail))
    return PairedRatio(float(np.median(ratios)), float(low), float(high), count)
