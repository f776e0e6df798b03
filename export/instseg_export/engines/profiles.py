"""Optimization profiles: the shapes that an engine takes, and the one that it is best for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import ExportError

Shape = tuple[int, ...]
Shapes = tuple[Shape, Shape, Shape]
"""Smallest, usual, largest."""

_NARROWEST = 4
"""Ratio of the sides of the narrowest image that a profile takes, where the aspect ratio is kept."""
_USUAL = 4 / 3

ROI_RUN_BYTES = 12 << 20
"""Features of the RoIs of one run: kMaxRoiFeatureBytes of cpp/src/families/roi_chunks.hpp."""


def stage_profile(
    manifest: Mapping[str, Any],
    stage: Mapping[str, Any],
    batch: Sequence[int],
    given: Mapping[str, Shapes],
) -> dict[str, Shapes]:
    """The shapes of each input of a stage.

    batch: smallest, usual and largest. given: `--shapes`, as `input` or `stage.input`; they replace what the manifest
    gives. Raises `ExportError` for shapes that the stage does not have.
    """
    result = {}
    for tensor in stage["inputs"]:
        own = given.get(f"{stage['name']}.{tensor['name']}") or given.get(tensor["name"])
        shapes = own or _default(manifest, stage, tensor["shape"], batch)
        _check(stage["name"], tensor, shapes)
        result[tensor["name"]] = shapes
    return result


def check_given(manifest: Mapping[str, Any], given: Mapping[str, Shapes]) -> None:
    """Raises `ExportError` for a name in `--shapes` that no stage has."""
    known = {
        name
        for stage in manifest["stages"]
        for tensor in stage["inputs"]
        for name in (tensor["name"], f"{stage['name']}.{tensor['name']}")
    }
    for name in given:
        if name not in known:
            raise ExportError(f"--shapes: no input {name!r}: expected one of {', '.join(sorted(known))}")


def parse_shapes(text: str) -> tuple[str, Shapes]:
    """`features.image=1x3x320x320,1x3x800x1088,2x3x1344x1344`; raises `ExportError`."""
    name, _, shapes = text.partition("=")
    try:
        found = tuple(tuple(int(size) for size in shape.split("x")) for shape in shapes.split(","))
    except ValueError:
        found = ()
    if not name or len(found) != 3 or any(size < 1 for shape in found for size in shape):
        raise ExportError(f"--shapes {text}: expected [STAGE.]INPUT=MIN,OPT,MAX with shapes like 1x3x640x640")
    return name, (found[0], found[1], found[2])


def as_json(profile: Mapping[str, Shapes]) -> dict[str, dict[str, list[int]]]:
    return {
        name: {kind: list(shape) for kind, shape in zip(("min", "opt", "max"), shapes, strict=True)}
        for name, shapes in profile.items()
    }


def _default(
    manifest: Mapping[str, Any], stage: Mapping[str, Any], axes: Sequence[int | str], batch: Sequence[int]
) -> Shapes:
    ranges: dict[str, tuple[int, int, int]] = {"batch": (batch[0], batch[1], batch[2])}
    ranges |= _image_sides(manifest["input"])
    if "rpn_post_nms_top_n" in manifest["decode"]:
        roi_bytes = 4 * math.prod(axis for axis in axes if isinstance(axis, int))
        ranges["rois"] = _rois(manifest["decode"], stage["name"], batch[2], roi_bytes)
    unknown = [axis for axis in axes if isinstance(axis, str) and axis not in ranges]
    if unknown:
        raise ExportError(f"stage {stage['name']}: sizes of axis {unknown[0]!r} are not known: give them with --shapes")
    smallest, usual, largest = (
        tuple(axis if isinstance(axis, int) else ranges[axis][kind] for axis in axes) for kind in range(3)
    )
    return smallest, usual, largest


def _image_sides(section: Mapping[str, Any]) -> dict[str, tuple[int, int, int]]:
    """Height and width of the network input where images keep their aspect ratio: from those of an image four times
    as long as high to a batch with images of both orientations; usual is a photo of 4:3, lying.
    """
    if section["resize"] != "keep_ratio":
        return {}
    short, long, stride = section["short_side"], section["long_side"], section.get("pad_stride", 1)

    def padded(side: float) -> int:
        return -(-max(1, int(side + 0.5)) // stride) * stride

    smallest, largest = padded(min(short, long / _NARROWEST)), padded(long)
    usual_long = min(short * _USUAL, long)
    return {
        "height": (smallest, padded(usual_long / _USUAL), largest),
        "width": (smallest, padded(usual_long), largest),
    }


def _rois(decode: Mapping[str, Any], stage: str, images: int, roi_bytes: int) -> tuple[int, int, int]:
    """The runtime pools the RoIs of a batch and takes them through a head in runs of nearly equal size: the largest is
    what a run can have, the usual one a run for all boxes of one image, or for a quarter of the masks it can have.
    """
    masks = stage.startswith("mask")
    per_image = int(decode["keep_top_k"] if masks else decode["rpn_post_nms_top_n"])
    largest = min(_usual_count_below(max(1, ROI_RUN_BYTES // roi_bytes)), _usual_count(images * per_image))
    usual = max(1, per_image // 4) if masks else per_image
    runs = -(-usual // largest)
    return 1, _usual_count(-(-usual // runs)), largest


def _usual_count(count: int) -> int:
    """The least number of RoIs, not below `count`, that the runtime runs a head with: 8 of them from one power of two
    to the next, as in cpp/src/families/roi_chunks.hpp.
    """
    step = _usual_step(count)
    return -(-count // step) * step


def _usual_count_below(count: int) -> int:
    step = _usual_step(count)
    return count // step * step


def _usual_step(count: int) -> int:
    return max(1, (1 << (count.bit_length() - 1)) // 8)


def _check(stage: str, tensor: Mapping[str, Any], shapes: Shapes) -> None:
    axes = tensor["shape"]
    for shape in shapes:
        if len(shape) != len(axes) or any(
            isinstance(axis, int) and axis != size for axis, size in zip(axes, shape, strict=True)
        ):
            raise ExportError(
                f"--shapes: {'x'.join(map(str, shape))} is no shape of {stage}.{tensor['name']} {list(axes)}"
            )
    if any(not low <= usual <= high for low, usual, high in zip(*shapes, strict=True)):
        raise ExportError(f"--shapes: {stage}.{tensor['name']}: expected MIN <= OPT <= MAX in every axis")
