"""How a model is cut into stages: what each takes and returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import paddle
from paddle import nn

from instseg_trainer.models.base import InstanceSegmentationModel
from instseg_trainer.models.ppyoloe_seg import PPYOLOESeg


@dataclass(frozen=True)
class Stage:
    """One graph. `layer` takes images (B, 3, H, W) float32 and returns one tensor per output name."""

    name: str
    layer: nn.Layer
    input_name: str
    output_names: tuple[str, ...]


class _PPYOLOESegStage(nn.Layer):
    def __init__(self, model: PPYOLOESeg) -> None:
        super().__init__()
        self.model = model

    # Paddle's converter insists on the name `self` here and reads the function's source.
    def forward(self, image: paddle.Tensor) -> tuple[paddle.Tensor, ...]:
        outputs = self.model.stage_outputs(image)
        return outputs.boxes, outputs.scores, outputs.mask_coefficients, outputs.prototypes


def _ppyoloe_seg(model: PPYOLOESeg) -> list[Stage]:
    names = ("boxes", "scores", "mask_coefficients", "prototypes")
    return [Stage("model", _PPYOLOESegStage(model), "image", names)]


_BY_FAMILY: dict[str, Callable[[Any], list[Stage]]] = {"ppyoloe_seg": _ppyoloe_seg}


def has_stages(family: str) -> bool:
    """Whether models of this family can be exported."""
    return family in _BY_FAMILY


def build_stages(model: InstanceSegmentationModel) -> list[Stage]:
    return _BY_FAMILY[model.family](model)
