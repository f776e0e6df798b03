"""Warm-up ends when windows agree, or when its time is over."""

from __future__ import annotations

import pytest

from instseg_rt.benchmark.warm_up import CALLS_PER_WINDOW, WarmUp, warm_up

from .conftest import FakeClock, FakeSubject


def run(clock: FakeClock, milliseconds: list[float], limit_s: float = 60.0) -> WarmUp:
    subject = FakeSubject(clock, milliseconds)
    return warm_up(lambda _number: subject([]), clock, limit_s)


def test_equal_calls_are_stable_after_three_windows(clock: FakeClock) -> None:
    done = run(clock, [20.0])
    assert (done.stable, done.calls) == (True, 3 * CALLS_PER_WINDOW)
    assert done.medians_ms == pytest.approx([20.0] * 3)
    assert done.seconds == pytest.approx(0.3)


def test_slow_first_calls_are_waited_for(clock: FakeClock) -> None:
    # Two windows that fall, then three that agree within 5%.
    milliseconds = [100.0] * 5 + [50.0] * 5 + [20.0] * 5 + [20.5] * 5 + [20.9] * 5
    done = run(clock, milliseconds)
    assert (done.stable, done.calls) == (True, 25)


def test_one_slow_call_in_a_window_does_not_matter(clock: FakeClock) -> None:
    assert run(clock, [20.0, 90.0] + [20.0] * 20).calls == 15


def test_what_never_settles_ends_with_the_time(clock: FakeClock) -> None:
    milliseconds = [float(10 + 10 * (i // 5 % 2)) for i in range(10_000)]
    done = run(clock, milliseconds, limit_s=1.0)
    assert not done.stable
    assert 1.0 <= done.seconds < 1.2


def test_without_time_there_is_one_window(clock: FakeClock) -> None:
    assert run(clock, [20.0], limit_s=0.0).calls == CALLS_PER_WINDOW


def test_calls_are_numbered_within_their_window(clock: FakeClock) -> None:
    numbers: list[int] = []

    def call(number: int) -> None:
        numbers.append(number)
        clock.sleep(0.01)

    warm_up(call, clock, 60.0)
    assert numbers == list(range(5)) * 3
