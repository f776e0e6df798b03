"""Mixed precision."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, cast

import numpy as np
import paddle

from ..errors import ConfigError

_FIRST_LOSS_SCALE = 65536.0
_SCALER_STATE = ("scale", "incr_count", "decr_count")


class Precision:
    """Runs the forward pass in `amp` where Paddle's lists say so, the rest and the weights in float32.

    float16 has few small numbers: the loss is multiplied by a scale, which the gradients lose again before the step. A
    step with gradients that are not finite is left out, and the scale is lowered. Raises `ConfigError` where the
    device cannot.
    """

    def __init__(self, amp: Literal["none", "bfloat16", "float16"]) -> None:
        self._amp = amp
        self._scaler: paddle.amp.GradScaler | None = None
        if amp == "none":
            return
        device = paddle.get_device()
        if device == "cpu":
            raise ConfigError(
                f"Recipe.amp: {amp} needs a GPU, as Paddle has no mixed precision on the CPU: set Recipe.amp=none"
            )
        supported = paddle.amp.is_float16_supported() if amp == "float16" else paddle.amp.is_bfloat16_supported()
        if not supported:
            raise ConfigError(f"Recipe.amp: {device} has no {amp}: set Recipe.amp=none")
        if amp == "float16":
            self._scaler = paddle.amp.GradScaler(init_loss_scaling=_FIRST_LOSS_SCALE)

    def forward(self) -> AbstractContextManager[Any]:
        """The context of the forward pass."""
        return nullcontext() if self._amp == "none" else paddle.amp.auto_cast(dtype=self._amp)

    def backward(self, loss: paddle.Tensor) -> None:
        (loss if self._scaler is None else self._scaler.scale(loss)).backward()

    def step(self, optimizer: paddle.optimizer.Optimizer) -> None:
        if self._scaler is None:
            optimizer.step()
            return
        self._scaler.step(optimizer)
        self._scaler.update()

    def state(self) -> dict[str, float] | None:
        """What a resumed training needs; plain numbers."""
        if self._scaler is None:
            return None
        content = cast(dict[str, Any], self._scaler.state_dict())
        return {key: float(np.asarray(content[key]).item()) for key in _SCALER_STATE}

    def restore(self, state: dict[str, float] | None) -> None:
        if self._scaler is None or state is None:
            return
        content = cast(dict[str, Any], self._scaler.state_dict())
        scale, *counts = _SCALER_STATE
        content |= {scale: np.array([state[scale]], np.float32), **{key: int(state[key]) for key in counts}}
        self._scaler.load_state_dict(cast(Any, content))
