"""A pinhole camera above the ground plane z = 0 of a right-handed world."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from instseg_rt.scenes.shapes import Floats

_Rectangle = tuple[int, int, int, int]


@dataclass(frozen=True)
class Camera:
    """Where the picture is taken from.

    `axes` has the rows right, down, forward (unit, world frame); `focal` is in pixels of the (height, width)
    picture; the principal point is the picture's centre. Pixel centres are at +0.5.
    """

    position: NDArray[np.float64]
    axes: NDArray[np.float64]
    focal: float
    height: int
    width: int

    @staticmethod
    def look_at(
        position: NDArray[np.float64],
        target: NDArray[np.float64],
        *,
        roll: float,
        field_of_view: float,
        height: int,
        width: int,
    ) -> Camera:
        """Angles in radians; `field_of_view` spans the shorter side of the picture."""
        forward = (target - position) / np.linalg.norm(target - position)
        right = np.cross(forward, (0.0, 0.0, 1.0))
        right /= np.linalg.norm(right)
        down = np.cross(forward, right)
        rolled = math.cos(roll) * right + math.sin(roll) * down
        axes = np.stack([rolled, np.cross(forward, rolled), forward])
        return Camera(position, axes, min(height, width) / (2 * math.tan(field_of_view / 2)), height, width)

    def rays(self, rectangle: _Rectangle, samples: int = 1) -> Floats:
        """Unit directions (3, rows, columns) through the pixels of (left, top, right, bottom), half-open.

        `samples` splits each pixel into samples x samples cells with one ray through each centre; the
        rectangle is then counted in cells. It may reach outside the picture.
        """
        left, top, right, bottom = rectangle
        focal = self.focal * samples
        x = (np.arange(left, right) + (0.5 - self.width * samples / 2)) / focal
        y = (np.arange(top, bottom) + (0.5 - self.height * samples / 2)) / focal
        x, y = x.astype(np.float32), y.astype(np.float32)
        scale = 1 / np.sqrt(1 + (x * x)[None, :] + (y * y)[:, None])
        out = np.empty((3, y.size, x.size), np.float32)
        for i, (across, down, forward) in enumerate(self.axes.T.tolist()):
            out[i] = ((forward + across * x)[None, :] + (down * y)[:, None]) * scale
        return out

    def bounds(self, centre: NDArray[np.float64], radius: float, samples: int = 1) -> _Rectangle | None:
        """The cells (left, top, right, bottom) a sphere can touch, not clipped; None if any is behind."""
        across, down, forward = (self.axes @ (centre - self.position)).tolist()
        if forward <= radius * 1.05:
            return None
        limits = []
        for offset, size in ((across, self.width), (down, self.height)):
            middle = math.atan2(offset, forward)
            spread = math.asin(min(1.0, radius / math.hypot(offset, forward)))
            limits.append([size / 2 + self.focal * math.tan(middle + s * spread) for s in (-1, 1)])
        (left, right), (top, bottom) = limits
        return (
            math.floor(left * samples),
            math.floor(top * samples),
            math.ceil(right * samples),
            math.ceil(bottom * samples),
        )


def clip_rectangle(rectangle: _Rectangle, height: int, width: int) -> _Rectangle:
    """The part inside a height x width raster; may be empty (left >= right or top >= bottom)."""
    left, top, right, bottom = rectangle
    return max(left, 0), max(top, 0), min(right, width), min(bottom, height)
