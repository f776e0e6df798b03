"""Mask-RT-DETR: one graph up to the queries' class logits, boxes and mask embeddings, and the mask features."""

from __future__ import annotations

import paddle
from paddle import nn

from instseg_trainer.models.mask_rtdetr import MaskRTDETR

from ..output_errors import QUERY_OUTPUTS, errors_of_matched_rows
from .stage import BATCH, Arrays, FamilyStages, Stage, StageTensor, image_examples, image_input


class _Model(nn.Layer):
    def __init__(self, model: MaskRTDETR) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: paddle.Tensor) -> tuple[paddle.Tensor, ...]:
        outputs = self.model(image)
        found = outputs.predictions
        return found.class_logits, found.boxes, found.mask_embeddings, outputs.mask_features


def _compare(actual: Arrays, expected: Arrays) -> dict[str, float]:
    return errors_of_matched_rows(actual, expected, QUERY_OUTPUTS)


def _build(model: MaskRTDETR) -> list[Stage]:
    queries = model.transformer.layout.queries
    outputs = (
        StageTensor("logits", (BATCH, queries, model.num_classes)),
        StageTensor("boxes", (BATCH, queries, 4)),
        StageTensor("mask_embeddings", (BATCH, queries, None)),
        StageTensor("mask_features", (BATCH, None, None, None)),
    )
    spec = model.input_spec
    return [Stage("model", _Model(model), (image_input(spec.height, spec.width),), outputs, _compare)]


STAGES = FamilyStages("transformer.score_head.bias", _build, image_examples, default_precision="bf16")
