"""LabelMe's shapes as polygons or masks in the pixels of their image."""

from __future__ import annotations

import base64
import binascii
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instseg_rt.errors import Error
from instseg_rt.image_file import decode_image
from instseg_trainer.data.annotation import is_number
from instseg_trainer.data.coco_file import is_text
from instseg_trainer.data.errors import DataError
from instseg_trainer.data.segmentation import Polygon, Segmentation, clip_polygon

# Shapes without an area: nothing that a mask can be made of.
_WITHOUT_AREA = ("point", "points", "line", "linestrip")
# How far, in pixels, the polygon of a circle may be from it.
_CIRCLE_TOLERANCE = 0.1
_MINIMUM_CIRCLE_POINTS = 16
# Points this many image sides away are no drawing.
_MAXIMUM_REACH = 10.0


@dataclass
class LabelMeObject:
    """One object of an image: `polygons`, each (k, 2) float64 x, y inside the image, and `mask` (h, w) of 0 and 1."""

    label: str
    polygons: list[Polygon] = field(default_factory=list)
    mask: NDArray[np.uint8] | None = None

    def to_coco(self, height: int, width: int) -> dict[str, Any]:
        """The keys segmentation, bbox, area and iscrowd. With a mask among the parts all of it becomes a run-length
        mask."""
        drawn = Segmentation(polygons=tuple(self.polygons)).to_mask(height, width)
        segmentation: Any = [part.ravel().tolist() for part in self.polygons]
        if self.mask is None:
            points = np.concatenate(self.polygons)
            low, high = points.min(axis=0), points.max(axis=0)
        else:
            drawn |= self.mask
            segmentation = {"size": [height, width], "counts": _runs(drawn)}
            rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
            low, high = np.array([columns[0], rows[0]]), np.array([columns[-1] + 1, rows[-1] + 1])
        box = [*low.tolist(), *(high - low).tolist()]
        return {"segmentation": segmentation, "bbox": box, "area": float(drawn.sum()), "iscrowd": 0}


def read_shape(shape: dict[str, Any], height: int, width: int) -> tuple[LabelMeObject | None, str]:
    """The shape as an object of its own, and a note: why there is None, or that it was cut to the image (or "").

    Raises DataError for a shape that is not what LabelMe writes.
    """
    label = shape.get("label")
    if not is_text(label) or not label.strip():
        raise DataError(f"label is {label!r}, expected a text")
    kind = shape.get("shape_type") or "polygon"  # early versions had polygons only, and no such key
    if kind in _WITHOUT_AREA:
        return None, f"{kind} {label!r} left out: it has no area"
    if kind == "mask":
        return LabelMeObject(label, mask=_read_mask(shape, height, width)), ""
    points = _points(shape.get("points"), height, width)
    if kind == "rectangle" and len(points) == 2:
        (left, top), (right, bottom) = np.sort(points, axis=0)
        points = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    elif kind == "circle":
        points = _circle(points)
    elif kind not in ("polygon", "rectangle", "oriented_rectangle"):
        return None, f"{kind} {label!r} left out: an unknown type of shape"
    if len(points) < 3:
        raise DataError(f"{kind} {label!r} has {len(points)} points, expected 3 or more")
    inside = clip_polygon(points, 0, 0, width, height)
    if len(inside) < 3:
        raise DataError(f"{kind} {label!r} lies outside the {width}x{height} image")
    note = "" if inside is points else f"{kind} {label!r} cut to the image"
    return LabelMeObject(label, polygons=[inside]), note


def _points(value: Any, height: int, width: int) -> Polygon:
    if not isinstance(value, list) or not all(
        isinstance(point, list) and len(point) == 2 and all(is_number(number) for number in point) for point in value
    ):
        raise DataError("points must be a list of [x, y] pairs of finite numbers")
    points = np.array(value, dtype=np.float64).reshape(-1, 2)
    if len(points) and np.abs(points).max() > _MAXIMUM_REACH * max(height, width):
        raise DataError(f"points reach to {np.abs(points).max():g}, far outside of {width}x{height} pixels")
    return points


def _circle(points: Polygon) -> Polygon:
    """LabelMe's circle, its centre and a point on it, as a polygon."""
    if len(points) != 2:
        raise DataError(f"a circle has {len(points)} points, expected its centre and one on it")
    radius = float(np.linalg.norm(points[1] - points[0]))
    if radius <= 0:
        raise DataError("a circle has the radius 0")
    step = math.acos(max(1 - _CIRCLE_TOLERANCE / radius, 0.0))
    angles = np.linspace(0, 2 * math.pi, max(math.ceil(math.pi / step), _MINIMUM_CIRCLE_POINTS), endpoint=False)
    return points[0] + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _read_mask(shape: dict[str, Any], height: int, width: int) -> NDArray[np.uint8]:
    """LabelMe's mask: a picture of the box whose first and last pixel are the two points."""
    points = _points(shape.get("points"), height, width)
    if len(points) != 2:
        raise DataError(f"a mask has {len(points)} points, expected the two corners of its box")
    crop = decode_embedded(shape.get("mask"), "mask").max(axis=2) > 0
    left, top = (math.floor(number + 0.5) for number in points[0])
    canvas = np.zeros((height, width), dtype=np.uint8)
    cut = crop[max(0, -top) : max(0, height - top), max(0, -left) : max(0, width - left)]
    canvas[max(0, top) : max(0, top) + cut.shape[0], max(0, left) : max(0, left) + cut.shape[1]] = cut
    if not canvas.any():
        raise DataError(f"a mask has no pixel inside the {width}x{height} image")
    return canvas


def decode_embedded(text: Any, key: str) -> NDArray[np.uint8]:
    """(h, w, 3) uint8 of a picture in base64; `key` names it in errors."""
    pixels: NDArray[np.uint8]
    try:
        pixels = decode_image(embedded_bytes(text, key), key)
    except Error as error:
        raise DataError(str(error)) from None
    return pixels


def embedded_bytes(text: Any, key: str) -> bytes:
    """The file that base64 text holds; `key` names it in errors."""
    if not isinstance(text, str):
        raise DataError(f"{key} is {type(text).__name__}, expected a picture as base64 text")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise DataError(f"{key} is not valid base64: {error}") from error


def _runs(mask: NDArray[np.uint8]) -> list[int]:
    """COCO's uncompressed runs: column by column, zeros first."""
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    counts: list[int] = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    return [0, *counts] if flat[0] else counts
