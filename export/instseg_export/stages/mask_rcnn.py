"""Mask R-CNN and Cascade Mask R-CNN: `features` for any height and width, then heads for any number of RoIs.

Proposals, RoIAlign, suppression and the pasting of masks lie between the stages, in the runtime.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle import nn

from instseg_trainer.models.box_head import BoxHead
from instseg_trainer.models.cascade_head import CascadeHead
from instseg_trainer.models.mask_head import MaskHead
from instseg_trainer.models.mask_rcnn import MaskRCNN
from instseg_trainer.models.roi_extractor import RoIExtractor

from .stage import BATCH, Arrays, FamilyStages, Stage, StageTensor, image_input

_ROIS = "rois"
_EXAMPLE_ROIS = 24
"""Per image and head: enough to show an error; the heads of C4 models take a second for some hundred."""


class _Features(nn.Layer):
    def __init__(self, model: MaskRCNN) -> None:
        super().__init__()
        self.model = model
        self.maps = len(model.bbox_head.roi_extractor.strides)

    def forward(self, image: paddle.Tensor) -> tuple[paddle.Tensor, ...]:
        outputs = self.model(image)
        return (*outputs.features[: self.maps], *outputs.rpn.scores, *outputs.rpn.deltas)


class _BoxHead(nn.Layer):
    def __init__(self, head: BoxHead) -> None:
        super().__init__()
        self.head = head

    def forward(self, roi_features: paddle.Tensor) -> tuple[paddle.Tensor, ...]:
        outputs = self.head(roi_features)
        return outputs.scores, outputs.deltas


class _CascadeBoxHead(nn.Layer):
    def __init__(self, head: CascadeHead, stage: int) -> None:
        super().__init__()
        self.head = head
        self.stage = stage

    def forward(self, roi_features: paddle.Tensor) -> tuple[paddle.Tensor, ...]:
        outputs = self.head(roi_features, self.stage)
        return outputs.scores, outputs.deltas


class _MaskHead(nn.Layer):
    def __init__(self, head: MaskHead, box_feature: nn.Layer | None) -> None:
        super().__init__()
        self.head = head
        self.box_feature = box_feature

    def forward(self, roi_features: paddle.Tensor) -> paddle.Tensor:
        if self.box_feature is not None:
            roi_features = self.box_feature(roi_features)
        return self.head(roi_features)


def _build(model: MaskRCNN) -> list[Stage]:
    return [_features(model), *_box_heads(model), _mask_head(model)]


def _features(model: MaskRCNN) -> Stage:
    maps, anchors = len(model.bbox_head.roi_extractor.strides), model.rpn_head.anchors

    def outputs(name: str, count: int, channels: int | None, axis: str) -> list[StageTensor]:
        return [
            StageTensor(f"{name}_{level}", (BATCH, channels, f"{axis}_{level}_height", f"{axis}_{level}_width"))
            for level in range(count)
        ]

    levels = len(anchors.strides)
    return Stage(
        "features",
        _Features(model),
        (image_input("height", "width"),),
        (
            *outputs("feature", maps, _channels(model), "feature"),
            *outputs("rpn_logits", levels, anchors.num_anchors, "rpn"),
            *outputs("rpn_deltas", levels, 4 * anchors.num_anchors, "rpn"),
        ),
    )


def _box_heads(model: MaskRCNN) -> list[Stage]:
    head = model.bbox_head
    inputs = (_roi_input(model, head.roi_extractor),)

    def outputs(boxes: int) -> tuple[StageTensor, ...]:
        return (
            StageTensor("logits", (_ROIS, model.num_classes + 1)),
            StageTensor("deltas", (_ROIS, 4 * boxes)),
        )

    if isinstance(head, BoxHead):
        return [Stage("box_head", _BoxHead(head), inputs, outputs(model.num_classes))]
    return [
        Stage(f"box_head_{stage}", _CascadeBoxHead(head, stage), inputs, outputs(1)) for stage in range(head.num_stages)
    ]


def _mask_head(model: MaskRCNN) -> Stage:
    head = model.mask_head
    box_feature = model.bbox_head.head if head.share_box_features else None
    logits = StageTensor("mask_logits", (_ROIS, model.num_classes, head.resolution, head.resolution))
    return Stage("mask_head", _MaskHead(head, box_feature), (_roi_input(model, head.roi_extractor),), (logits,))


def _roi_input(model: MaskRCNN, extractor: RoIExtractor) -> StageTensor:
    return StageTensor("roi_features", (_ROIS, _channels(model), extractor.resolution, extractor.resolution))


def _channels(model: MaskRCNN) -> int:
    """Of the feature maps that boxes are cut from."""
    source = model.backbone if model.neck is None else model.neck
    return int(source.out_channels[0])


@paddle.no_grad()
def _examples(model: MaskRCNN, images: NDArray[np.float32]) -> dict[str, Arrays]:
    """RoIs are the images' own proposals; the later heads of a cascade get the first one's."""
    outputs = model(paddle.to_tensor(images))
    sizes = [(int(images.shape[2]), int(images.shape[3]))] * len(images)
    proposals = model.rpn_head.propose(outputs.rpn, sizes, model.decode.proposal_limits)
    rois = [boxes[:_EXAMPLE_ROIS] for boxes in proposals]
    box_features = model.bbox_head.roi_extractor(outputs.features, rois).numpy()
    mask_features = model.mask_head.roi_extractor(outputs.features, rois).numpy()
    return {
        "features": {"image": images},
        **{stage.name: {"roi_features": box_features} for stage in _box_heads(model)},
        "mask_head": {"roi_features": mask_features},
    }


def _decode(model: MaskRCNN) -> dict[str, Any]:
    head, anchors = model.bbox_head, model.rpn_head.anchors
    weights = [head.delta_weights] if isinstance(head, BoxHead) else head.delta_weights
    return {
        **asdict(model.decode),
        "anchor_strides": list(anchors.strides),
        "anchor_sizes": [size for sizes in anchors.sizes for size in sizes],
        "anchor_aspect_ratios": list(anchors.aspect_ratios),
        "feature_strides": list(head.roi_extractor.strides),
        "delta_weights": [number for numbers in weights for number in numbers],
        "roi_aligned": model.roi_aligned,
    }


STAGES = FamilyStages("mask_head.mask_fcn_logits.bias", _build, _examples, _decode)
