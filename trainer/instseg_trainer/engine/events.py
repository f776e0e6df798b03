"""The curves of a training as TensorBoard reads them."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import ConfigError

FOLDER = "tensorboard"


class EventLog:
    """An event file in the folder `tensorboard` of the output. resume_at: the iteration after which what earlier files
    of this training have is void.

    Raises `ConfigError` where TensorBoard is not installed.
    """

    def __init__(self, output: Path, resume_at: int | None) -> None:
        if importlib.util.find_spec("tensorboard") is None:
            raise ConfigError(
                "Recipe.event_log: tensorboard is not installed: pip install tensorboard, or set Recipe.event_log=none"
            )
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._event, self._summary = Event, Summary
        self._writer: Any = EventFileWriter(str(output / FOLDER))
        if resume_at is not None:
            restart = SessionLog(status=SessionLog.START)
            self._writer.add_event(Event(wall_time=time.time(), step=resume_at + 1, session_log=restart))

    def add(self, iteration: int, values: Mapping[str, float]) -> None:
        """values by tag: `train/loss`, `val/mask_ap`, …"""
        summary = self._summary(
            value=[self._summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        )
        self._writer.add_event(self._event(wall_time=time.time(), step=iteration, summary=summary))

    def close(self) -> None:
        self._writer.close()
