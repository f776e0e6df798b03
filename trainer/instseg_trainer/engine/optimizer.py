"""From configuration to a Paddle optimizer."""

from __future__ import annotations

import paddle
from paddle import nn
from paddle.regularizer import L2Decay

from ..config import OptimizerConfig
from ..errors import ConfigError


def build_optimizer(config: OptimizerConfig, model: nn.Layer, learning_rate: float) -> paddle.optimizer.Optimizer:
    """Momentum SGD with L2 decay on everything but BatchNorm, or AdamW whose decay leaves out vectors (norms,
    biases).
    """
    parameters = [p for p in model.parameters() if not p.stop_gradient]
    clip = nn.ClipGradByGlobalNorm(config.gradient_clip) if config.gradient_clip > 0 else None
    if config.type == "momentum":
        # BatchNorm parameters carry a regularizer of their own (zero), which takes precedence over this one.
        return paddle.optimizer.Momentum(
            learning_rate,
            momentum=config.momentum,
            parameters=parameters,
            weight_decay=L2Decay(config.weight_decay),
            grad_clip=clip,
        )
    if config.type == "adamw":
        decayed = {p.name for p in parameters if p.ndim > 1}
        return paddle.optimizer.AdamW(
            learning_rate,
            parameters=parameters,
            weight_decay=config.weight_decay,
            apply_decay_param_fun=decayed.__contains__,
            grad_clip=clip,
        )
    raise ConfigError(f"Recipe.optimizer.type: expected momentum or adamw, found {config.type!r}")
