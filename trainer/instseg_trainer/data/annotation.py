"""One entry of COCO's `annotations`, checked and cleaned."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np

from instseg_trainer.data.errors import DataError
from instseg_trainer.data.rle import RunLength
from instseg_trainer.data.segmentation import Polygon, clip_polygon

_logger = logging.getLogger(__name__)

# Either the closed parts of a polygon, each (k, 2) float64 x, y in pixels, or a run-length mask.
Shape = tuple[Polygon, ...] | RunLength

# A polygon may reach this many times the longer side of its image from the corner, no further.
_MAXIMUM_REACH = 10.0

# A box side up to this many pixels is empty.
_EMPTY_SIDE = 1e-5


@dataclass(frozen=True)
class Annotation:
    """One instance: `box` is left, top, right, bottom in pixels; it and `shape` lie inside the image."""

    box: tuple[float, float, float, float]
    category_id: int
    shape: Shape
    is_crowd: bool


def parse_annotation(item: dict[str, Any], category_id: int, height: int, width: int, where: str) -> Annotation | None:
    """Read one annotation of an image of `height` x `width` pixels; `where` begins every error message.

    Returns None (and logs why) for what can be left out: marked `ignore`, no area, an empty box, no drawable
    polygon. Raises DataError for a wrong type, a number that is not finite, a mask of another size or a
    missing segmentation.
    """
    if item.get("ignore"):
        _log_left_out(where, "it is marked to be ignored")
        return None
    is_crowd = item.get("iscrowd", 0)
    if is_crowd not in (0, 1):
        raise DataError(f"{where}: iscrowd is {is_crowd!r}, expected 0 or 1")
    area = item.get("area", 1.0)
    if not is_number(area):
        raise DataError(f"{where}: area is {area!r}, expected a number")
    if area <= 0:
        _log_left_out(where, f"its area is {area}")
        return None
    box = parse_box(item.get("bbox"), height, width, where)
    if box[2] - box[0] <= _EMPTY_SIDE or box[3] - box[1] <= _EMPTY_SIDE:
        _log_left_out(where, f"its bbox {item['bbox']} is empty inside the {width}x{height} image")
        return None
    shape = parse_shape(item.get("segmentation"), height, width, where)
    if isinstance(shape, tuple) and not shape:
        _log_left_out(where, "its segmentation has no polygon of three points inside the image")
        return None
    return Annotation(box, category_id, shape, bool(is_crowd))


def _log_left_out(where: str, why: str) -> None:
    _logger.info("%s: left out, %s", where, why)


def is_number(value: object) -> bool:
    """Whether a JSON value is a number of sensible size, finite and no truth value."""
    # The bounds also refuse NaN, infinity and whole numbers that no float can hold.
    return isinstance(value, int | float) and not isinstance(value, bool) and -1e9 < value < 1e9


def parse_box(value: object, height: int, width: int, where: str) -> tuple[float, float, float, float]:
    """COCO's [x, y, width, height] as left, top, right, bottom, cut to the image; may be empty."""
    if not isinstance(value, list) or len(value) != 4 or not all(is_number(number) for number in value):
        raise DataError(f"{where}: bbox is {value!r}, expected [x, y, width, height] in pixels")
    x, y, box_width, box_height = (float(number) for number in value)
    left, top, right, bottom = (round(number, 3) for number in (x, y, x + box_width, y + box_height))
    return max(left, 0.0), max(top, 0.0), min(right, float(width)), min(bottom, float(height))


def parse_shape(value: object, height: int, width: int, where: str) -> Shape:
    """COCO's segmentation, cut to the image; parts of fewer than three points are left out, maybe all."""
    if isinstance(value, dict):
        try:
            return RunLength.from_coco(value, height, width)
        except DataError as error:
            raise DataError(f"{where}: segmentation: {error}") from None
    if not isinstance(value, list):
        raise DataError(f"{where}: segmentation is missing or neither polygons nor RLE; a mask model cannot do without")
    parts = []
    for index, numbers in enumerate(value):
        if not isinstance(numbers, list) or len(numbers) % 2 or not all(is_number(number) for number in numbers):
            raise DataError(f"{where}: segmentation[{index}] must be a list of x, y pairs of finite numbers")
        if len(numbers) < 6:
            continue
        points = np.array(numbers, dtype=np.float64).reshape(-1, 2)
        reach = float(np.abs(points).max())
        if reach > _MAXIMUM_REACH * max(height, width):
            # Drawing costs memory with the length of the outline.
            raise DataError(
                f"{where}: segmentation[{index}] reaches to {reach:g}, far outside of {width}x{height} pixels"
            )
        part = clip_polygon(points, 0, 0, width, height)
        if len(part) >= 3:
            parts.append(part)
    return tuple(parts)
