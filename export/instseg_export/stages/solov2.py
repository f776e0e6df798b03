"""SOLOv2: one graph up to the cells' scores and kernels, and the mask features; any height and width."""

from __future__ import annotations

import paddle
from paddle import nn

from instseg_trainer.models.solov2 import SOLOv2

from ..output_errors import SUPPRESSED_OUTPUT, errors_beside_flips
from .stage import BATCH, Arrays, FamilyStages, Stage, StageTensor, image_examples, image_input


class _Model(nn.Layer):
    def __init__(self, model: SOLOv2) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: paddle.Tensor) -> tuple[paddle.Tensor, ...]:
        outputs = self.model.stage_outputs(image)
        return outputs.scores, outputs.kernels, outputs.mask_features


def _compare(actual: Arrays, expected: Arrays) -> dict[str, float]:
    return errors_beside_flips(actual, expected, SUPPRESSED_OUTPUT)


def _build(model: SOLOv2) -> list[Stage]:
    cells = sum(size * size for size in model.decode.grid_sizes)
    channels = model.mask_head.out_channels
    outputs = (
        StageTensor("scores", (BATCH, cells, model.num_classes)),
        StageTensor("kernels", (BATCH, cells, channels)),
        StageTensor("mask_features", (BATCH, channels, "feature_height", "feature_width")),
    )
    return [Stage("model", _Model(model), (image_input("height", "width"),), outputs, _compare)]


STAGES = FamilyStages("solov2_head.solo_cate.bias", _build, image_examples, default_precision="bf16")
