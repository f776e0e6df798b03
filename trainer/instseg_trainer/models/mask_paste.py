"""Small masks back into their image."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def paste_masks(
    probabilities: NDArray[np.float32], boxes: NDArray[np.float32], height: int, width: int, threshold: float
) -> NDArray[np.bool_]:
    """(N, M, M) inside boxes (N, 4), x1, y1, x2, y2 in pixels of the image, not empty -> (N, height, width): where the
    bilinear interpolation of the probabilities, 0 outside of the box, is `threshold` or more.

    The threshold is above 0. A pixel stands for its centre, a cell of the small mask too.
    """
    masks = np.zeros((len(boxes), height, width), bool)
    for mask, small, (x1, y1, x2, y2) in zip(masks, probabilities, boxes):
        left, columns = _interpolation(x1, x2, width, small.shape[1])
        top, rows = _interpolation(y1, y2, height, small.shape[0])
        window = rows @ small @ columns.T
        mask[top : top + window.shape[0], left : left + window.shape[1]] = window >= threshold
    return masks


def _interpolation(start: np.float32, end: np.float32, pixels: int, cells: int) -> tuple[int, NDArray[np.float32]]:
    """Of the pixels that an interval with `cells` cells reaches: the first one, and each one's weights of the cells
    (n, cells), at most two of them not 0.
    """
    # Half a cell beyond the ends the outermost cell has faded to 0.
    margin = 0.5 * float(end - start) / cells
    first = max(0, math.floor(float(start) - margin))
    last = min(pixels, math.ceil(float(end) + margin))
    centres = np.arange(first, max(first, last), dtype=np.float32) + np.float32(0.5)
    position = (centres - start) / (end - start) * np.float32(cells) - np.float32(0.5)
    distance = np.abs(position[:, None] - np.arange(cells, dtype=np.float32))
    return first, np.maximum(np.float32(1.0) - distance, np.float32(0.0))
