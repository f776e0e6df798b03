"""When a training ends before its last epoch."""

from __future__ import annotations

from dataclasses import dataclass

from ..config import EarlyStopConfig
from ..errors import ConfigError


@dataclass
class EarlyStop:
    """Counts evaluations in a row whose mask AP is not better than `best` by more than `min_delta`.

    best: the last mask AP that was; waited: evaluations since then. Both go into checkpoints.
    """

    patience: int
    min_delta: float
    best: float = -1.0
    waited: int = 0

    @classmethod
    def from_config(cls, config: EarlyStopConfig) -> EarlyStop:
        if config.patience < 0 or config.min_delta < 0.0:
            raise ConfigError(
                f"Recipe.early_stop: expected patience and min_delta of 0 or more, found {config.patience} and "
                f"{config.min_delta}"
            )
        return cls(config.patience, config.min_delta)

    @property
    def reached(self) -> bool:
        return 0 < self.patience <= self.waited

    def update(self, mask_ap: float) -> None:
        if mask_ap > self.best + self.min_delta or self.best < 0.0:
            self.best, self.waited = mask_ap, 0
        else:
            self.waited += 1
