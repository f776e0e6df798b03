"""How much of what one predictor finds another one finds too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instseg_rt.result import Result

_LEAST_BOX_IOU = 0.5


@dataclass(frozen=True)
class Agreement:
    """expected, found: detections on either side. matched: of the expected ones, those that have a detection of their
    class of their own with a box IoU of 0.5 or more. Over the matched ones: IoU of the masks, the largest difference
    of a box's coordinates in pixels of the image, and that of the scores.
    """

    expected: int
    found: int
    matched: int
    mask_iou_mean: float
    mask_iou_p05: float
    box_pixels_median: float
    box_pixels_p95: float
    score_difference_max: float

    @property
    def share(self) -> float:
        """matched / expected; 1 where nothing was expected."""
        return self.matched / self.expected if self.expected else 1.0


def agreement(expected: Iterable[Result], found: Iterable[Result], threshold: float = 0.0) -> Agreement:
    """Over all images; of detections with score > threshold on the expected side.

    On the other side no threshold is applied: a detection that is a little below it is still found.
    """
    total_expected = total_found = matched = 0
    rows: list[tuple[float, float, float]] = []
    for one, other in zip(expected, found, strict=True):
        wanted = np.flatnonzero(one.scores > threshold)
        pairs = list(_pairs(one, other, wanted))
        total_expected += len(wanted)
        total_found += int((other.scores > threshold).sum())
        matched += len(pairs)
        for i, j in pairs:
            iou = _mask_iou(one.masks[i], other.masks[j])
            rows.append((iou, np.abs(one.boxes[i] - other.boxes[j]).max(), abs(one.scores[i] - other.scores[j])))
    values = np.asarray(rows or [(1.0, 0.0, 0.0)], np.float64)
    return Agreement(
        expected=total_expected,
        found=total_found,
        matched=matched,
        mask_iou_mean=float(values[:, 0].mean()),
        mask_iou_p05=float(np.quantile(values[:, 0], 0.05)),
        box_pixels_median=float(np.median(values[:, 1])),
        box_pixels_p95=float(np.quantile(values[:, 1], 0.95)),
        score_difference_max=float(values[:, 2].max()),
    )


def summary(found: Agreement) -> dict[str, Any]:
    """As the manifest has it."""
    values = {name: value if isinstance(value, int) else short(value) for name, value in asdict(found).items()}
    return {**values, "matched_share": short(found.share)}


def short(value: float) -> float:
    """Four digits."""
    return float(f"{value:.4g}")


def _pairs(expected: Result, found: Result, wanted: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Index pairs, the best scores first; each takes the detection that overlaps most, scores being near."""
    if not len(wanted) or not len(found):
        return
    overlap = box_iou(expected.boxes, found.boxes)
    possible = (overlap >= _LEAST_BOX_IOU) & (expected.class_ids[:, None] == found.class_ids[None])
    likeness = np.where(possible, overlap - np.abs(expected.scores[:, None] - found.scores[None]), -np.inf)
    for index in wanted[np.argsort(-expected.scores[wanted], kind="stable")]:
        best = int(likeness[index].argmax())
        if np.isfinite(likeness[index, best]):
            likeness[:, best] = -np.inf
            yield int(index), best


def box_iou(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, 4) and (M, 4) boxes x1, y1, x2, y2 -> (N, M)."""
    sides = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    both = np.clip(sides, 0, None).prod(axis=2)
    areas = [np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1) for boxes in (a, b)]
    return both / np.maximum(areas[0][:, None] + areas[1][None] - both, 1e-9)


def _mask_iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Two empty masks are equal."""
    union = np.logical_or(a, b).sum()
    return float(np.logical_and(a, b).sum() / union) if union else 1.0
