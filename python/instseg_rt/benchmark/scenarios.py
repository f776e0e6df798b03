"""How calls follow each other: MLPerf's scenarios, on image files.

single-stream: the next call begins when the last one has ended. offline: all images are there; as many calls at a time
as there are streams. server: single images arrive at random, and wait until a stream is free.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from instseg_rt.benchmark.clock import Clock
from instseg_rt.benchmark.subjects import Call, Subject

Scenario = Literal["single-stream", "offline", "server"]
Query = Sequence[Path]
# How long after the last arrival a server may work on what waits, in parts of the time that arrivals took.
_DRAIN = 1.0


@dataclass(frozen=True)
class Limits:
    """A measurement ends when it took `duration_s` seconds and `min_calls` calls (trtexec's rule)."""

    duration_s: float
    min_calls: int = 10


@dataclass(frozen=True)
class Served:
    """One query of a server: seconds since the start when it arrived, was begun and was answered."""

    arrived_s: float
    begun_s: float
    answered_s: float
    call: Call

    @property
    def latency_ms(self) -> float:
        """From the arrival, so that waiting counts."""
        return (self.answered_s - self.arrived_s) * 1e3


def make_queries(images: Sequence[Path], batch: int) -> list[list[Path]]:
    """One list of `batch` images for each call of a pass; the images repeat to fill the last one."""
    calls = -(-len(images) // batch)
    return [[images[(call * batch + i) % len(images)] for i in range(batch)] for call in range(calls)]


def single_stream(
    subjects: Sequence[Subject], queries: Sequence[Query], limits: Limits, clock: Clock, rounds: list[tuple[Call, ...]]
) -> float:
    """One call at a time; appends to `rounds` one call of each subject, in their order; returns the seconds it took.

    With several subjects each query goes to all of them, one after the other, and each is the first in turn: the first
    finds the caches as another left them. The duration is for each subject.
    """
    start, count = clock.now(), len(subjects)
    while len(rounds) < limits.min_calls or clock.now() - start < count * limits.duration_s:
        number = len(rounds)
        query = queries[number % len(queries)]
        calls: dict[int, Call] = {}
        for turn in range(count):
            index = (number + turn) % count
            calls[index] = subjects[index](query)
        rounds.append(tuple(calls[index] for index in range(count)))
    return clock.now() - start


def offline(
    subject: Subject, queries: Sequence[Query], streams: int, limits: Limits, clock: Clock, calls: list[Call]
) -> float:
    """`streams` calls at a time, each begun when one has ended; returns the seconds until the last one ended."""
    start = clock.now()
    numbers = _Counter()

    def work(stopped: Callable[[], bool]) -> None:
        while not stopped():
            number = numbers.next()
            if number >= limits.min_calls and clock.now() - start >= limits.duration_s:
                return
            calls.append(subject(queries[number % len(queries)]))

    _in_threads(work, streams)
    return clock.now() - start


def arrival_times(qps: float, duration_s: float, seed: int) -> Iterator[float]:
    """Seconds of a Poisson process of `qps` arrivals a second, up to `duration_s`; the same for the same seed."""
    generator = random.Random(seed)
    time = generator.expovariate(qps)
    while time < duration_s:
        yield time
        time += generator.expovariate(qps)


def server(
    subject: Subject,
    queries: Sequence[Query],
    streams: int,
    arrivals: Sequence[float],
    clock: Clock,
    served: list[Served],
) -> float:
    """Answers queries in the order of their arrival, `streams` at a time; returns the seconds until the last answer.

    A free stream takes the next query and waits for its arrival: the same as a queue in front of the streams. What has
    not been begun when arrivals have long ended stays out of `served`: the load was too high.
    """
    start = clock.now()
    numbers = _Counter()
    end = (1 + _DRAIN) * arrivals[-1] if arrivals else 0.0

    def work(stopped: Callable[[], bool]) -> None:
        while not stopped():
            number = numbers.next()
            if number >= len(arrivals) or clock.now() - start > end:
                return
            clock.sleep(arrivals[number] - (clock.now() - start))
            begun = clock.now() - start
            call = subject(queries[number % len(queries)])
            served.append(Served(arrivals[number], begun, clock.now() - start, call))

    _in_threads(work, streams)
    return clock.now() - start


class _Counter:
    """0, 1, 2, … for many threads."""

    def __init__(self) -> None:
        self._next = 0
        self._lock = threading.Lock()

    def next(self) -> int:
        with self._lock:
            number = self._next
            self._next += 1
        return number


def _in_threads(work: Callable[[Callable[[], bool]], None], count: int) -> None:
    """Run `work(stopped)` in `count` threads, in this one where it is the only one; raises what one of them raised."""
    stop = threading.Event()
    if count == 1:
        work(stop.is_set)
        return
    errors: list[BaseException] = []

    def guarded() -> None:
        try:
            work(stop.is_set)
        except BaseException as error:  # raised again by the thread that waits
            errors.append(error)
            stop.set()

    threads = [threading.Thread(target=guarded, name=f"instseg-stream-{i}") for i in range(count)]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]
