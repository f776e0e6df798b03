"""Task-aligned assignment (Feng et al., "TOOD: Task-aligned One-stage Object Detection", ICCV 2021, section 3.2)."""

from __future__ import annotations

from dataclasses import dataclass

import paddle
from paddle.nn import functional as F


@dataclass
class Assignment:
    """Per anchor point: class_ids (B, L) int64, `num_classes` where nothing is assigned; boxes (B, L, 4) xyxy;
    scores (B, L, num_classes), the alignment as a soft target; object_index (B, L) int64 into the padded objects of
    the image."""

    class_ids: paddle.Tensor
    boxes: paddle.Tensor
    scores: paddle.Tensor
    object_index: paddle.Tensor


def pairwise_iou(a: paddle.Tensor, b: paddle.Tensor, epsilon: float = 1e-9) -> paddle.Tensor:
    """Boxes (B, n, 4) and (B, L, 4), xyxy -> IoU (B, n, L)."""
    a, b = a.unsqueeze(2), b.unsqueeze(1)
    sides = (paddle.minimum(a[..., 2:], b[..., 2:]) - paddle.maximum(a[..., :2], b[..., :2])).clip(0)
    overlap = sides[..., 0] * sides[..., 1]
    sides_a, sides_b = (a[..., 2:] - a[..., :2]).clip(0), (b[..., 2:] - b[..., :2]).clip(0)
    union = sides_a[..., 0] * sides_a[..., 1] + sides_b[..., 0] * sides_b[..., 1] - overlap + epsilon
    return overlap / union


class TaskAlignedAssigner:
    """Each object takes the `top_k` anchor points inside its box with the largest score^alpha * IoU^beta."""

    def __init__(self, top_k: int = 13, alpha: float = 1.0, beta: float = 6.0, epsilon: float = 1e-9) -> None:
        self.top_k = top_k
        self.alpha = alpha
        self.beta = beta
        self.epsilon = epsilon

    @paddle.no_grad()
    def __call__(
        self,
        scores: paddle.Tensor,
        boxes: paddle.Tensor,
        anchor_points: paddle.Tensor,
        object_class_ids: paddle.Tensor,
        object_boxes: paddle.Tensor,
        object_mask: paddle.Tensor,
    ) -> Assignment:
        """
        Args:
            scores: (B, L, num_classes) probabilities. boxes: (B, L, 4) xyxy, input pixels. anchor_points: (L, 2),
            input pixels.
            object_class_ids: (B, n, 1) int64. object_boxes: (B, n, 4) xyxy. object_mask: (B, n, 1), 1 for objects, 0
            for padding.
        """
        batch, points, num_classes = scores.shape
        objects = object_boxes.shape[1]
        if objects == 0:
            return Assignment(
                paddle.full([batch, points], num_classes, dtype="int64"),
                paddle.zeros([batch, points, 4]),
                paddle.zeros([batch, points, num_classes]),
                paddle.zeros([batch, points], dtype="int64"),
            )

        iou = pairwise_iou(object_boxes, boxes)  # (B, n, L)
        class_ids = object_class_ids.squeeze(-1)
        image_index = paddle.arange(batch, dtype=class_ids.dtype).unsqueeze(-1).expand([batch, objects])
        class_scores = paddle.gather_nd(scores.transpose([0, 2, 1]), paddle.stack([image_index, class_ids], axis=-1))
        alignment = class_scores.pow(self.alpha) * iou.pow(self.beta)

        corner, far = object_boxes.unsqueeze(2).split(2, axis=-1)
        to_edges = paddle.concat([anchor_points - corner, far - anchor_points], axis=-1)
        inside = (to_edges.min(axis=-1) > self.epsilon).astype(alignment.dtype)

        _, best = paddle.topk(alignment * inside, min(self.top_k, points), axis=-1)
        candidate = paddle.put_along_axis(paddle.zeros_like(alignment), best, 1.0, axis=-1)
        positive = candidate * inside * object_mask  # (B, n, L)

        # A point that several objects want goes to the one it overlaps most.
        claims = positive.sum(axis=1, keepdim=True)
        nearest = F.one_hot(iou.argmax(axis=1), objects).transpose([0, 2, 1]).astype(positive.dtype)
        positive = paddle.where((claims > 1).expand_as(positive), nearest, positive)
        assigned = positive.sum(axis=1) > 0
        object_index = positive.argmax(axis=1)

        assigned_class_ids = paddle.take_along_axis(class_ids, object_index, axis=1)
        assigned_class_ids = paddle.where(
            assigned, assigned_class_ids, paddle.full_like(assigned_class_ids, num_classes)
        )
        assigned_boxes = paddle.take_along_axis(
            object_boxes, object_index.unsqueeze(-1).expand([batch, points, 4]), axis=1
        )

        # Alignment rescaled so that an object's best point gets its best IoU (TOOD, equation 5).
        alignment = alignment * positive
        best_alignment = alignment.max(axis=-1, keepdim=True)
        best_iou = (iou * positive).max(axis=-1, keepdim=True)
        soft = (alignment / (best_alignment + self.epsilon) * best_iou).max(axis=1).unsqueeze(-1)
        one_hot = F.one_hot(assigned_class_ids, num_classes + 1)[..., :num_classes]
        return Assignment(assigned_class_ids, assigned_boxes, one_hot * soft, object_index)
