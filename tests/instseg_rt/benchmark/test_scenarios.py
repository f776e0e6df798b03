"""The order and the times of calls, with a clock that is set by hand."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from instseg_rt.benchmark.clock import SystemClock
from instseg_rt.benchmark.scenarios import (
    Limits,
    Served,
    arrival_times,
    make_queries,
    offline,
    server,
    single_stream,
)
from instseg_rt.benchmark.subjects import TOTAL, Call

from .conftest import FakeClock, FakeSubject

A, B, C = Path("a.jpg"), Path("b.jpg"), Path("c.jpg")


def test_queries_repeat_images_to_fill_the_last_batch() -> None:
    assert make_queries([A, B, C], 1) == [[A], [B], [C]]
    assert make_queries([A, B, C], 2) == [[A, B], [C, A]]
    assert make_queries([A], 3) == [[A, A, A]]


def test_single_stream_lasts_as_long_as_asked(clock: FakeClock) -> None:
    subject = FakeSubject(clock, [100.0])
    rounds: list[tuple[Call, ...]] = []
    elapsed = single_stream([subject], [[A], [B]], Limits(5.0), clock, rounds)
    assert len(rounds) == 50
    assert elapsed == pytest.approx(5.0)
    assert subject.queries[:3] == [[A], [B], [A]]


def test_single_stream_makes_the_fewest_calls_without_time(clock: FakeClock) -> None:
    rounds: list[tuple[Call, ...]] = []
    single_stream([FakeSubject(clock, [1000.0])], [[A]], Limits(0.0, min_calls=4), clock, rounds)
    assert len(rounds) == 4


def test_subjects_take_turns_in_being_first(clock: FakeClock) -> None:
    order: list[str] = []

    class Noted(FakeSubject):
        def __call__(self, images: Sequence[Path]) -> Call:
            order.append(f"{self.name}{images[0].stem}")
            return super().__call__(images)

    subjects = [Noted(clock, [10.0], "x"), Noted(clock, [20.0], "y"), Noted(clock, [30.0], "z")]
    rounds: list[tuple[Call, ...]] = []
    single_stream(subjects, [[A], [B]], Limits(0.0, min_calls=3), clock, rounds)
    assert order == ["xa", "ya", "za", "yb", "zb", "xb", "za", "xa", "ya"]
    # Whatever the order of the calls, a round has them in the order of the subjects.
    assert [[call.milliseconds[TOTAL] for call in calls] for calls in rounds] == [[10.0, 20.0, 30.0]] * 3


def test_the_duration_is_for_each_subject(clock: FakeClock) -> None:
    rounds: list[tuple[Call, ...]] = []
    single_stream([FakeSubject(clock, [100.0]), FakeSubject(clock, [100.0])], [[A]], Limits(5.0), clock, rounds)
    assert len(rounds) == 50


def test_an_interrupted_round_is_left_out(clock: FakeClock) -> None:
    rounds: list[tuple[Call, ...]] = []
    subjects = [FakeSubject(clock, [10.0]), FakeSubject(clock, [10.0], interrupt_at=3)]
    with pytest.raises(KeyboardInterrupt):
        single_stream(subjects, [[A]], Limits(5.0), clock, rounds)
    assert len(rounds) == 3


def test_offline_with_one_stream(clock: FakeClock) -> None:
    calls: list[Call] = []
    elapsed = offline(FakeSubject(clock, [50.0]), [[A, B], [C, A]], 1, Limits(2.0), clock, calls)
    assert elapsed == pytest.approx(2.0)
    assert sum(call.images for call in calls) / elapsed == pytest.approx(40.0)


def test_offline_streams_work_at_the_same_time() -> None:
    meeting = threading.Barrier(3, timeout=30)  # broken unless three calls are under way at once

    class Meeting:
        name = "meeting"

        def __call__(self, images: Sequence[Path]) -> Call:
            meeting.wait()
            return Call(1, {TOTAL: 1.0})

    calls: list[Call] = []
    offline(Meeting(), [[A]], 3, Limits(0.0, min_calls=9), SystemClock(), calls)
    assert len(calls) == 9


def test_an_error_in_a_stream_reaches_the_caller() -> None:
    class Failing:
        name = "failing"

        def __call__(self, images: Sequence[Path]) -> Call:
            raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        offline(Failing(), [[A]], 2, Limits(1e6), SystemClock(), [])


def test_arrivals_are_poisson() -> None:
    times = list(arrival_times(50.0, 200.0, seed=3))
    assert times == sorted(times)
    assert times[-1] < 200.0
    assert len(times) == pytest.approx(10_000, rel=0.04)  # 4 standard deviations
    gaps = [after - before for before, after in itertools.pairwise(times)]
    mean = sum(gaps) / len(gaps)
    # An exponential distribution's standard deviation is its mean.
    assert (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5 == pytest.approx(mean, rel=0.05)
    assert times == list(arrival_times(50.0, 200.0, seed=3))
    assert times != list(arrival_times(50.0, 200.0, seed=4))


def test_server_latency_counts_the_wait(clock: FakeClock) -> None:
    served: list[Served] = []
    elapsed = server(FakeSubject(clock, [10.0]), [[A], [B]], 1, [0.5, 0.502, 0.9], clock, served)
    assert [query.latency_ms for query in served] == pytest.approx([10.0, 18.0, 10.0])
    assert [query.begun_s - query.arrived_s for query in served] == pytest.approx([0.0, 0.008, 0.0])
    assert elapsed == pytest.approx(0.91)


def test_a_server_that_cannot_keep_up_leaves_queries_out(clock: FakeClock) -> None:
    served: list[Served] = []
    arrivals = [0.1 * i for i in range(1, 101)]
    server(FakeSubject(clock, [1000.0]), [[A]], 1, arrivals, clock, served)
    # 10 s of arrivals, and as long again to work on what waits.
    assert 19 <= len(served) <= 21


def test_server_streams_share_the_arrivals() -> None:
    class Slow:
        name = "slow"

        def __call__(self, images: Sequence[Path]) -> Call:
            time.sleep(0.001)
            return Call(1, {TOTAL: 1.0})

    served: list[Served] = []
    arrivals = [0.0005 * i for i in range(1, 41)]
    server(Slow(), [[A]], 4, arrivals, SystemClock(), served)
    assert sorted(query.arrived_s for query in served) == arrivals
    assert all(query.arrived_s <= query.begun_s <= query.answered_s for query in served)
