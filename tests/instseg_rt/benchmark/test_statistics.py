"""trtexec's statistics."""

from __future__ import annotations

import random

import pytest

from instseg_rt.benchmark.statistics import compute_statistics, percentile


@pytest.mark.parametrize(
    ("count", "percent", "expected"),
    [
        (200, 99, 198),  # two samples lie above, which single precision makes 1.9999999
        (250, 99, 247),
        (100, 90, 89),  # ten samples lie above, 10.000002 of them
        (200, 95, 189),
        (100, 50, 49),
        (50, 99, 49),  # half a sample above is none: the largest
        (10, 95, 9),
        (1, 90, 0),
        (3, 0, 0),
        (4, 100, 3),
    ],
)
def test_percentile_is_the_sample_below_the_whole_number_above(count: int, percent: float, expected: int) -> None:
    assert percentile(range(count), percent) == expected


def test_statistics_of_unsorted_samples() -> None:
    samples = [float(i) for i in range(1, 201)]
    random.Random(0).shuffle(samples)
    statistics = compute_statistics(samples)
    assert (statistics.count, statistics.min, statistics.max) == (200, 1.0, 200.0)
    assert statistics.mean == statistics.median == 100.5
    assert (statistics.p95, statistics.p99) == (190.0, 199.0)
    # The standard deviation of all samples, not an estimate from them.
    assert statistics.cv_percent == pytest.approx(100 * ((200**2 - 1) / 12) ** 0.5 / 100.5)


def test_median_of_an_odd_number_of_samples_is_the_middle_one() -> None:
    assert compute_statistics([9.0, 1.0, 2.0]).median == 2.0


def test_equal_samples_do_not_vary() -> None:
    statistics = compute_statistics([5.0, 5.0])
    assert (statistics.min, statistics.p90, statistics.max, statistics.cv_percent) == (5.0, 5.0, 5.0, 0.0)


def test_no_samples() -> None:
    with pytest.raises(ValueError, match="at least one"):
        compute_statistics([])
