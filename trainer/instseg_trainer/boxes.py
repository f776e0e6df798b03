"""Boxes as corrections of other boxes (Girshick et al., "Rich Feature Hierarchies", CVPR 2014, appendix C), and box
arithmetic. Boxes are x1, y1, x2, y2 in input pixels, half-open: a side is x2 - x1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import paddle

DeltaWeights = tuple[float, float, float, float]
"""Factors on dx, dy, dw, dh: what a head has to predict is about as large as its other outputs."""

_LARGEST_LOG_SCALE = math.log(1000.0 / 16.0)
"""No correction enlarges a side more than this: exp() of an untrained head's output would overflow."""


def _centres_and_sides(boxes: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor]:
    """(N, 4) -> centres (N, 2) and sides (N, 2), both x, y."""
    sides = boxes[:, 2:] - boxes[:, :2]
    return boxes[:, :2] + 0.5 * sides, sides


def encode_boxes(boxes: paddle.Tensor, targets: paddle.Tensor, weights: DeltaWeights) -> paddle.Tensor:
    """The deltas (N, 4) that turn each of `boxes` (N, 4) into its target (N, 4); sides must not be zero."""
    centres, sides = _centres_and_sides(boxes)
    target_centres, target_sides = _centres_and_sides(targets)
    shift = (target_centres - centres) / sides
    scale = paddle.log(target_sides / sides)
    return paddle.concat([shift, scale], axis=1) * paddle.to_tensor(weights, dtype=boxes.dtype)


def decode_boxes(deltas: paddle.Tensor, boxes: paddle.Tensor, weights: DeltaWeights) -> paddle.Tensor:
    """deltas (N, 4 * K), K corrections of each of `boxes` (N, 4) -> (N, K, 4), not clipped."""
    centres, sides = _centres_and_sides(boxes)
    corrections = deltas.reshape([deltas.shape[0], deltas.shape[1] // 4, 4])
    corrections = corrections / paddle.to_tensor(weights, dtype=deltas.dtype)
    scale = paddle.clip(corrections[..., 2:], max=_LARGEST_LOG_SCALE)
    new_centres = corrections[..., :2] * sides.unsqueeze(1) + centres.unsqueeze(1)
    half_sides = 0.5 * (paddle.exp(scale) * sides.unsqueeze(1))
    return paddle.concat([new_centres - half_sides, new_centres + half_sides], axis=-1)


def clip_boxes(boxes: paddle.Tensor, size: Sequence[float]) -> paddle.Tensor:
    """boxes (..., 4) cut to an image of `size`, its height and width; what lies outside becomes an empty box."""
    height, width = float(size[0]), float(size[1])
    limits = paddle.to_tensor([width, height, width, height], dtype=boxes.dtype)
    return paddle.minimum(boxes.clip(min=0.0), limits)


def has_area(boxes: paddle.Tensor) -> paddle.Tensor:
    """boxes (N, 4) -> (N,) bool: both sides are longer than nothing."""
    return (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
