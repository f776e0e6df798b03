"""Several box heads in a row, each on the boxes that the one before it corrected (Cai and Vasconcelos, "Cascade R-CNN",
CVPR 2018).
"""

from __future__ import annotations

from collections.abc import Sequence

import paddle
from paddle import nn
from paddle.nn import functional as F

from ..assigners.box_assigner import BoxAssigner, RoITargets
from ..assigners.image_objects import ImageObjects
from ..boxes import DeltaWeights, clip_boxes, decode_boxes, has_area
from ..losses.rcnn_loss import box_loss
from .box_head import BoxLoss, BoxOutputs, BoxPredictions, TwoFCHead, delta_layer, score_layer
from .roi_extractor import RoIExtractor

STAGE_IOU_THRESHOLDS = (0.5, 0.6, 0.7)
"""Overlap from which a box belongs to an object, stage by stage (section 4.2)."""
STAGE_DELTA_WEIGHTS: tuple[DeltaWeights, ...] = (
    (10.0, 10.0, 5.0, 5.0),
    (20.0, 20.0, 10.0, 10.0),
    (30.0, 30.0, 15.0, 15.0),
)
"""Later stages correct less, so their deltas are scaled up more."""


class CascadeTwoFCHead(nn.Layer):
    """One `TwoFCHead` per stage."""

    def __init__(self, channels_in: int, stages: int, channels: int = 1024, resolution: int = 7) -> None:
        super().__init__()
        self.out_channels = channels
        self._stages = [
            self.add_sublayer(str(stage), TwoFCHead(channels_in, channels, resolution)) for stage in range(stages)
        ]

    def forward(self, roi_features: paddle.Tensor, stage: int) -> paddle.Tensor:
        return self._stages[stage](roi_features)


class CascadeHead(nn.Layer):
    """Cut-outs of the proposals and a stage -> `BoxOutputs`, one correction for all classes.

    Scores are the mean over all stages, boxes are the last stage's. Every stage's losses count 1 / stages.
    """

    def __init__(
        self,
        channels_in: int,
        num_classes: int,
        roi_extractor: RoIExtractor,
        assigner: BoxAssigner,
        iou_thresholds: Sequence[float] = STAGE_IOU_THRESHOLDS,
        delta_weights: Sequence[DeltaWeights] = STAGE_DELTA_WEIGHTS,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.num_stages = len(iou_thresholds)
        self.iou_thresholds = tuple(iou_thresholds)
        self.delta_weights = tuple(delta_weights)
        self.assigner = assigner
        self.head = CascadeTwoFCHead(channels_in, self.num_stages, resolution=roi_extractor.resolution)
        self.roi_extractor = roi_extractor
        self._scores, self._deltas = [], []
        for stage in range(self.num_stages):
            score, delta = score_layer(self.head.out_channels, num_classes), delta_layer(self.head.out_channels, 1)
            self._scores.append(self.add_sublayer(f"bbox_score_stage{stage}", score))
            self._deltas.append(self.add_sublayer(f"bbox_delta_stage{stage}", delta))

    def forward(self, roi_features: paddle.Tensor, stage: int) -> BoxOutputs:
        features = self.head(roi_features, stage)
        return BoxOutputs(features, self._scores[stage](features), self._deltas[stage](features))

    def _corrected(self, outputs: BoxOutputs, rois: paddle.Tensor, stage: int) -> paddle.Tensor:
        """(R, 4), not clipped."""
        return decode_boxes(outputs.deltas, rois, self.delta_weights[stage]).squeeze(1)

    def detect(
        self, features: Sequence[paddle.Tensor], proposals: paddle.Tensor, image_size: tuple[int, int]
    ) -> BoxPredictions:
        """See `BoxHead.detect`."""
        probabilities, boxes = [], proposals
        for stage in range(self.num_stages):
            outputs = self(self.roi_extractor(features, [boxes]), stage)
            probabilities.append(F.softmax(outputs.scores))
            boxes = clip_boxes(self._corrected(outputs, boxes, stage), image_size)
        mean = paddle.add_n(probabilities) / self.num_stages
        return BoxPredictions(boxes.unsqueeze(1), mean[:, :-1])

    def loss(
        self,
        features: Sequence[paddle.Tensor],
        proposals: Sequence[paddle.Tensor],
        objects: Sequence[ImageObjects],
        image_sizes: Sequence[tuple[int, int]],
    ) -> BoxLoss:
        """See `BoxHead.loss`; the names end in `_stage0`, `_stage1`, ... The masks learn at the first stage's boxes."""
        targets = self.assigner.sample(proposals, objects)
        stages: list[tuple[RoITargets, BoxOutputs]] = []
        for stage, iou_threshold in enumerate(self.iou_thresholds):
            if stages:
                rois = self._next_rois(*stages[-1], image_sizes, stage - 1)
                targets = self.assigner.match(rois, objects, iou_threshold)
            stages.append((targets, self(self.roi_extractor(features, targets.rois), stage)))
        losses: dict[str, paddle.Tensor] = {}
        for stage, (targets, outputs) in enumerate(stages):
            weights = self.delta_weights[stage]
            parts = box_loss(outputs.scores, outputs.deltas, targets, self.num_classes, weights)
            losses |= {f"{name}_stage{stage}": value / self.num_stages for name, value in parts.items()}
        first_targets, first_outputs = stages[0]
        return BoxLoss(losses, first_targets, first_outputs.features)

    @paddle.no_grad()
    def _next_rois(
        self, targets: RoITargets, outputs: BoxOutputs, image_sizes: Sequence[tuple[int, int]], stage: int
    ) -> list[paddle.Tensor]:
        """Per image the boxes that `stage` made of its own, without the empty ones, but never none at all."""
        corrected = self._corrected(outputs, paddle.concat(targets.rois), stage)
        kept = []
        for boxes, size in zip(corrected.split([len(rois) for rois in targets.rois]), image_sizes):
            clipped = clip_boxes(boxes, size)
            rows = paddle.nonzero(has_area(clipped)).flatten()
            kept.append(paddle.gather(clipped, rows) if len(rows) else clipped[:1])
        return kept
