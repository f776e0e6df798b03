"""Loss formulas, each with its source. Every function is differentiable in its predictions."""

from __future__ import annotations

import paddle
from paddle.nn import functional as F


def varifocal_loss(
    scores: paddle.Tensor,
    targets: paddle.Tensor,
    labels: paddle.Tensor,
    alpha: float = 0.75,
    gamma: float = 2.0,
) -> paddle.Tensor:
    """Sum over all elements (Zhang et al., "VarifocalNet", CVPR 2021, equation 2, with the weight taking part in the
    gradient).

    scores: probabilities; targets: soft targets (0 for negatives); labels: one-hot 0 or 1. One shape.
    """
    weight = alpha * scores.pow(gamma) * (1 - labels) + targets * labels
    return F.binary_cross_entropy(scores, targets, weight=weight, reduction="sum")


def giou_loss(boxes: paddle.Tensor, targets: paddle.Tensor, epsilon: float = 1e-10) -> paddle.Tensor:
    """1 - GIoU of each pair, (N, 4) xyxy twice -> (N, 1) (Rezatofighi et al., CVPR 2019, algorithm 1)."""
    x1, y1, x2, y2 = boxes.split(4, axis=-1)
    tx1, ty1, tx2, ty2 = targets.split(4, axis=-1)
    overlap = (paddle.minimum(x2, tx2) - paddle.maximum(x1, tx1)).clip(0) * (
        paddle.minimum(y2, ty2) - paddle.maximum(y1, ty1)
    ).clip(0)
    union = (x2 - x1) * (y2 - y1) + (tx2 - tx1) * (ty2 - ty1) - overlap + epsilon
    hull = (paddle.maximum(x2, tx2) - paddle.minimum(x1, tx1)) * (
        paddle.maximum(y2, ty2) - paddle.minimum(y1, ty1)
    ) + epsilon
    return 1 - (overlap / union - (hull - union) / hull)


def distribution_focal_loss(logits: paddle.Tensor, targets: paddle.Tensor) -> paddle.Tensor:
    """Cross entropy towards the two integers around each target (Li et al., "Generalized Focal Loss", 2020, equation
    6).

    logits (N, 4, bins), targets (N, 4) in 0 <= t < bins - 1 -> mean over the four sides (N, 1).
    """
    left = targets.floor()
    weight_right = targets - left
    left_index = left.astype("int64").unsqueeze(-1)
    log_probabilities = F.log_softmax(logits, axis=-1)
    loss_left = -paddle.take_along_axis(log_probabilities, left_index, axis=-1).squeeze(-1)
    loss_right = -paddle.take_along_axis(log_probabilities, left_index + 1, axis=-1).squeeze(-1)
    return (loss_left * (1 - weight_right) + loss_right * weight_right).mean(-1, keepdim=True)


def prototype_mask_loss(
    prototypes: paddle.Tensor, coefficients: paddle.Tensor, masks: paddle.Tensor, boxes: paddle.Tensor
) -> paddle.Tensor:
    """Binary cross entropy inside each object's box over the box's share of the image, summed over objects (YOLACT,
    section 3.4).

    prototypes (C, h, w); coefficients (N, C); masks (N, h, w) 0 or 1; boxes (N, 4) xyxy as fractions of the image.
    """
    channels, height, width = prototypes.shape
    logits = (coefficients @ prototypes.reshape([channels, -1])).reshape([-1, height, width])
    loss = F.binary_cross_entropy_with_logits(logits, masks, reduction="none")
    x1, y1, x2, y2 = boxes.split(4, axis=-1)
    x = paddle.arange(width, dtype="float32").unsqueeze(0)
    y = paddle.arange(height, dtype="float32").unsqueeze(0)
    inside_x = ((x >= x1 * width) & (x < x2 * width)).astype(loss.dtype).unsqueeze(2)  # (N, w, 1)
    inside_y = ((y >= y1 * height) & (y < y2 * height)).astype(loss.dtype).unsqueeze(1)  # (N, 1, h)
    # The box cuts rows and columns, so the sum inside it is two small matrix products, not another (N, h, w) map.
    mean = (inside_y @ loss @ inside_x).flatten() / (height * width)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return (mean / area).sum()
