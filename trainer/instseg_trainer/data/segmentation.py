"""The shape of one instance, as polygons or as a bitmap, and the geometry that augmentation needs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

Polygon = NDArray[np.float64]

# pycocotools traces a polygon on a grid this many times finer than the pixels.
_RASTER_SUBDIVISIONS = 5.0
# A part that a crop leaves smaller than this (square pixels) is dropped.
_MINIMUM_CUT_AREA = 5.0


@dataclass(frozen=True)
class Segmentation:
    """One instance's shape in the coordinates of its image.

    Exactly one of the two is set: `polygons`: closed parts, each (k, 2) float64 x, y in pixels (pixel centres
    at +0.5), k >= 3, united when drawn; `bitmap`: (h, w) uint8 of 0 and 1, of the image's size.
    """

    polygons: tuple[Polygon, ...] | None = None
    bitmap: NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        if (self.polygons is None) == (self.bitmap is None):
            raise ValueError("a Segmentation has either polygons or a bitmap")

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left of the shape."""
        return not self.polygons if self.bitmap is None else not self.bitmap.any()

    def to_mask(self, height: int, width: int, stride: int = 1) -> NDArray[np.uint8]:
        """Draw the shape as pycocotools does: (height / stride, width / stride) uint8 of 0 and 1.

        With a stride the result is every stride-th row and column of the full mask, which is what nearest
        interpolation to the smaller size takes. `height` and `width` are the image's size, multiples of
        `stride`.
        """
        if height % stride or width % stride:
            raise ValueError(f"image size {height}x{width} is not a multiple of the mask stride {stride}")
        if self.bitmap is not None:
            if self.bitmap.shape != (height, width):
                raise ValueError(f"bitmap of {self.bitmap.shape}, asked for {(height, width)}")
            return np.ascontiguousarray(self.bitmap[::stride, ::stride])
        mask = np.zeros((height // stride, width // stride), dtype=np.uint8)
        if not self.polygons:
            return mask
        points = np.concatenate(self.polygons)
        # Only the shape's surroundings are drawn; the window starts on the stride's grid.
        left, top = (max(0, math.floor(low) - 1) // stride * stride for low in points.min(axis=0))
        right = min(width, math.ceil(points[:, 0].max()) + 1)
        bottom = min(height, math.ceil(points[:, 1].max()) + 1)
        if left >= right or top >= bottom:
            return mask
        # Snapping to the fine grid before shifting makes the window's pixels equal to the full drawing's.
        shift = _RASTER_SUBDIVISIONS * np.array([left, top], dtype=np.float64)
        parts = [
            ((np.trunc(_RASTER_SUBDIVISIONS * part + 0.5) - shift) / _RASTER_SUBDIVISIONS).ravel()
            for part in self.polygons
        ]
        runs = coco_mask.merge(coco_mask.frPyObjects(parts, bottom - top, right - left))
        window = coco_mask.decode(runs)[::stride, ::stride]
        row, column = top // stride, left // stride
        mask[row : row + window.shape[0], column : column + window.shape[1]] = window
        return mask

    def flip(self, width: int) -> Segmentation:
        """Mirror left to right in an image of `width` pixels."""
        if self.bitmap is not None:
            return Segmentation(bitmap=np.ascontiguousarray(self.bitmap[:, ::-1]))
        assert self.polygons is not None
        return Segmentation(polygons=tuple(part * (-1.0, 1.0) + np.array((width, 0.0)) for part in self.polygons))

    def crop(self, left: int, top: int, right: int, bottom: int) -> Segmentation:
        """What lies in the window [left, right) x [top, bottom), in its coordinates; may be empty."""
        if self.bitmap is not None:
            return Segmentation(bitmap=np.ascontiguousarray(self.bitmap[top:bottom, left:right]))
        assert self.polygons is not None
        parts = []
        for part in self.polygons:
            clipped = clip_polygon(part, left, top, right, bottom)
            if clipped is part or (len(clipped) >= 3 and polygon_area(clipped) >= _MINIMUM_CUT_AREA):
                parts.append(clipped - (left, top))
        return Segmentation(polygons=tuple(parts))

    def place(self, left: int, top: int, height: int, width: int) -> Segmentation:
        """Move onto a canvas of `height` x `width`, the old image's corner at (left, top)."""
        if self.bitmap is not None:
            canvas = np.zeros((height, width), dtype=np.uint8)
            rows, columns = self.bitmap.shape
            canvas[top : top + rows, left : left + columns] = self.bitmap
            return Segmentation(bitmap=canvas)
        assert self.polygons is not None
        return Segmentation(polygons=tuple(part + np.array((left, top)) for part in self.polygons))

    def scale(self, factor_y: float, factor_x: float, height: int, width: int) -> Segmentation:
        """Stretch with the image, whose new size is `height` x `width`."""
        if self.bitmap is not None:
            # Interpolating before the threshold keeps an enlarged outline smooth.
            stretched = cv2.resize(self.bitmap * np.uint8(255), (width, height), interpolation=cv2.INTER_LINEAR)
            return Segmentation(bitmap=(stretched > 127).astype(np.uint8))
        assert self.polygons is not None
        return Segmentation(polygons=tuple(part * (factor_x, factor_y) for part in self.polygons))


def polygon_area(points: Polygon) -> float:
    """Area in square pixels enclosed by (k, 2) points, whatever their direction."""
    x, y = points[:, 0], points[:, 1]
    return 0.5 * abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))))


def clip_polygon(points: Polygon, left: float, top: float, right: float, bottom: float) -> Polygon:
    """Cut a polygon (k, 2) to a rectangle, side by side (Sutherland-Hodgman); returns `points` itself if it
    is inside.

    A concave polygon that falls apart stays one polygon whose pieces are joined along the rectangle's border,
    which draws the same pixels. May return fewer than 3 points: nothing is left.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    if low[0] >= left and low[1] >= top and high[0] <= right and high[1] <= bottom:
        return points
    for axis, bound, sign in ((0, left, 1.0), (0, right, -1.0), (1, top, 1.0), (1, bottom, -1.0)):
        if not len(points):
            break
        depth = sign * (points[:, axis] - bound)
        inside = depth >= 0.0
        if inside.all():
            continue
        following = np.roll(points, -1, axis=0)
        crosses = inside != np.roll(inside, -1)
        change = np.where(crosses, depth - np.roll(depth, -1), 1.0)
        crossing = points + (depth / change)[:, None] * (following - points)
        crossing[:, axis] = bound
        # Each vertex is followed by the point where its edge meets the side, if there is one.
        candidates = np.stack([points, crossing], axis=1)
        points = candidates[np.stack([inside, crosses], axis=1)]
    return points
