"""Trainings that take turns on one machine: each in a process of its own, of which only one runs at a time.

This module is imported by both sides and needs nothing beside the standard library: a peer's Python has no more.

The first side writes a number of iterations on a line to the peer's standard input; the peer trains as many and
answers with the times of each, as one line of JSON. Whoever has no turn is stopped by a signal, with its data workers:
it can neither disturb the other nor prepare batches in the other's time.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

BENCHMARKS = Path(__file__).resolve().parents[1]
"""From where a peer's program is started as a module."""


class PeerError(Exception):
    """A training that cannot begin or go on; the message says whose and why."""


@dataclass(frozen=True)
class Iteration:
    """data_ms: until its batch is there; compute_ms: forward and backward pass, optimizer, averaged weights."""

    data_ms: float
    compute_ms: float
    loss: float

    @property
    def total_ms(self) -> float:
        return self.data_ms + self.compute_ms


class Stopwatch:
    """Divides an iteration's time: `batch_is_there()` after the data, `done(loss)` after the step."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        self._begin = self._ready = time.perf_counter()

    def batch_is_there(self) -> None:
        self._ready = time.perf_counter()

    def done(self, loss: float) -> Iteration:
        end = time.perf_counter()
        taken = Iteration(1000.0 * (self._ready - self._begin), 1000.0 * (end - self._ready), loss)
        self._begin = end
        return taken


class Turns:
    """The peer's end. Made before anything is imported that prints: standard output carries the answers."""

    def __init__(self) -> None:
        self._answers: TextIO = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)

    def wait(self) -> int:
        """The iterations of the next turn; 0 at the end."""
        return int(sys.stdin.readline() or 0)

    def answer(self, iterations: list[Iteration]) -> None:
        self._answers.write(json.dumps([asdict(iteration) for iteration in iterations]) + "\n")
        self._answers.flush()

    def serve(self, next_iteration: Callable[[], Iteration], start: Callable[[], None]) -> None:
        """Turn by turn, to the end. `start` is called when a turn begins."""
        while count := self.wait():
            start()
            self.answer([next_iteration() for _ in range(count)])


def task_of_this_process() -> dict[str, Any]:
    """What the other end has asked for."""
    return dict(json.loads(sys.argv[1]))


class TrainingProcess:
    """A training in `python -m module`, which gets `task`; outside of its turns the process is stopped.

    Its own messages go to `log`.
    """

    def __init__(
        self, name: str, python: str, module: str, task: Mapping[str, Any], environment: Mapping[str, str], log: Path
    ) -> None:
        self.name = name
        self._log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("w") as messages:
            try:
                # A group of its own: its data workers are stopped and ended with it.
                self._process = subprocess.Popen(
                    [python, "-m", module, json.dumps(task)],
                    cwd=BENCHMARKS,
                    env=dict(environment),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=messages,
                    text=True,
                    start_new_session=True,
                )
            except OSError as error:
                raise PeerError(f"{name}: {python} cannot be started: {error.strerror}") from error
        self._stop()

    def __enter__(self) -> TrainingProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._signal(signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            try:
                stream.close()
            except BrokenPipeError:
                continue  # what a process that is gone has not read

    def turn(self, iterations: int) -> list[Iteration]:
        """Raises PeerError if the process ends."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._signal(signal.SIGCONT)
        try:
            self._process.stdin.write(f"{iterations}\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise PeerError(f"{self.name}: the training ended ({self._last_words()}): see {self._log}")
        self._stop()
        return [Iteration(**taken) for taken in json.loads(answer)]

    def _stop(self) -> None:
        """Returns when the process stands still, or has ended."""
        self._signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def _signal(self, number: int) -> None:
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return  # ended by itself

    def _last_words(self) -> str:
        lines = [line.strip() for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1] if lines else f"exit code {self._process.wait()}"
