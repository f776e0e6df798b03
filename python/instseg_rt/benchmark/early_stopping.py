"""MLPerf's early-stopping estimate: an honest percentile from a short run.

Source: MLPerf Inference Rules, appendix "Early Stopping Criterion" (mlcommons/inference_policies,
inference_rules.adoc). A system that keeps a latency bound with probability p is over it in a number X of q calls that
is binomial, B(q, 1 - p). That at most t of q calls were over a bound shows, with confidence c, that the bound is kept
with probability p when

    P(X <= t) = sum over k = 0 .. t of C(q, k) (1 - p)^k p^(q - k)  <=  1 - c

The estimate of the percentile p takes the largest such t, leaves out the t - 1 slowest calls and reports the slowest of
the rest. It lies above the plain percentile by as much as so few calls leave open. With t = 0 there is no estimate:
q calls are too few. The rules take c = 0.99, and no tolerance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

CONFIDENCE = 0.99


@dataclass(frozen=True)
class Estimate:
    """Of a percentile (90, 99): the latency, in the samples' unit, and how many of the slowest calls were left out.

    latency, discarded: None where the calls were fewer than `needed`.
    """

    percentile: int
    calls: int
    needed: int
    latency: float | None
    discarded: int | None


def probability_of_at_most(over: int, calls: int, percentile: float) -> float:
    """P(X <= over) of the formula above; 1 where all calls may be over."""
    if over >= calls:
        return 1.0
    p = percentile / 100
    log_over, log_under = math.log(1 - p), math.log(p)
    log_all = math.lgamma(calls + 1)
    terms = (
        log_all - math.lgamma(k + 1) - math.lgamma(calls - k + 1) + k * log_over + (calls - k) * log_under
        for k in range(over + 1)
    )
    return math.fsum(math.exp(term) for term in terms)


def is_shown(over: int, calls: int, percentile: float, confidence: float = CONFIDENCE) -> bool:
    """Whether `over` calls of `calls` above a bound show that the bound holds at the percentile."""
    return probability_of_at_most(over, calls, percentile) <= 1 - confidence


def needed_calls(over: int, percentile: float, confidence: float = CONFIDENCE) -> int:
    """The fewest calls that show it, `over` of them above the bound."""
    high = max(2 * over, 1)
    while not is_shown(over, high, percentile, confidence):
        high *= 2
    low = over  # never enough: all of them would be over
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_shown(over, middle, percentile, confidence) else (middle, high)
    return high


def most_over(calls: int, percentile: float, confidence: float = CONFIDENCE) -> int:
    """The largest t of the formula above; 0 also where not even that one is shown."""
    low, high = 0, calls
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if is_shown(middle, calls, percentile, confidence) else (low, middle)
    return low


def estimate(samples: Sequence[float], percentile: int, confidence: float = CONFIDENCE) -> Estimate:
    """The early-stopping estimate of a percentile of the latencies in `samples`."""
    calls = len(samples)
    needed = needed_calls(1, percentile, confidence)
    over = most_over(calls, percentile, confidence)
    if over == 0:
        return Estimate(percentile, calls, needed, None, None)
    return Estimate(percentile, calls, needed, sorted(samples)[calls - over], over - 1)
