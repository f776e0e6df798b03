"""Learning rate over iterations."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from ..config import ScheduleConfig
from ..errors import ConfigError

Schedule = Callable[[int], float]
"""The learning rate of an iteration, counted from 0."""


@dataclass(frozen=True)
class CosineDecay:
    """Half a cosine (Loshchilov and Hutter, "SGDR", 2017, equation 5) from `learning_rate` at iteration `first_step`
    to `minimum` at iteration `last_step`; the training may end before that."""

    learning_rate: float
    first_step: int
    last_step: int
    minimum: float = 0.0

    def __call__(self, iteration: int) -> float:
        share = (iteration - self.first_step) / max(self.last_step - self.first_step, 1)
        cosine = 0.5 * (math.cos(math.pi * min(share, 1.0)) + 1.0)
        return self.minimum + (self.learning_rate - self.minimum) * cosine


@dataclass(frozen=True)
class PiecewiseDecay:
    """`learning_rate` times `gamma` for each of the `milestones` (iterations) reached; without any it is constant."""

    learning_rate: float
    milestones: tuple[int, ...] = ()
    gamma: float = 1.0

    def __call__(self, iteration: int) -> float:
        return self.learning_rate * self.gamma ** sum(iteration >= step for step in self.milestones)


@dataclass(frozen=True)
class Warmup:
    """A straight line from `start_factor` times `learning_rate` at iteration 0 to all of it at iteration `steps`, from
    where on `decay` decides."""

    learning_rate: float
    steps: int
    start_factor: float
    decay: Schedule

    def __call__(self, iteration: int) -> float:
        if iteration >= self.steps:
            return self.decay(iteration)
        share = iteration / self.steps
        return self.learning_rate * (self.start_factor * (1.0 - share) + share)


def build_schedule(
    config: ScheduleConfig, learning_rate: float, warmup_steps: int, epochs: int, iterations_per_epoch: int
) -> Schedule:
    """The schedule of a training of `epochs` epochs; milestones are rounded to whole epochs."""
    decay: Schedule
    if config.type == "cosine":
        last = math.ceil(epochs * iterations_per_epoch * config.cosine_epochs_factor)
        decay = CosineDecay(learning_rate, warmup_steps, last, learning_rate * config.min_learning_rate_factor)
    elif config.type == "piecewise":
        milestones = config.milestones
        if not milestones or milestones != sorted(milestones) or not 0.0 < milestones[0] <= milestones[-1] <= 1.0:
            raise ConfigError(
                f"Recipe.schedule.milestones: expected rising parts of the epochs within 0 to 1, found {milestones}"
            )
        steps = tuple(round(part * epochs) * iterations_per_epoch for part in milestones)
        decay = PiecewiseDecay(learning_rate, steps, config.gamma)
    else:
        decay = PiecewiseDecay(learning_rate)
    return Warmup(learning_rate, warmup_steps, config.warmup_start_factor, decay)
