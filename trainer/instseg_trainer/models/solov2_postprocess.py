"""From SOLOv2's scores, kernels and mask features to detections: masks, their quality, matrix NMS, original size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle.nn import functional as F

from .detections import Detections

MASK_FEATURE_STRIDE = 4
"""Input pixels per cell of the mask features."""
# Full-size float maps of a large photo are hundreds of megabytes each.
_MASKS_AT_ONCE = 16
_CANDIDATES_AT_ONCE = 128


@dataclass(frozen=True)
class SOLOv2Decode:
    """Thresholds of the prediction; the same values go into a bundle's `decode` section.

    score_threshold: class scores not above it are no candidates. mask_threshold: of a mask's probabilities.
    grid_sizes: cells per side of each level; minimum_areas: a candidate's mask has more cells (of 4 x 4 input pixels)
    above the threshold than its level's number here. nms_top_k: candidates that enter matrix NMS; update_threshold:
    the least score after it; keep_top_k: detections kept. nms_sigma: of the Gaussian decay.
    """

    score_threshold: float = 0.1
    mask_threshold: float = 0.5
    grid_sizes: tuple[int, ...] = (40, 36, 24, 16, 12)
    minimum_areas: tuple[int, ...] = (8, 8, 16, 32, 32)
    nms_top_k: int = 500
    nms_sigma: float = 2.0
    update_threshold: float = 0.05
    keep_top_k: int = 100


def matrix_nms(masks: paddle.Tensor, class_ids: paddle.Tensor, scores: paddle.Tensor, sigma: float) -> paddle.Tensor:
    """Scores (N,) lowered by overlap with better masks of the same class (SOLOv2, equation 5, Gaussian decay).

    masks (N, P) float32 of 0 and 1; class_ids (N,); scores (N,). All three in falling order of score.
    """
    areas = masks.sum(axis=1)
    overlap = masks @ masks.t()
    iou = overlap / (areas.unsqueeze(0) + areas.unsqueeze(1) - overlap).clip(min=1.0)
    same_class = class_ids.unsqueeze(0) == class_ids.unsqueeze(1)
    iou = paddle.triu(iou * same_class.astype(iou.dtype), 1)  # [i, j]: i is the better one
    # A mask that is itself suppressed by a better one suppresses less.
    own_overlap = iou.max(axis=0).unsqueeze(1)
    decay = paddle.exp(-sigma * (iou.square() - own_overlap.square())).min(axis=0)
    return scores * decay


def decode_image(
    scores: paddle.Tensor,
    kernels: paddle.Tensor,
    features: paddle.Tensor,
    input_size: tuple[int, int],
    original: tuple[int, int],
    decode: SOLOv2Decode,
) -> Detections:
    """One image: scores (L, num_classes) after points NMS, kernels (L, D), mask features (D, H / 4, W / 4).

    input_size: (height, width) of the image inside the padded input. Falling score; boxes are the tight bounds of the
    masks. A mask that has no pixel left at the original size is no detection.
    """
    candidates = paddle.nonzero(scores > decode.score_threshold)
    if candidates.shape[0] == 0:
        return Detections.empty(*original)
    cells, class_ids = candidates[:, 0], candidates[:, 1]
    class_scores = paddle.gather_nd(scores, candidates)
    kernels = paddle.gather(kernels, cells)
    flat = features.flatten(1)

    areas, quality = _areas_and_quality(kernels, flat, decode.mask_threshold)
    ranked = paddle.where(areas > _minimum_areas(cells, decode), class_scores * quality, paddle.zeros_like(quality))
    order = paddle.argsort(ranked, descending=True)[: decode.nms_top_k]
    order = order[: int((ranked > 0).sum())]
    if order.shape[0] == 0:
        return Detections.empty(*original)
    class_ids, kernels, ranked = (paddle.gather(values, order) for values in (class_ids, kernels, ranked))

    binary = (F.sigmoid(kernels @ flat) > decode.mask_threshold).astype("float32")
    ranked = matrix_nms(binary, class_ids, ranked, decode.nms_sigma)
    order = paddle.argsort(ranked, descending=True)[: decode.keep_top_k]
    order = order[: int((ranked >= decode.update_threshold).sum())]
    if order.shape[0] == 0:
        return Detections.empty(*original)
    masks = _original_masks(paddle.gather(kernels, order), features, input_size, original, decode.mask_threshold)
    seen = np.asarray(masks.any(axis=(1, 2)))
    masks = masks if seen.all() else masks[seen]
    chosen_ids, chosen_scores = (paddle.gather(values, order).numpy()[seen] for values in (class_ids, ranked))
    return Detections(chosen_ids.astype(np.int64), chosen_scores, tight_boxes(masks), masks)


def _areas_and_quality(
    kernels: paddle.Tensor, features: paddle.Tensor, threshold: float
) -> tuple[paddle.Tensor, paddle.Tensor]:
    """Per candidate the number of cells above the threshold, and their mean probability (SOLOv2, section 3.4:
    "maskness"); 0 where there are none.
    """
    areas, quality = [], []
    for start in range(0, kernels.shape[0], _CANDIDATES_AT_ONCE):
        probabilities = F.sigmoid(kernels[start : start + _CANDIDATES_AT_ONCE] @ features)
        inside = (probabilities > threshold).astype("float32")
        area = inside.sum(axis=1)
        areas.append(area)
        quality.append((probabilities * inside).sum(axis=1) / area.clip(min=1.0))
    return paddle.concat(areas), paddle.concat(quality)


def _minimum_areas(cells: paddle.Tensor, decode: SOLOv2Decode) -> paddle.Tensor:
    per_cell = np.repeat(np.asarray(decode.minimum_areas, np.float32), np.square(decode.grid_sizes))
    return paddle.gather(paddle.to_tensor(per_cell), cells)


def _original_masks(
    kernels: paddle.Tensor,
    features: paddle.Tensor,
    input_size: tuple[int, int],
    original: tuple[int, int],
    threshold: float,
) -> NDArray[np.bool_]:
    """kernels (N, D) -> (N, H, W): bilinear to the padded input, cut to the image in it, bilinear to its own size."""
    height, width = (int(side) for side in features.shape[1:])
    padded = [height * MASK_FEATURE_STRIDE, width * MASK_FEATURE_STRIDE]
    flat = features.flatten(1)
    count = int(kernels.shape[0])
    masks = np.zeros((count, *original), bool)
    for start in range(0, count, _MASKS_AT_ONCE):
        part = slice(start, min(start + _MASKS_AT_ONCE, count))
        maps = F.sigmoid(kernels[part] @ flat).reshape([1, -1, height, width])
        maps = F.interpolate(maps, padded, mode="bilinear", align_corners=False)
        maps = maps[:, :, : input_size[0], : input_size[1]]
        maps = F.interpolate(maps, list(original), mode="bilinear", align_corners=False)[0]
        masks[part] = (maps > threshold).numpy()
    return masks


def tight_boxes(masks: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(N, H, W), none empty -> (N, 4) float32 x1, y1, x2, y2: the first pixel of each mask and one past its last."""
    height, width = masks.shape[1:]
    columns, rows = np.asarray(masks.any(axis=1)), np.asarray(masks.any(axis=2))
    boxes = np.stack(
        [
            columns.argmax(axis=1),
            rows.argmax(axis=1),
            width - columns[:, ::-1].argmax(axis=1),
            height - rows[:, ::-1].argmax(axis=1),
        ],
        axis=1,
    )
    return boxes.astype(np.float32)
