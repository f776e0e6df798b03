"""What the box head learns at each proposal (Girshick, "Fast R-CNN", ICCV 2015, section 2.3; Cai and Vasconcelos,
"Cascade R-CNN", CVPR 2018, section 4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import paddle

from .box_matching import NEGATIVE, BalancedSampler, match_boxes
from .image_objects import ImageObjects


@dataclass
class RoITargets:
    """Lists with one entry per image, whose R boxes are in the order of the features cut out for them.

    rois (R, 4), x1, y1, x2, y2 in input pixels. class_ids (R,) int64, `num_classes` for background. object_index
    (R,) int64 and object_boxes (R, 4): the object each box answers for; without meaning for background.
    """

    rois: list[paddle.Tensor]
    class_ids: list[paddle.Tensor]
    object_index: list[paddle.Tensor]
    object_boxes: list[paddle.Tensor]

    def foreground(self, num_classes: int) -> list[paddle.Tensor]:
        """Per image the rows (F,) int64 that have an object."""
        return [paddle.nonzero(class_ids < num_classes).flatten() for class_ids in self.class_ids]


class BoxAssigner:
    """Proposals that overlap an object learn its class and box, the others that they are background.

    Args:
        sampler: how many proposals of an image are used, and which.
        iou_threshold: overlap from which a proposal belongs to an object.
    """

    def __init__(self, num_classes: int, sampler: BalancedSampler | None = None, iou_threshold: float = 0.5) -> None:
        self.num_classes = num_classes
        self.sampler = sampler or BalancedSampler(512, 0.25)
        self.iou_threshold = iou_threshold

    def sample(self, proposals: Sequence[paddle.Tensor], objects: Sequence[ImageObjects]) -> RoITargets:
        """A balanced sample, positives first. The objects' own boxes stand as candidates too: early proposals hit
        nothing.
        """
        candidates = [paddle.concat([rois, image.boxes]) for rois, image in zip(proposals, objects)]
        return self._targets(candidates, objects, self.iou_threshold, self.sampler)

    def match(self, rois: Sequence[paddle.Tensor], objects: Sequence[ImageObjects], iou_threshold: float) -> RoITargets:
        """All of the boxes, in their order: for the later stages of a cascade."""
        return self._targets(rois, objects, iou_threshold, None)

    @paddle.no_grad()
    def _targets(
        self,
        candidates: Sequence[paddle.Tensor],
        objects: Sequence[ImageObjects],
        iou_threshold: float,
        sampler: BalancedSampler | None,
    ) -> RoITargets:
        targets = RoITargets([], [], [], [])
        for image_rois, image in zip(candidates, objects):
            rois = image_rois.detach()
            matches = match_boxes(rois, image.boxes, iou_threshold, iou_threshold)
            object_index, labels = matches.object_index, matches.labels
            if sampler is not None:
                chosen = paddle.concat(sampler(labels))
                rois, object_index, labels = (paddle.gather(values, chosen) for values in (rois, object_index, labels))
            background = paddle.full([len(rois)], self.num_classes, dtype="int64")
            if len(image):
                class_ids = paddle.gather(image.class_ids, object_index)
                class_ids = paddle.where(labels == NEGATIVE, background, class_ids)
                object_boxes = paddle.gather(image.boxes, object_index)
            else:
                class_ids, object_boxes = background, paddle.zeros([len(rois), 4])
            targets.rois.append(rois)
            targets.class_ids.append(class_ids)
            targets.object_index.append(object_index)
            targets.object_boxes.append(object_boxes)
        return targets
