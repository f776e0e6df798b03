"""What the region proposal network learns at each anchor (Ren et al., "Faster R-CNN", NeurIPS 2015, section 3.1.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import paddle

from ..boxes import encode_boxes
from .box_matching import BalancedSampler, match_boxes
from .image_objects import ImageObjects


@dataclass
class AnchorTargets:
    """The sampled anchors of a batch, as indices into (B * L): positive (P,) and negative (N,) int64; deltas (P, 4)
    from the positive anchors to their objects.
    """

    positive: paddle.Tensor
    negative: paddle.Tensor
    deltas: paddle.Tensor


class AnchorAssigner:
    """Anchors that overlap an object well say so, anchors far from all objects say no; the others are not asked.

    Args:
        sampler: how many of them, and which.
        positive_iou, negative_iou: IoU from which an anchor is positive, and below which it is negative.
    """

    def __init__(
        self,
        sampler: BalancedSampler | None = None,
        positive_iou: float = 0.7,
        negative_iou: float = 0.3,
    ) -> None:
        self.sampler = sampler or BalancedSampler(256, 0.5)
        self.positive_iou = positive_iou
        self.negative_iou = negative_iou

    @paddle.no_grad()
    def __call__(self, anchors: paddle.Tensor, objects: Sequence[ImageObjects]) -> AnchorTargets:
        """anchors: (L, 4) of all feature maps, the same for each of the B images."""
        positives, negatives, deltas = [], [], []
        for image, image_objects in enumerate(objects):
            matches = match_boxes(anchors, image_objects.boxes, self.positive_iou, self.negative_iou, keep_best=True)
            positive, negative = self.sampler(matches.labels)
            if len(positive):
                matched = paddle.gather(image_objects.boxes, paddle.gather(matches.object_index, positive))
                deltas.append(encode_boxes(paddle.gather(anchors, positive), matched, (1.0, 1.0, 1.0, 1.0)))
            positives.append(positive + image * anchors.shape[0])
            negatives.append(negative + image * anchors.shape[0])
        return AnchorTargets(
            paddle.concat(positives),
            paddle.concat(negatives),
            paddle.concat(deltas) if deltas else paddle.zeros([0, 4]),
        )
