"""Exponential moving average of a model's weights."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import paddle
from paddle import nn

from ..errors import CheckpointError


class ModelEMA:
    """average = d * average + (1 - d) * weights with d = min(decay, (1 + step) / (10 + step)): young averages forget
    their start.

    Running statistics are averaged too; parameters that are fixed (no gradient, no statistics) are taken as they are.
    """

    def __init__(self, model: nn.Layer, decay: float) -> None:
        self._decay = decay
        self._model_state = model.state_dict()
        fixed = {name for name, parameter in model.named_parameters() if parameter.stop_gradient}
        fixed -= {name for name in self._model_state if name.endswith(("._mean", "._variance"))}
        self._averaged = [name for name in self._model_state if name not in fixed]
        self.step = 0
        self.state = {name: tensor.clone().detach() for name, tensor in self._model_state.items()}

    @paddle.no_grad()
    def update(self) -> None:
        decay = min(self._decay, (1 + self.step) / (10 + self.step))
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
