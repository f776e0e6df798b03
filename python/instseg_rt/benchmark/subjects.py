"""What is measured: something that takes image files and says how long its stages took."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from instseg_rt.benchmark.clock import Clock
from instseg_rt.predictor import Predictor
from instseg_rt.result import Result, Timings

# In the order of a call. A device has some of them: on a CPU nothing is uploaded or downloaded.
STAGES = ("decode", "preprocess", "upload", "inference", "postprocess", "download")
TOTAL = "total"
# Of a server: from the arrival to the begin of the call, and to its end.
WAIT, LATENCY = "wait", "latency"
_OF_AN_IMAGE = "decode"  # the others are of the whole batch


@dataclass(frozen=True)
class Call:
    """One call on `images` images. milliseconds: by stage, those that there are, and `total` on the caller's clock."""

    images: int
    milliseconds: dict[str, float]


class Subject(Protocol):
    """What a scenario calls."""

    @property
    def name(self) -> str: ...

    def __call__(self, images: Sequence[Path]) -> Call: ...


class PredictorSubject:
    """Calls of a Predictor, from encoded files to results. May be called from as many threads as it has contexts."""

    name = "instseg-rt"

    def __init__(self, predictor: Predictor, clock: Clock) -> None:
        self._predictor = predictor
        self._clock = clock

    def __call__(self, images: Sequence[Path]) -> Call:
        return self.predict(images)[1]

    def predict(self, images: Sequence[Path]) -> tuple[list[Result], Call]:
        """The results of one call beside its times."""
        start = self._clock.now()
        if len(images) == 1:
            results = [self._predictor(images[0])]
        else:
            results = list(self._predictor.predict(list(images), batch_size=len(images)))
        total = (self._clock.now() - start) * 1e3
        return results, Call(len(images), _stages([result.timings for result in results]) | {TOTAL: total})


def ordered_stages(found: Iterable[str]) -> list[str]:
    """Those of `found`, in the order of a call, what holds the others last."""
    present = set(found)
    return [stage for stage in (WAIT, *STAGES, TOTAL, LATENCY) if stage in present]


def _stages(timings: Sequence[Timings]) -> dict[str, float]:
    """Of the call that gave these results; what a result has no time for is left out."""
    measured = {field.name for field in dataclasses.fields(Timings)}
    stages = {}
    for stage in STAGES:
        if f"{stage}_ms" in measured:
            values = [getattr(timing, f"{stage}_ms") for timing in timings]
            if values[0] is not None:
                stages[stage] = sum(values) if stage == _OF_AN_IMAGE else values[0]
    return stages
