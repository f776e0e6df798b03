"""MLPerf's early stopping: figures worked out by hand, and those that MLPerf's own LoadGen printed in public logs."""

from __future__ import annotations

import pytest

from instseg_rt.benchmark.early_stopping import estimate, is_shown, most_over, needed_calls, probability_of_at_most


def test_probability_by_hand() -> None:
    # Of two calls, each over the bound with probability 0.1.
    assert probability_of_at_most(0, 2, 90) == pytest.approx(0.81)
    assert probability_of_at_most(1, 2, 90) == pytest.approx(0.99)
    assert probability_of_at_most(2, 2, 90) == 1.0
    # 0.9^64 + 64 * 0.1 * 0.9^63
    assert probability_of_at_most(1, 64, 90) == pytest.approx(0.9**64 + 6.4 * 0.9**63, rel=1e-12)


@pytest.mark.parametrize(("percentile", "needed"), [(90, 64), (99, 662)])
def test_the_calls_that_loadgen_asks_for(percentile: int, needed: int) -> None:
    """ "Processed at least 64 queries", "would need to process at least 662 total queries"."""
    assert needed_calls(1, percentile) == needed
    assert not is_shown(1, needed - 1, percentile)
    assert most_over(needed, percentile) == 1
    assert most_over(needed - 1, percentile) == 0


@pytest.mark.parametrize(("calls", "discarded"), [(100, 2), (201, 9), (659, 47), (708, 51), (79944, 7796)])
def test_as_many_are_left_out_as_by_loadgen(calls: int, discarded: int) -> None:
    """ "Would discard … highest latency queries", of the 90th percentile."""
    found = estimate([float(i) for i in reversed(range(calls))], 90)
    assert (found.calls, found.needed, found.discarded) == (calls, 64, discarded)
    assert found.latency == calls - 1 - discarded


def test_the_estimate_is_never_below_the_percentile() -> None:
    for calls in (64, 200, 1000):
        found = estimate(list(range(calls)), 90)
        assert found.latency is not None
        assert found.latency >= 0.9 * calls - 1


@pytest.mark.parametrize("calls", [0, 1, 2, 63])
def test_too_few_calls_give_no_estimate(calls: int) -> None:
    found = estimate([1.0] * calls, 90)
    assert (found.latency, found.discarded, found.needed) == (None, None, 64)


@pytest.mark.parametrize("over", [0, 1, 5, 40])
def test_needed_calls_are_the_fewest(over: int) -> None:
    needed = needed_calls(over, 99)
    assert is_shown(over, needed, 99)
    assert not is_shown(over, needed - 1, 99)
