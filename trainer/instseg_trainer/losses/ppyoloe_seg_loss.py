"""The loss of PP-YOLOE_seg: varifocal, GIoU, distribution focal and prototype mask loss over task-aligned targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import paddle
from paddle.nn import functional as F

from ..assigners.task_aligned import Assignment, TaskAlignedAssigner
from ..targets import Targets
from .functional import distribution_focal_loss, giou_loss, prototype_mask_loss, varifocal_loss

if TYPE_CHECKING:
    from ..models.ppyoloe_seg_head import HeadOutputs


PROTOTYPE_STRIDE = 4
"""Input pixels per prototype cell."""


@dataclass(frozen=True)
class LossWeights:
    cls: float = 1.0
    iou: float = 2.5
    dfl: float = 0.5
    mask: float = 2.5


class PPYOLOESegLoss:
    def __init__(self, num_classes: int, weights: LossWeights | None = None) -> None:
        self.num_classes = num_classes
        self.weights = weights or LossWeights()
        self.assigner = TaskAlignedAssigner()

    def __call__(self, outputs: HeadOutputs, boxes: paddle.Tensor, targets: Targets) -> dict[str, paddle.Tensor]:
        """boxes (B, L, 4): decoded, in strides of their own level."""
        scores = F.sigmoid(outputs.class_logits)
        strides = outputs.strides
        assignment = self.assigner(
            scores.detach(),
            boxes.detach() * strides,
            outputs.anchor_points,
            targets.class_ids,
            targets.boxes,
            targets.pad_mask,
        )
        labels = F.one_hot(assignment.class_ids, self.num_classes + 1)[..., : self.num_classes]
        total_score = self._normaliser(assignment.scores)
        loss_cls = varifocal_loss(scores, assignment.scores, labels) / total_score

        positive = assignment.class_ids != self.num_classes
        index = paddle.nonzero(positive)  # (P, 2): image, anchor point
        if index.shape[0] == 0:
            # Zero, but connected to the graph: every parameter keeps a (zero) gradient, as several devices need it.
            zero = 0.0 * (boxes.sum() + outputs.mask_coefficients.sum() + outputs.prototypes.sum())
            loss_iou = loss_dfl = loss_mask = loss_l1 = zero
        else:
            points_in_strides = outputs.anchor_points / strides
            boxes_positive = paddle.gather_nd(boxes, index)
            targets_positive = paddle.gather_nd(assignment.boxes / strides, index)
            weight = paddle.gather_nd(assignment.scores.sum(-1), index).unsqueeze(-1)
            loss_l1 = F.l1_loss(boxes_positive, targets_positive)
            loss_iou = (giou_loss(boxes_positive, targets_positive) * weight).sum() / total_score

            points = paddle.gather(points_in_strides, index[:, 1])
            bins = outputs.distance_logits.shape[-1] // 4
            distances = paddle.concat([points - targets_positive[:, :2], targets_positive[:, 2:] - points], axis=-1)
            logits = paddle.gather_nd(outputs.distance_logits, index).reshape([-1, 4, bins])
            dfl = distribution_focal_loss(logits, distances.clip(0, bins - 1 - 0.01))
            loss_dfl = (dfl * weight).sum() / total_score
            loss_mask = self._mask_loss(outputs, assignment, targets, positive) / total_score

        weights = self.weights
        loss = weights.cls * loss_cls + weights.iou * loss_iou + weights.dfl * loss_dfl + weights.mask * loss_mask
        return {
            "loss": loss,
            "loss_cls": loss_cls,
            "loss_iou": loss_iou,
            "loss_dfl": loss_dfl,
            "loss_mask": loss_mask,
            "loss_l1": loss_l1,
        }

    @staticmethod
    def _normaliser(scores: paddle.Tensor) -> paddle.Tensor:
        total = scores.sum()
        devices = paddle.distributed.get_world_size()
        if devices > 1:
            paddle.distributed.all_reduce(total)
            total = total / devices
        return total.clip(min=1.0)

    @staticmethod
    def _mask_loss(
        outputs: HeadOutputs, assignment: Assignment, targets: Targets, positive: paddle.Tensor
    ) -> paddle.Tensor:
        height, width = outputs.prototypes.shape[2:]
        masks = targets.masks
        if tuple(masks.shape[2:]) != (height, width):
            masks = F.interpolate(masks.astype("float32"), (height, width), mode="nearest")
        # The input's size follows from theirs (the reference assumes 640 x 640 here).
        image_size = paddle.to_tensor([float(PROTOTYPE_STRIDE * width), float(PROTOTYPE_STRIDE * height)] * 2)
        losses = []
        # unbind, not indexing: one gradient for the whole batch instead of a zero-filled one per image.
        prototypes = paddle.unbind(outputs.prototypes)
        coefficients = paddle.unbind(outputs.mask_coefficients)
        for image in range(positive.shape[0]):
            chosen = paddle.nonzero(positive[image]).flatten()
            if chosen.shape[0] == 0:
                losses.append(0.0 * (prototypes[image].sum() + coefficients[image].sum()))
                continue
            objects = paddle.gather(assignment.object_index[image], chosen)
            losses.append(
                prototype_mask_loss(
                    prototypes[image],
                    paddle.gather(coefficients[image], chosen),
                    paddle.gather(masks[image], objects).astype("float32"),
                    paddle.gather(assignment.boxes[image], chosen) / image_size,
                )
            )
        return paddle.add_n(losses)
