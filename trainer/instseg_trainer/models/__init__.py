"""The models as `paddle.nn.Layer`s, by name."""

from .registry import build_model, model_names

__all__ = ["build_model", "model_names"]
