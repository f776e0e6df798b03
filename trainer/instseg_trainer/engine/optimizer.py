"""From configuration to a Paddle optimizer."""

from __future__ import annotations

import paddle
from paddle import nn
from paddle.regularizer import L2Decay

from ..config import OptimizerConfig
from ..errors import ConfigError
from .freeze import matching

_GROUPS = "Recipe.optimizer.parameter_groups"


def build_optimizer(config: OptimizerConfig, model: nn.Layer, learning_rate: float) -> paddle.optimizer.Optimizer:
    """Momentum SGD with L2 decay (added to the gradient), or AdamW (Loshchilov and Hutter, "Decoupled weight decay
    regularization", 2019).

    A parameter's learning rate is multiplied by its `optimize_attr["learning_rate"]`, which the model sets and a
    parameter group may replace. With momentum, a parameter's own regularizer (BatchNorm's is zero) goes before the
    common decay; AdamW's decay asks `decay_vectors` and the groups only.
    """
    parameters = {name: p for name, p in model.named_parameters() if not p.stop_gradient}
    if not parameters:
        raise ConfigError("Recipe.freeze: nothing is left to train")
    decays = _weight_decays(config, model, parameters)
    # Skipping spares hundreds of products by 1 where nothing is to be clipped.
    clip = nn.ClipGradByGlobalNorm(config.gradient_clip, auto_skip_clip=True) if config.gradient_clip > 0 else None
    if config.type == "momentum":
        for name, decay in decays.items():
            parameters[name].regularizer = L2Decay(decay)
        return paddle.optimizer.Momentum(
            learning_rate,
            momentum=config.momentum,
            parameters=list(parameters.values()),
            weight_decay=L2Decay(config.weight_decay),
            grad_clip=clip,
        )
    if wrong := {decay for decay in decays.values() if decay not in (0.0, config.weight_decay)}:
        raise ConfigError(f"{_GROUPS}: weight_decay with adamw is 0 or the common one, found {min(wrong)}")
    decayed = {p.name for name, p in parameters.items() if decays.get(name, config.weight_decay) > 0.0}
    for parameter in parameters.values():
        # The zero of norms, made for L2 decay, changes nothing here; Paddle would compute it at every step.
        parameter.regularizer = None
    return paddle.optimizer.AdamW(
        learning_rate,
        parameters=list(parameters.values()),
        weight_decay=config.weight_decay,
        apply_decay_param_fun=decayed.__contains__,
        grad_clip=clip,
    )


def _weight_decays(config: OptimizerConfig, model: nn.Layer, parameters: dict[str, paddle.Tensor]) -> dict[str, float]:
    """Weight decay by name where it is not the common one; also sets the groups' learning rate factors.

    Of several groups that name a parameter the last one counts.
    """
    decays: dict[str, float] = {}
    decay_vectors = config.type == "momentum" if config.decay_vectors is None else config.decay_vectors
    if not decay_vectors:
        decays = {name: 0.0 for name, parameter in parameters.items() if parameter.ndim < 2}
    for group in config.parameter_groups:
        for name in sorted(matching(model, group.params, _GROUPS) & parameters.keys()):
            if group.weight_decay is not None:
                decays[name] = group.weight_decay
            if group.learning_rate_factor is not None:
                parameters[name].optimize_attr["learning_rate"] = group.learning_rate_factor
    return decays
