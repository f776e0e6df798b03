"""What can be wrong with the shape of one instance."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from instseg_trainer.data.annotation import parse_annotation, parse_box
from instseg_trainer.data.coco_file import AnnotationEntry, ImageEntry
from instseg_trainer.data.errors import DataError
from instseg_trainer.data.rle import RunLength
from instseg_trainer.data.segmentation import Polygon, polygon_area
from instseg_trainer.dataset_tools.outline import crossed_area
from instseg_trainer.dataset_tools.problems import Findings, Kind

# Annotation programs round outwards: a point may lie this many pixels outside.
OUTSIDE_TOLERANCE = 1.0
# Tiny loops come from a shaky hand; from this part of the area on, the drawn mask is not what was meant.
CROSSING_TOLERANCE = 0.01


def check_shape(annotation: AnnotationEntry, image: ImageEntry, file: str, findings: Findings) -> None:
    """Adds all problems of the segmentation and the box of `annotation`."""
    before = len(findings.problems)
    for kind, message in _segmentation_problems(annotation.data.get("segmentation"), image):
        findings.add(kind, file, annotation.where, message)
    with findings.collect(Kind.INVALID_ENTRY, file, annotation.where):
        box = parse_box(annotation.data.get("bbox"), image.height, image.width, annotation.where)
        if box[2] <= box[0] or box[3] <= box[1]:
            message = f"bbox {annotation.data['bbox']} has nothing inside the {image.width}x{image.height} image"
            findings.add(Kind.EMPTY_BOX, file, annotation.where, message)
    if len(findings.problems) > before:
        return
    # Whatever else the trainer would refuse or leave out.
    with findings.collect(Kind.INVALID_ENTRY, file, annotation.where):
        parsed = parse_annotation(annotation.data, annotation.category_id, image.height, image.width, annotation.where)
        if parsed is None:
            findings.notes.append(f"{file}: {annotation.where}: training leaves it out (ignore is set, or area is 0)")


def _segmentation_problems(value: Any, image: ImageEntry) -> Iterator[tuple[Kind, str]]:
    if isinstance(value, dict):
        try:
            mask = RunLength.from_coco(value, image.height, image.width)
        except DataError as error:
            yield Kind.INVALID_RLE, f"segmentation: {error}"
            return
        if not mask.counts[1::2].any():
            yield Kind.EMPTY_POLYGON, "segmentation: the run-length mask has no pixel"
    elif isinstance(value, list):
        if not value:
            yield Kind.EMPTY_POLYGON, "segmentation is empty, expected a polygon of 3 or more points"
        for index, numbers in enumerate(value):
            points = _points(numbers)
            if points is not None:  # else parse_annotation says what is wrong with it
                for kind, message in _polygon_problems(points, image):
                    yield kind, f"segmentation[{index}] {message}"


def _points(numbers: Any) -> Polygon | None:
    """(k, 2) float64; None for what is no list of finite x, y pairs."""
    if not isinstance(numbers, list) or not all(type(number) in (int, float) for number in numbers):
        return None
    if len(numbers) % 2 or not all(abs(number) < 1e9 for number in numbers):
        return None
    return np.array(numbers, dtype=np.float64).reshape(-1, 2)


def _polygon_problems(points: Polygon, image: ImageEntry) -> Iterator[tuple[Kind, str]]:
    if len(points) < 3:
        yield Kind.EMPTY_POLYGON, f"has {len(points)} points, expected 3 or more"
        return
    size = (float(image.width), float(image.height))
    reach = max(float(-points.min()), float((points - size).max()))
    if reach > OUTSIDE_TOLERANCE:
        inside = bool((points.max(axis=0) > 0).all() and (points.min(axis=0) < size).all())
        how = f"reaches {reach:.1f} pixels out of" if inside else "lies outside"
        yield Kind.OUTSIDE_IMAGE, f"{how} the {image.width}x{image.height} image"
    largest, rest = crossed_area(points)
    if rest > CROSSING_TOLERANCE * (largest + rest):
        what = f"loops of {rest:.1f} beside one of {largest:.1f} square pixels" if np.isfinite(rest) else "all over"
        yield Kind.SELF_CROSSING, f"crosses itself: {what}; draw it anew, or as several parts"
    elif polygon_area(points) <= 0:
        yield Kind.EMPTY_POLYGON, "encloses no area"
