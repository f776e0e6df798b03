"""What a batch's images show: the objects that the losses learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import paddle

from .data.segmentation import Segmentation


@dataclass
class Targets:
    """The objects of a batch of B images, padded with zeros to n per image; n may be 0.

    boxes: (B, n, 4) float32, x1, y1, x2, y2 in input pixels, half-open. class_ids: (B, n, 1) int64.
    masks: (B, n, h, w) uint8 of 0 and 1, every `mask_stride`-th row and column of the input, as the model's
    `mask_stride` asks. pad_mask: (B, n, 1) float32, 1 for real objects.
    image_sizes: (B, 2) float32, height and width of each image inside the padded input; None: no padding.
    segments: per image one shape per real object, in input pixels, for models whose mask targets are drawn from
    the polygons themselves (`needs_segments`).
    """

    boxes: paddle.Tensor
    class_ids: paddle.Tensor
    masks: paddle.Tensor
    pad_mask: paddle.Tensor
    image_sizes: paddle.Tensor | None = None
    segments: Sequence[Sequence[Segmentation]] | None = None
