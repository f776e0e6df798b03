"""Paired ratios and their interval."""

from __future__ import annotations

import numpy as np
import pytest

from instseg_rt.benchmark.ratios import paired_ratio


def test_what_slows_both_calls_of_a_pair_leaves_the_ratio_alone() -> None:
    disturbance = np.random.default_rng(0).uniform(1, 10, 200)
    ratio = paired_ratio(list(10 * disturbance), list(15 * disturbance))
    assert (ratio.median, ratio.low, ratio.high) == pytest.approx((1.5, 1.5, 1.5))
    assert ratio.pairs == 200


def test_the_interval_holds_the_true_ratio_and_shrinks() -> None:
    random = np.random.default_rng(1)
    widths = []
    for count in (30, 3000):
        ours = random.normal(10, 1, count)
        ratio = paired_ratio(list(ours), list(1.3 * ours * random.lognormal(0, 0.1, count)))
        assert ratio.low < 1.3 < ratio.high
        assert ratio.low <= ratio.median <= ratio.high
        widths.append(ratio.high - ratio.low)
    assert widths[1] < widths[0] / 4


def test_the_interval_covers_as_often_as_it_says() -> None:
    random = np.random.default_rng(2)
    covered = 0
    for _ in range(60):
        ratio = paired_ratio([1.0] * 60, list(random.lognormal(0, 0.2, 60)))
        covered += ratio.low <= 1.0 <= ratio.high
    assert covered >= 51  # 57 are expected


def test_the_same_samples_give_the_same_interval() -> None:
    theirs = list(np.random.default_rng(3).uniform(1, 2, 50))
    assert paired_ratio([1.0] * 50, theirs) == paired_ratio([1.0] * 50, theirs)


def test_one_pair_is_enough_and_none_is_not() -> None:
    assert paired_ratio([2.0], [3.0]).median == 1.5
    with pytest.raises(ValueError, match="at least one"):
        paired_ratio([], [])
    with pytest.raises(ValueError, match="as many"):
        paired_ratio([1.0], [1.0, 2.0])
