"""What a training says: lines on the terminal and in `train.log`, numbers in `metrics.jsonl`."""

from __future__ import annotations

import json
import os
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO, cast

from rich.console import Console

from ..evaluation import CocoMetrics
from ..files import write_text
from .events import EventLog

_WINDOW = 20  # iterations over which speed is averaged
_SHOWN_LOSSES = 8  # a line has no more; metrics.jsonl has all


class TrainingLog:
    """`metrics.jsonl` gets one object per iteration and one per evaluation. When a training is resumed at
    `resume_at`, records of
    iterations after it (done, but lost with the process) are dropped, so that the curve has every iteration once. A
    `silent` log, of a
    process that is not the main one, says and writes nothing. events: also write them for TensorBoard."""

    def __init__(self, output: Path, resume_at: int | None, silent: bool = False, events: bool = False) -> None:
        self.console = Console(stderr=True, quiet=silent)
        self.last_loss = float("nan")
        self._metrics_path = output / "metrics.jsonl"
        self._seconds: deque[tuple[float, float, int]] = deque(maxlen=_WINDOW)
        self._events = EventLog(output, resume_at) if events and not silent else None
        if silent:
            self._metrics = self._text = _open(Path(os.devnull), "w")
            return
        kept = self._records_up_to(resume_at) if resume_at is not None else []
        write_text(self._metrics_path, "".join(json.dumps(record) + "\n" for record in kept))
        self._metrics = _open(self._metrics_path, "a")
        self._text = _open(output / "train.log", "w" if resume_at is None else "a")

    def __enter__(self) -> TrainingLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._metrics.close()
        self._text.close()
        if self._events is not None:
            self._events.close()

    def say(self, text: str) -> None:
        self._text.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
        # A line stays a line, in a file as well: the terminal wraps it.
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def iteration(
        self,
        iteration: int,
        epoch: int,
        learning_rate: float,
        losses: Mapping[str, float],
        *,
        data_s: float,
        compute_s: float,
        images: int,
        shown: bool,
    ) -> None:
        """One iteration of `images` images; `shown`: also as a line. `epoch` counts from 0."""
        self.last_loss = losses["loss"]
        self._seconds.append((data_s, compute_s, images))
        self._record(
            iteration=iteration,
            epoch=epoch + 1,
            learning_rate=learning_rate,
            data_s=round(data_s, 4),
            compute_s=round(compute_s, 4),
            **losses,
        )
        if self._events is not None:
            shares = {f"train/{name}": value for name, value in losses.items()}
            self._events.add(iteration, {**shares, "train/learning_rate": learning_rate})
        if shown:
            data, compute, count = (sum(column) for column in zip(*self._seconds, strict=True))
            parts = " ".join(
                f"{name.removeprefix('loss_')} {value:.3f}" for name, value in list(losses.items())[:_SHOWN_LOSSES]
            )
            self.say(
                f"epoch {epoch + 1} iteration {iteration} {parts} lr {learning_rate:.2e} "
                f"{count / (data + compute):.2f} images/s data {100 * data / (data + compute):.0f}%"
            )

    def evaluation(self, iteration: int, epoch: int, metrics: CocoMetrics) -> None:
        values = {"mask_ap": metrics.mask.ap, "mask_ap50": metrics.mask.ap50, "box_ap": metrics.box.ap}
        self._record(iteration=iteration, epoch=epoch + 1, **values)
        if self._events is not None:
            self._events.add(iteration, {f"val/{name}": value for name, value in values.items()})
        self.say(
            f"epoch {epoch + 1} mask AP {metrics.mask.ap:.4f} AP50 {metrics.mask.ap50:.4f} box AP {metrics.box.ap:.4f}"
        )

    def _record(self, **values: Any) -> None:
        self._metrics.write(json.dumps(values) + "\n")

    def _records_up_to(self, iteration: int) -> list[dict[str, Any]]:
        if not self._metrics_path.is_file():
            return []
        records = []
        for line in self._metrics_path.read_text(encoding="utf-8").splitlines():
            try:
                record = json.loads(line)
            except json.JSONDecodeError:
                break  # the line that the process died in
            if record["iteration"] <= iteration:
                records.append(record)
                self.last_loss = record.get("loss", self.last_loss)
        return records


def _open(path: Path, mode: str) -> TextIO:
    """A text file that has every line on disk as soon as it is written."""
    return cast(TextIO, path.open(mode, encoding="utf-8", buffering=1))
