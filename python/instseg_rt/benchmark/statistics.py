"""Statistics of latencies, as NVIDIA's trtexec computes them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

PERCENTILES = (90, 95, 99)


@dataclass(frozen=True)
class Statistics:
    """All in the unit of the samples but `cv_percent`, the standard deviation over the mean in percent."""

    count: int
    min: float
    mean: float
    median: float
    p90: float
    p95: float
    p99: float
    max: float
    cv_percent: float


def percentile(ordered: Sequence[float], percent: float) -> float:
    """trtexec's rule on sorted samples: leave out the whole number of samples above, take the largest of the rest.

    The number is computed in single precision, as trtexec does, which shows where it would be whole: one sample of
    100 lies above the 99th percentile, but 0.99999998 is rounded down to none.
    """
    count = len(ordered)
    above = (np.float32(1) - np.float32(percent) / np.float32(100)) * np.float32(count)
    return ordered[max(count - 1 - int(above), 0)]


def compute_statistics(samples: Sequence[float]) -> Statistics:
    """Raises ValueError without samples."""
    if not samples:
        raise ValueError("statistics need at least one sample")
    ordered = sorted(samples)
    count = len(ordered)
    mean = math.fsum(ordered) / count
    variance = math.fsum((sample - mean) ** 2 for sample in ordered) / count
    p90, p95, p99 = (percentile(ordered, percent) for percent in PERCENTILES)
    return Statistics(
        count=count,
        min=ordered[0],
        mean=mean,
        median=(ordered[(count - 1) // 2] + ordered[count // 2]) / 2,
        p90=p90,
        p95=p95,
        p99=p99,
        max=ordered[-1],
        cv_percent=100 * math.sqrt(variance) / mean if mean else 0.0,
    )
