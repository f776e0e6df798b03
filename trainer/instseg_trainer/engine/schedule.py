"""Learning rate over iterations."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class CosineSchedule:
    """Linear from 0 over `warmup_steps` iterations, then half a cosine (Loshchilov and Hutter, "SGDR", 2017, equation
    5) that
    reaches `minimum` at iteration `cosine_steps`; the training may end before that."""

    learning_rate: float
    warmup_steps: int
    cosine_steps: int
    minimum: float = 0.0

    def __call__(self, iteration: int) -> float:
        if iteration < self.warmup_steps:
            return self.learning_rate * iteration / self.warmup_steps
        share = (iteration - self.warmup_steps) / max(self.cosine_steps - self.warmup_steps, 1)
        cosine = 0.5 * (math.cos(math.pi * min(share, 1.0)) + 1.0)
        return self.minimum + (self.learning_rate - self.minimum) * cosine
