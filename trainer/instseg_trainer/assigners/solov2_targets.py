"""Which grid cells of SOLOv2 answer for which objects (Wang et al., "SOLO", ECCV 2020, section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

BACKGROUND = -1
MASK_FEATURE_STRIDE = 4

SCALE_RANGES = ((1, 96), (48, 192), (96, 384), (192, 768), (384, 2048))
"""Per level the square roots of the areas of the boxes it answers for, in input pixels, both ends included; they
overlap, so that an object may be learnt at two levels."""
CENTRE_FRACTION = 0.2
"""Side of the region around an object's centre whose cells answer for it, as a fraction of its box."""


@dataclass
class GridTargets:
    """Targets of one image; L cells over all grids, row by row, finest grid first.

    class_ids: (L,) int64, `BACKGROUND` where nothing is. cells: (P,) int64 into L, one per pair of an object and a
    cell that answers for it; a cell may be in several pairs, but has the class of the last object only. objects: (P,)
    int64 into `masks`. masks: (n, h / 4, w / 4) uint8 of 0 and 1.
    """

    class_ids: NDArray[np.int64]
    cells: NDArray[np.int64]
    objects: NDArray[np.int64]
    masks: NDArray[np.uint8]

    @property
    def num_positive_cells(self) -> int:
        return len(np.unique(self.cells))


class SOLOv2TargetAssigner:
    def __init__(
        self,
        grid_sizes: Sequence[int],
        scale_ranges: Sequence[tuple[float, float]] = SCALE_RANGES,
        centre_fraction: float = CENTRE_FRACTION,
    ) -> None:
        if len(grid_sizes) != len(scale_ranges):
            raise ValueError(f"{len(grid_sizes)} grids, but {len(scale_ranges)} ranges of scales")
        self.grid_sizes = tuple(grid_sizes)
        self.scale_ranges = tuple(scale_ranges)
        self.centre_fraction = centre_fraction

    def __call__(
        self, boxes: NDArray[np.float32], class_ids: NDArray[np.int64], masks: NDArray[np.uint8]
    ) -> GridTargets:
        """boxes (n, 4) xyxy in input pixels, class_ids (n,), masks (n, h, w) of the padded input's size."""
        sides = boxes[:, 2:] - boxes[:, :2]
        scales = np.sqrt(sides[:, 0] * sides[:, 1])
        halves = 0.5 * sides * self.centre_fraction
        seen = masks.any(axis=(1, 2))
        starts = np.cumsum([0, *(size * size for size in self.grid_sizes)])
        cell_classes = np.full(starts[-1], BACKGROUND, np.int64)
        cells: list[int] = []
        objects: list[int] = []
        for size, start, (low, high) in zip(self.grid_sizes, starts, self.scale_ranges):
            grid = cell_classes[start : start + size * size].reshape(size, size)
            for index in np.flatnonzero((scales >= low) & (scales <= high) & seen):
                rows, columns = _answering_cells(masks[index], halves[index], size)
                grid[rows.start : rows.stop, columns.start : columns.stop] = class_ids[index]
                answering = [int(start) + row * size + column for row in rows for column in columns]
                cells += answering
                objects += [int(index)] * len(answering)
        return GridTargets(cell_classes, np.array(cells, np.int64), np.array(objects, np.int64), _shrink(masks))


def _answering_cells(mask: NDArray[np.uint8], half: NDArray[np.float32], size: int) -> tuple[range, range]:
    """Rows and columns of a grid of `size` x `size`: those that the centre region touches, at most one beside the
    centre's own. half: (2,) half of the region's width and height.
    """
    ranges = []
    for axis, reach in ((0, float(half[1])), (1, float(half[0]))):
        length = mask.shape[axis]
        weights = mask.sum(axis=1 - axis, dtype=np.float64)
        centre = float(weights @ np.arange(length)) / float(weights.sum())
        own = _cell(centre, length, size)
        first = max(0, _cell(centre - reach, length, size), own - 1)
        last = min(size - 1, _cell(centre + reach, length, size), own + 1)
        ranges.append(range(first, last + 1))
    return ranges[0], ranges[1]


def _cell(position: float, length: int, size: int) -> int:
    """Which of `size` cells on `length` pixels. As written, not `position * size // length`: on a border between two
    cells the reference's rounding decides.
    """
    return int((position / length) // (1.0 / size))


def _shrink(masks: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(n, h, w) -> (n, h / 4, w / 4): bilinear, which here means the middle 2 x 2 pixels of each 4 x 4, rounded."""
    height, width = (side // MASK_FEATURE_STRIDE for side in masks.shape[1:])
    small = np.zeros((len(masks), height, width), np.uint8)
    for target, mask in zip(small, masks):
        cv2.resize(mask, (width, height), dst=target, interpolation=cv2.INTER_LINEAR)
    return small
