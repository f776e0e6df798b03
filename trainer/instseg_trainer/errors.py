"""What can go wrong through no fault of this program. Each message names the file, the key or tensor, and what was
expected.
"""

from __future__ import annotations


class TrainerError(Exception):
    """Base of the errors that a command reports in one line."""


class WeightsError(TrainerError):
    """A weights file that cannot be read or does not fit the model."""


class ConfigError(TrainerError):
    """A configuration key or value that is unknown or of the wrong type."""


class CheckpointError(TrainerError):
    """A training output folder that cannot be resumed from."""
