"""Second stage: classes and corrected boxes of the proposals (Girshick, "Fast R-CNN", ICCV 2015)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import paddle
from paddle import nn
from paddle.nn import functional as F
from paddle.nn.initializer import Normal, XavierUniform

from ..assigners.box_assigner import BoxAssigner, RoITargets
from ..assigners.image_objects import ImageObjects
from ..boxes import DeltaWeights, clip_boxes, decode_boxes
from ..losses.rcnn_loss import box_loss
from .roi_extractor import RoIExtractor


@dataclass
class BoxOutputs:
    """Of R boxes: features, what `head` made of their cut-outs; scores (R, num_classes + 1) logits, the background
    last; deltas (R, 4) or (R, 4 * num_classes), corrections of the boxes.
    """

    features: paddle.Tensor
    scores: paddle.Tensor
    deltas: paddle.Tensor


@dataclass
class BoxPredictions:
    """Of the R proposals of one image: boxes (R, K, 4), clipped, input pixels, K the number of classes or 1 for all of
    them; probabilities (R, num_classes).
    """

    boxes: paddle.Tensor
    probabilities: paddle.Tensor


@dataclass
class BoxLoss:
    """The losses by name; the boxes they were taken at, with their targets, from which the masks learn too; and what
    the head made of these boxes (`BoxOutputs.features`, the images one after the other).
    """

    losses: dict[str, paddle.Tensor]
    targets: RoITargets
    features: paddle.Tensor


class TwoFCHead(nn.Layer):
    """Two fully connected layers: (R, channels_in, resolution, resolution) -> (R, channels)."""

    def __init__(self, channels_in: int, channels: int = 1024, resolution: int = 7) -> None:
        super().__init__()
        self.out_channels = channels
        flat = channels_in * resolution * resolution
        self.fc6 = nn.Linear(flat, channels, weight_attr=paddle.ParamAttr(initializer=XavierUniform(fan_out=flat)))
        self.fc7 = nn.Linear(channels, channels, weight_attr=paddle.ParamAttr(initializer=XavierUniform()))

    def forward(self, roi_features: paddle.Tensor) -> paddle.Tensor:
        return F.relu(self.fc7(F.relu(self.fc6(roi_features.flatten(1)))))


def score_layer(channels: int, num_classes: int) -> nn.Linear:
    """Logits of the classes and, last, of the background."""
    return nn.Linear(channels, num_classes + 1, weight_attr=paddle.ParamAttr(initializer=Normal(std=0.01)))


def delta_layer(channels: int, boxes: int) -> nn.Linear:
    """Corrections, four numbers for each of `boxes` boxes."""
    return nn.Linear(channels, 4 * boxes, weight_attr=paddle.ParamAttr(initializer=Normal(std=0.001)))


class BoxHead(nn.Layer):
    """Cut-outs of the proposals -> `BoxOutputs`, with one correction per class.

    Args:
        head: makes features of the cut-outs: `TwoFCHead`, or a stage of a backbone (C4), whose maps `pool` averages.
        delta_weights: see `instseg_trainer.boxes`.
    """

    def __init__(
        self,
        head: nn.Layer,
        channels: int,
        num_classes: int,
        roi_extractor: RoIExtractor,
        assigner: BoxAssigner,
        *,
        pool: bool = False,
        delta_weights: DeltaWeights = (10.0, 10.0, 5.0, 5.0),
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.delta_weights = delta_weights
        self.assigner = assigner
        self.pool = pool
        self.head = head
        self.roi_extractor = roi_extractor
        self.bbox_score = score_layer(channels, num_classes)
        self.bbox_delta = delta_layer(channels, num_classes)

    def forward(self, roi_features: paddle.Tensor) -> BoxOutputs:
        features = self.head(roi_features)
        vectors = F.adaptive_avg_pool2d(features, 1).flatten(1) if self.pool else features
        return BoxOutputs(features, self.bbox_score(vectors), self.bbox_delta(vectors))

    def detect(
        self, features: Sequence[paddle.Tensor], proposals: paddle.Tensor, image_size: tuple[int, int]
    ) -> BoxPredictions:
        """features of one image, (1, C, H, W) each; proposals (R, 4); image_size: height and width, unpadded."""
        outputs = self(self.roi_extractor(features, [proposals]))
        boxes = decode_boxes(outputs.deltas, proposals, self.delta_weights)
        return BoxPredictions(clip_boxes(boxes, image_size), F.softmax(outputs.scores)[:, :-1])

    def loss(
        self,
        features: Sequence[paddle.Tensor],
        proposals: Sequence[paddle.Tensor],
        objects: Sequence[ImageObjects],
        image_sizes: Sequence[tuple[int, int]],
    ) -> BoxLoss:
        """features (B, C, H, W) each; proposals, objects, image_sizes: one entry per image."""
        del image_sizes  # a cascade clips its boxes to them
        targets = self.assigner.sample(proposals, objects)
        outputs = self(self.roi_extractor(features, targets.rois))
        losses = box_loss(outputs.scores, outputs.deltas, targets, self.num_classes, self.delta_weights)
        return BoxLoss(losses, targets, outputs.features)
