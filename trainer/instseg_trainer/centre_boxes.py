"""Boxes as transformers of the DETR family have them: (cx, cy, w, h) in fractions of the image, 0..1."""

from __future__ import annotations

import paddle


def centre_to_corners(boxes: paddle.Tensor) -> paddle.Tensor:
    """(..., 4) cx, cy, w, h -> (..., 4) x1, y1, x2, y2 in the same unit."""
    centre, size = paddle.split(boxes, 2, axis=-1)
    half = 0.5 * size
    return paddle.concat([centre - half, centre + half], axis=-1)


def corners_to_centre(boxes: paddle.Tensor) -> paddle.Tensor:
    """(..., 4) x1, y1, x2, y2 -> (..., 4) cx, cy, w, h in the same unit."""
    low, high = paddle.split(boxes, 2, axis=-1)
    return paddle.concat([(low + high) / 2, high - low], axis=-1)


def inverse_sigmoid(fractions: paddle.Tensor, epsilon: float = 1e-5) -> paddle.Tensor:
    """log(x / (1 - x)) of values clipped to 0..1; `epsilon` bounds both sides of the quotient from below."""
    fractions = fractions.clip(0.0, 1.0)
    return paddle.log(fractions.clip(min=epsilon) / (1 - fractions).clip(min=epsilon))


def mask_extents(logits: paddle.Tensor) -> paddle.Tensor:
    """The box around the positive cells of each map: (..., h, w) -> (..., 4) cx, cy, w, h as fractions of the map.

    Cells are half-open: a single one gives a box of its own size. A map without any gives zeros.
    """
    height, width = int(logits.shape[-2]), int(logits.shape[-1])
    # A row holds a positive cell if its maximum is positive: two reductions instead of comparing whole maps.
    x1, x2 = _extent(logits.max(axis=-2), width)
    y1, y2 = _extent(logits.max(axis=-1), height)
    return corners_to_centre(paddle.stack([x1, y1, x2, y2], axis=-1))


def _extent(maxima: paddle.Tensor, length: int) -> tuple[paddle.Tensor, paddle.Tensor]:
    """First and one past the last positive of (..., length), over `length`; zeros where there is none."""
    positive = (maxima > 0).astype(maxima.dtype)
    positions = paddle.arange(length, dtype=maxima.dtype)
    end = ((positions + 1) * positive).max(axis=-1)
    # Positions from the other end: zero where nothing is positive, which makes the start `length`.
    start = length - ((length - positions) * positive).max(axis=-1)
    return paddle.minimum(start, end) / length, end / length
