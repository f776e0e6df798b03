"""Exponential moving average of a model's weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import numpy as np
import paddle
from paddle import nn

from ..errors import CheckpointError

_EXPONENTIAL_STEPS = 2000
"""After this many steps the exponentially growing decay has reached 63 % of its end value."""


class ModelEMA:
    """average = d * average + (1 - d) * weights, starting as a copy. Young averages forget their start: d grows,
    with `decay_type`

    threshold: min(decay, (1 + step) / (10 + step)); exponential: decay * (1 - exp(-(step + 1) / 2000)); normal: not.

    Running statistics are averaged too; parameters that are fixed (no gradient, no statistics) are taken as they are.
    """

    def __init__(
        self,
        model: nn.Layer,
        decay: float,
        decay_type: Literal["threshold", "exponential", "normal"] = "threshold",
    ) -> None:
        self._decay = decay
        self._decay_type = decay_type
        self._model_state = model.state_dict()
        fixed = {name for name, parameter in model.named_parameters() if parameter.stop_gradient}
        fixed -= {name for name in self._model_state if name.endswith(("._mean", "._variance"))}
        self._averaged = [name for name in self._model_state if name not in fixed]
        self.step = 0
        self.state = {name: tensor.clone().detach() for name, tensor in self._model_state.items()}

    def decay(self, step: int) -> float:
        """The decay of step `step`, counted from 0."""
        if self._decay_type == "threshold":
            return min(self._decay, (1 + step) / (10 + step))
        if self._decay_type == "exponential":
            return self._decay * (1.0 - math.exp(-(step + 1) / _EXPONENTIAL_STEPS))
        return self._decay

    @paddle.no_grad()
    def update(self) -> None:
        decay = self.decay(self.step)
        for name in self._averaged:
            average = self.state[name]
            average.scale_(decay)
            average.add_(self._model_state[name] * (1 - decay))
        self.step += 1

    def restore(self, arrays: Mapping[str, np.ndarray], step: int) -> None:
        missing = [name for name in self.state if name not in arrays]
        if missing:
            raise CheckpointError(f"averaged weights: {len(missing)} tensors are missing, first {missing[0]}")
        for name, tensor in self.state.items():
            tensor.set_value(arrays[name])
        self.step = step
