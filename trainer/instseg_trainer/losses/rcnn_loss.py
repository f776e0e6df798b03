"""Losses of the two-stage models: Ren et al., "Faster R-CNN" (NeurIPS 2015), equation 1, with absolute differences for
boxes, and He et al., "Mask R-CNN" (ICCV 2017), section 3, for masks.
"""

from __future__ import annotations

import paddle
from paddle.nn import functional as F

from ..assigners.anchor_assigner import AnchorTargets
from ..assigners.box_assigner import RoITargets
from ..boxes import DeltaWeights, encode_boxes


def rpn_loss(
    scores: paddle.Tensor, deltas: paddle.Tensor, targets: AnchorTargets, count: int
) -> dict[str, paddle.Tensor]:
    """scores (B * L,) logits, deltas (B * L, 4) -> `loss_rpn_cls`, `loss_rpn_reg`: sums over the sampled anchors,
    divided by `count`, the number of anchors that are to be sampled, however many were found.
    """
    chosen = paddle.concat([targets.positive, targets.negative])
    labels = paddle.concat([paddle.ones([len(targets.positive)]), paddle.zeros([len(targets.negative)])])
    classification = F.binary_cross_entropy_with_logits(paddle.gather(scores, chosen), labels, reduction="sum")
    if len(targets.positive):
        regression = (paddle.gather(deltas, targets.positive) - targets.deltas).abs().sum()
    else:
        regression = deltas.sum() * 0.0
    return {"loss_rpn_cls": classification / count, "loss_rpn_reg": regression / count}


def box_loss(
    scores: paddle.Tensor, deltas: paddle.Tensor, targets: RoITargets, num_classes: int, weights: DeltaWeights
) -> dict[str, paddle.Tensor]:
    """scores (R, num_classes + 1) logits, the background last; deltas (R, 4) or (R, 4 * num_classes), R boxes of all
    images -> `loss_bbox_cls`: mean cross entropy; `loss_bbox_reg`: absolute differences of the foreground boxes'
    deltas over the number of all boxes, so that an image of few objects counts for little.
    """
    class_ids = paddle.concat(targets.class_ids)
    classification = F.cross_entropy(scores, class_ids, reduction="mean")
    foreground = paddle.nonzero(class_ids < num_classes).flatten()
    if len(foreground) == 0:
        return {"loss_bbox_cls": classification, "loss_bbox_reg": deltas.sum() * 0.0}
    rois = paddle.gather(paddle.concat(targets.rois), foreground)
    object_boxes = paddle.gather(paddle.concat(targets.object_boxes), foreground)
    if deltas.shape[1] == 4:
        predicted = paddle.gather(deltas, foreground)
    else:
        index = paddle.stack([foreground, paddle.gather(class_ids, foreground)], axis=1)
        predicted = paddle.gather_nd(deltas.reshape([-1, num_classes, 4]), index)
    difference = (predicted - encode_boxes(rois, object_boxes, weights)).abs()
    return {"loss_bbox_cls": classification, "loss_bbox_reg": difference.sum() / len(class_ids)}


def mask_loss(logits: paddle.Tensor, class_ids: paddle.Tensor, masks: paddle.Tensor) -> paddle.Tensor:
    """Mean binary cross entropy of each box's own class: logits (F, num_classes, M, M), class_ids (F,) int64, masks
    (F, M, M) of 0 and 1.
    """
    rows = paddle.arange(len(class_ids), dtype=class_ids.dtype)
    chosen = paddle.gather_nd(logits, paddle.stack([rows, class_ids], axis=1))
    return F.binary_cross_entropy_with_logits(chosen, masks.astype(logits.dtype), reduction="mean")
