"""PP-YOLOE_seg: one graph up to boxes, scores, mask coefficients and prototypes."""

from __future__ import annotations

import paddle
from paddle import nn

from instseg_trainer.models.ppyoloe_seg import PPYOLOESeg

from .stage import BATCH, FamilyStages, Stage, StageTensor, image_examples, image_input


class _Model(nn.Layer):
    def __init__(self, model: PPYOLOESeg) -> None:
        super().__init__()
        self.model = model

    # Paddle's converter insists on the name `self` here and reads the function's source.
    def forward(self, image: paddle.Tensor) -> tuple[paddle.Tensor, ...]:
        outputs = self.model.stage_outputs(image)
        return outputs.boxes, outputs.scores, outputs.mask_coefficients, outputs.prototypes


def _build(model: PPYOLOESeg) -> list[Stage]:
    outputs = (
        StageTensor("boxes", (BATCH, None, 4)),
        StageTensor("scores", (BATCH, model.num_classes, None)),
        StageTensor("mask_coefficients", (BATCH, None, None)),
        StageTensor("prototypes", (BATCH, None, None, None)),
    )
    spec = model.input_spec
    return [Stage("model", _Model(model), (image_input(spec.height, spec.width),), outputs)]


STAGES = FamilyStages("yolo_head.pred_cls.0.bias", _build, image_examples, default_precision="bf16")
