"""Which parts of a model learn, over what the model fixes by itself."""

from __future__ import annotations

import re
from collections.abc import Sequence

from paddle import nn

from ..errors import ConfigError

_STATISTICS = ("_mean", "_variance")


def apply_freezing(model: nn.Layer, freeze: Sequence[str], unfreeze: Sequence[str]) -> None:
    """Fixes the parameters in whose names one of `freeze` (regular expressions) is found, and lets those of `unfreeze`
    learn.

    A BatchNorm goes with its weight: fixed, it takes the running statistics in training too and leaves them as they
    are; learning, it takes the batch's. A parameter must not be in both. Raises `ConfigError` for an expression that
    is wrong or found in no name.
    """
    fixed, learning = matching(model, freeze, "Recipe.freeze"), matching(model, unfreeze, "Recipe.unfreeze")
    if both := sorted(fixed & learning):
        raise ConfigError(f"Recipe.freeze and Recipe.unfreeze: {both[0]} is found by both")
    for name, parameter in model.named_parameters():
        if name in fixed:
            parameter.stop_gradient = True
        elif name in learning:
            parameter.stop_gradient = False
            # A frozen layer may have been given the learning rate factor 0.
            if parameter.optimize_attr["learning_rate"] == 0.0:
                parameter.optimize_attr["learning_rate"] = 1.0
    for name, layer in model.named_sublayers():
        # What Paddle's BatchNorm layers keep `use_global_stats` in.
        if hasattr(layer, "_use_global_stats"):
            weight = f"{name}.weight"
            if weight in fixed:
                layer._use_global_stats = True
            elif weight in learning:
                layer._use_global_stats = None


def matching(model: nn.Layer, expressions: Sequence[str], key: str) -> set[str]:
    """Names of the parameters (not of running statistics) in which one of the regular expressions is found."""
    names = [name for name, _ in model.named_parameters() if name.rpartition(".")[2] not in _STATISTICS]
    found: set[str] = set()
    for expression in expressions:
        try:
            pattern = re.compile(expression)
        except re.error as error:
            raise ConfigError(f"{key}: {expression!r} is not a regular expression: {error}") from error
        matched = {name for name in names if pattern.search(name)}
        if not matched:
            raise ConfigError(f"{key}: {expression!r} is found in no parameter's name (such as {names[0]})")
        found |= matched
    return found
