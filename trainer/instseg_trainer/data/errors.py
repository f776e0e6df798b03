"""The one exception of the data pipeline."""

from __future__ import annotations

from instseg_trainer.errors import TrainerError


class DataError(TrainerError, ValueError):
    """A data set, an image or a setting is wrong; the message is one line: what, where, what to do."""
