"""Mask losses at sampled points instead of all pixels (Kirillov et al., "PointRend", CVPR 2020, section 3.1; in query
models since Cheng et al., "Mask2Former", CVPR 2022, section 3.3).

Points are (x, y) in 0..1 of the image; a map's cell i has its centre at (i + 0.5) / length. Outside, maps are 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import paddle
from paddle.nn import functional as F

Uniform = Callable[[Sequence[int]], paddle.Tensor]
"""Random numbers in 0 <= u < 1 of a shape: the one source of chance, so that a test can replace it."""


@dataclass(frozen=True)
class PointSampling:
    """points: per mask; of them `important_ratio` where the mask is least certain of `oversample_ratio` times as many
    candidates, the rest anywhere.
    """

    points: int = 12544
    oversample_ratio: float = 3.0
    important_ratio: float = 0.75


def sample_maps(maps: paddle.Tensor, points: paddle.Tensor) -> paddle.Tensor:
    """Bilinear values of maps (M, C, h, w) at points (M, P, 2) -> (M, C, P), differentiable in the maps."""
    grid = (2.0 * points - 1.0).unsqueeze(1)
    return F.grid_sample(maps, grid, mode="bilinear", padding_mode="zeros", align_corners=False).squeeze(2)


@paddle.no_grad()
def sample_target_masks(masks: paddle.Tensor, rows: paddle.Tensor, points: paddle.Tensor) -> paddle.Tensor:
    """`sample_maps(masks[rows], points)` without the copy: masks (N, H, W), rows (M,), points (M, P, 2) -> (M, P).

    Every denoising group learns from the same few full-size masks: copies of them would be most of a step's memory.
    """
    height, width = int(masks.shape[1]), int(masks.shape[2])
    flat = masks.flatten()
    position = points * paddle.to_tensor([float(width), float(height)]) - 0.5
    low = position.floor()
    share = position - low
    first = (rows * (height * width)).unsqueeze(1)
    total = paddle.zeros(points.shape[:2], dtype=masks.dtype)
    for dy in (0, 1):
        for dx in (0, 1):
            x, y = low[..., 0] + dx, low[..., 1] + dy
            weight = (share[..., 0] if dx else 1 - share[..., 0]) * (share[..., 1] if dy else 1 - share[..., 1])
            inside = ((x >= 0) & (x < width) & (y >= 0) & (y < height)).astype(masks.dtype)
            index = y.clip(0, height - 1).astype("int64") * width + x.clip(0, width - 1).astype("int64")
            values = paddle.gather(flat, (first + index).flatten()).reshape(index.shape)
            total = total + values * weight * inside
    return total


@paddle.no_grad()
def uncertain_points(logits: paddle.Tensor, settings: PointSampling, uniform: Uniform) -> paddle.Tensor:
    """Points for maps of logits (M, h, w), most of them where the logit is near zero -> (M, points, 2)."""
    count = int(logits.shape[0])
    candidates = uniform([count, int(settings.points * settings.oversample_ratio), 2])
    certainty = sample_maps(logits.unsqueeze(1), candidates).squeeze(1).abs()
    important = int(settings.points * settings.important_ratio)
    _, chosen = paddle.topk(certainty, important, axis=1, largest=False)
    image = paddle.arange(count, dtype=chosen.dtype).unsqueeze(1).expand_as(chosen)
    points = paddle.gather_nd(candidates, paddle.stack([image, chosen], axis=-1))
    if important == settings.points:
        return points
    return paddle.concat([points, uniform([count, settings.points - important, 2])], axis=1)


def dice_loss(logits: paddle.Tensor, targets: paddle.Tensor) -> paddle.Tensor:
    """1 - Dice coefficient of each row, with one added above and below (Milletari et al., "V-Net", 2016, equation of
    section 3): (M, P) twice -> (M,).
    """
    scores = F.sigmoid(logits)
    return 1 - (2 * (scores * targets).sum(1) + 1) / (scores.sum(1) + targets.sum(1) + 1)
