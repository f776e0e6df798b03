"""Target masks: an object's shape, drawn inside the box that has to segment it (He et al., "Mask R-CNN", ICCV 2017,
section 3).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle.vision import ops
from pycocotools import mask as coco_mask

from ..data.segmentation import Segmentation

# A box thinner than this (input pixels) is stretched as if it were this thick.
_SMALLEST_SIDE = 0.1


def draw_mask_targets(
    segments: Sequence[Segmentation], object_index: NDArray[np.int64], rois: NDArray[np.float32], resolution: int
) -> NDArray[np.uint8]:
    """(R, resolution, resolution) of 0 and 1: for each box (R, 4) the shape of its object, `segments[object_index]`.

    Polygons are stretched so that the box becomes the square, then drawn; of a bitmap a cell is set when half of the
    cell's area is.
    """
    targets = np.zeros((len(rois), resolution, resolution), np.uint8)
    for object_row in np.unique(object_index):
        segment = segments[object_row]
        rows = np.flatnonzero(object_index == object_row)
        if segment.bitmap is not None:
            targets[rows] = _cut_bitmap(segment.bitmap, rois[rows], resolution)
            continue
        for row in rows:
            targets[row] = _draw_polygons(segment, rois[row], resolution)
    return targets


def _draw_polygons(segment: Segmentation, roi: NDArray[np.float32], resolution: int) -> NDArray[np.uint8]:
    """(resolution, resolution). As pycocotools draws, which knows points left of the square and above it."""
    assert segment.polygons is not None
    # In float64: under a box as high as the image, whole coordinates are ties of the drawing grid, which float32 would
    # break the other way than the reference.
    factors = resolution / np.maximum(roi[2:] - roi[:2], _SMALLEST_SIDE, dtype=np.float64)
    parts = [((part - roi[:2]) * factors).ravel() for part in segment.polygons]
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(parts, resolution, resolution)))


def _cut_bitmap(bitmap: NDArray[np.uint8], rois: NDArray[np.float32], resolution: int) -> NDArray[np.bool_]:
    """(R, resolution, resolution): whether at least half of each cell is set.

    On the CPU whatever the device: the bitmap is there, and the result goes where the polygons' go.
    """
    # RoIAlign repeats the outermost pixels beyond the border: it must find zeros there.
    framed = np.pad(bitmap, 1)[None, None].astype(np.float32)
    pixels = paddle.to_tensor(framed, place=paddle.CPUPlace())
    boxes = paddle.to_tensor(rois + np.float32(1), place=paddle.CPUPlace())
    count = paddle.to_tensor([len(rois)], dtype="int32", place=paddle.CPUPlace())
    return ops.roi_align(pixels, boxes, count, resolution, aligned=True).numpy()[:, 0] >= 0.5
