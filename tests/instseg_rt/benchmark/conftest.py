"""A clock that is set by hand, and a predictor that takes as long as the test says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from instseg_rt.benchmark.subjects import TOTAL, Call
from instseg_rt.result import Result, Timings


class FakeClock:
    """Only `sleep` and what is measured let time pass."""

    def __init__(self) -> None:
        self._nanoseconds = 100 * 10**9  # whole, so that sums are exact

    def now(self) -> float:
        return self._nanoseconds / 1e9

    def sleep(self, seconds: float) -> None:
        self._nanoseconds += max(round(seconds * 1e9), 0)


class FakeSubject:
    """Each call takes the next of `milliseconds`, the last one over and over. Ctrl-C comes in call `interrupt_at`."""

    def __init__(
        self, clock: FakeClock, milliseconds: Sequence[float], name: str = "fake", interrupt_at: int | None = None
    ) -> None:
        self.name = name
        self.queries: list[list[Path]] = []
        self._clock = clock
        self._milliseconds = list(milliseconds)
        self._interrupt_at = interrupt_at

    def __call__(self, images: Sequence[Path]) -> Call:
        number = len(self.queries)
        if number == self._interrupt_at:
            raise KeyboardInterrupt
        self.queries.append(list(images))
        took = self._milliseconds[min(number, len(self._milliseconds) - 1)]
        self._clock.sleep(took / 1e3)
        return Call(len(images), {TOTAL: took})


@dataclass
class FakePredictor:
    """A Predictor whose calls take 10 ms: 1 decode (per image), 2 preprocess, 5 inference, 1 postprocess, 1 between."""

    clock: FakeClock
    bundle: str
    options: dict[str, Any]
    interrupt_at: int | None = None
    calls: int = 0
    backend: str = "fake 1.0"
    device: str = "cpu"

    def __post_init__(self) -> None:
        self.info = SimpleNamespace(
            model=f"model of {self.bundle}",
            family="fake",
            batch=SimpleNamespace(max=4),
            path=self.bundle,
            category_ids=[7],
        )
        self.warmed_up: list[int] = []
        self.precision = self.options["precision"]
        threshold = self.options["threshold"]
        self.threshold = 0.5 if threshold is None else threshold

    def __enter__(self) -> FakePredictor:
        return self

    def __exit__(self, *_: object) -> None:
        self.bundle = "closed"

    def __call__(self, image: Path) -> Result:
        return next(self._run(1))

    def predict(self, images: Sequence[Path], batch_size: int = 1) -> Iterator[Result]:
        return self._run(len(images))

    def close(self) -> None:
        self.bundle = "closed"

    def warm_up(self, batch_size: int) -> None:
        self.warmed_up.append(batch_size)

    def _run(self, count: int) -> Iterator[Result]:
        if self.calls == self.interrupt_at:
            raise KeyboardInterrupt
        self.calls += 1
        self.clock.sleep((9 + count) / 1e3)
        timings = Timings(1.0, 2.0, 5.0, 1.0, 9.0, count)
        empty = np.zeros((0, 4)), np.zeros(0), np.zeros(0)
        for _ in range(count):
            yield Result(*empty, [], names=("a",), orig_shape=(4, 4), timings=timings)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def photo(tmp_path: Path, colored_image: np.ndarray) -> Path:
    """A file that the tiny bundle finds red and blue areas in."""
    file = tmp_path / "photo.png"
    cv2.imwrite(str(file), colored_image)
    return file
