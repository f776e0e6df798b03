"""Augmentation: each transform takes a Sample and a random generator and gives a new Sample.
 Names, parameters and defaults are those of the reference's configs. All chance comes from the generator
passed in. Images stay 8-bit: what the reference leaves as floats between steps is rounded here, as at
inference.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from instseg_trainer.data.distort import RandomDistort
from instseg_trainer.data.errors import DataError
from instseg_trainer.data.resize import BatchRandomResize, RandomResize, Resize, resize
from instseg_trainer.data.sample import Sample, as_bytes


class Transform(Protocol):
    """A step of the augmentation; must be picklable to run in worker processes."""

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample: ...


class BatchTransform(Protocol):
    """A step whose chance is drawn once for a batch: it gives the step to take with each of its samples."""

    def choose(self, rng: np.random.Generator) -> Transform: ...


Step = Transform | BatchTransform


@dataclass(frozen=True)
class RandomFlip:
    """Mirror left to right with probability `prob`."""

    prob: float = 0.5

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        if rng.uniform() >= self.prob:
            return sample
        width = sample.size[1]
        boxes = sample.boxes.copy()
        boxes[:, [0, 2]] = width - sample.boxes[:, [2, 0]]
        return dataclasses.replace(
            sample,
            image=as_bytes(cv2.flip(sample.image, 1)),
            boxes=boxes,
            segments=tuple(segment.flip(width) for segment in sample.segments),
        )


@dataclass(frozen=True)
class RandomExpand:
    """Put the image somewhere on a larger canvas of colour `fill_value` (RGB), up to `ratio` times each side.

    `prob` is the probability of leaving the image as it is, as the reference's code has it (its text says
    otherwise). A canvas never exceeds `maximum_pixels`: the image is first reduced to fit, where the
    reference would allocate gigabytes for one photo.
    """

    ratio: float = 4.0
    prob: float = 0.5
    fill_value: tuple[float, float, float] = (127.5, 127.5, 127.5)
    maximum_pixels: int = 1 << 25

    def __post_init__(self) -> None:
        if not self.ratio > 1.01:
            raise DataError(f"RandomExpand: ratio is {self.ratio}, expected more than 1.01")
        if len(self.fill_value) != 3:
            raise DataError(f"RandomExpand: fill_value is {self.fill_value}, expected three numbers (RGB)")

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        if rng.uniform() < self.prob:
            return sample
        ratio = float(rng.uniform(1.0, self.ratio))
        excess = math.prod(sample.size) * ratio**2 / self.maximum_pixels
        if excess > 1.0:
            height, width = (max(1, int(side / math.sqrt(excess))) for side in sample.size)
            sample = resize(sample, height, width, cv2.INTER_AREA)
        height, width = sample.size
        canvas_height, canvas_width = int(height * ratio), int(width * ratio)
        if canvas_height <= height or canvas_width <= width:
            return sample
        top = int(rng.integers(canvas_height - height))
        left = int(rng.integers(canvas_width - width))
        canvas = cv2.copyMakeBorder(
            sample.image,
            top,
            canvas_height - height - top,
            left,
            canvas_width - width - left,
            cv2.BORDER_CONSTANT,
            value=[float(round(level)) for level in self.fill_value],
        )
        return dataclasses.replace(
            sample,
            image=as_bytes(canvas),
            boxes=sample.boxes + np.array([left, top, left, top], dtype=np.float32),
            segments=tuple(segment.place(left, top, canvas_height, canvas_width) for segment in sample.segments),
        )


@dataclass(frozen=True)
class RandomCrop:
    """Cut out a random part in which at least one instance overlaps by a random one of `thresholds`.

    An instance stays if its box's centre is in the part and some of its shape is. `aspect_ratio` and
    `scaling` bound the part's shape and its sides relative to the image; `num_attempts` tries per threshold;
    with `allow_no_crop` the image may also stay whole. `cover_all_box`: every box must reach the threshold.
    `ioumode`: overlap is "iou" or "iof" (intersection over the box). `is_mask_crop` must be True: shapes are
    always cut with the image. `prob`: the probability of trying at all.
    """

    aspect_ratio: tuple[float, float] | None = (0.5, 2.0)
    thresholds: tuple[float, ...] = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9)
    scaling: tuple[float, float] = (0.3, 1.0)
    num_attempts: int = 50
    allow_no_crop: bool = True
    cover_all_box: bool = False
    is_mask_crop: bool = True
    ioumode: str = "iou"
    prob: float = 1.0

    def __post_init__(self) -> None:
        if not self.is_mask_crop:
            raise DataError("RandomCrop: is_mask_crop is False, which would leave masks where the image was; set it")
        if self.ioumode not in ("iou", "iof"):
            raise DataError(f"RandomCrop: ioumode is {self.ioumode!r}, expected iou or iof")
        if not 0.0 < self.scaling[0] <= self.scaling[1] <= 1.0:
            raise DataError(f"RandomCrop: scaling is {self.scaling}, expected [min, max] within 0 to 1")

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        if rng.uniform() > self.prob or not len(sample.boxes):
            return sample
        choices: list[float | None] = list(self.thresholds)
        if self.allow_no_crop:
            choices.append(None)
        for index in rng.permutation(len(choices)):
            threshold = choices[index]
            if threshold is None:
                return sample
            for _ in range(self.num_attempts):
                window = self._propose(*sample.size, rng)
                if window is None:
                    continue
                kept = self._instances_inside(sample.boxes, window, threshold)
                if kept.size:
                    return crop(sample, window, kept) or sample
        return sample

    def _propose(self, height: int, width: int, rng: np.random.Generator) -> tuple[int, int, int, int] | None:
        """A random window: left, top, right, bottom in whole pixels."""
        scale = rng.uniform(*self.scaling)
        if self.aspect_ratio is None:
            scale_y, scale_x = rng.uniform(*self.scaling), rng.uniform(*self.scaling)
            if not 0.5 <= height * scale_y / (width * scale_x) <= 2.0:
                return None
        else:
            lowest, highest = self.aspect_ratio
            aspect = math.sqrt(rng.uniform(max(lowest, scale**2), min(highest, scale**-2)))
            scale_y, scale_x = scale / aspect, scale * aspect
        rows, columns = max(1, int(height * scale_y)), max(1, int(width * scale_x))
        top = int(rng.integers(max(1, height - rows)))
        left = int(rng.integers(max(1, width - columns)))
        return left, top, left + columns, top + rows

    def _instances_inside(
        self, boxes: NDArray[np.float32], window: tuple[int, int, int, int], threshold: float
    ) -> NDArray[np.int64]:
        """Indices of the instances to keep; none if the window misses the overlap asked for."""
        bounds = np.array(window, dtype=np.float32)
        sides = np.minimum(boxes[:, 2:], bounds[2:]) - np.maximum(boxes[:, :2], bounds[:2])
        overlap = np.prod(np.maximum(sides, 0.0), axis=1)
        area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
        if self.ioumode == "iou":
            area = area + np.prod(bounds[2:] - bounds[:2]) - overlap
        ratio = overlap / (area + 1e-10)
        if ratio.max() < threshold or (self.cover_all_box and ratio.min() < threshold):
            return np.zeros(0, dtype=np.int64)
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        inside = ((bounds[:2] <= centres) & (centres < bounds[2:]) & (sides > 0.0)).all(axis=1)
        return np.flatnonzero(inside)


def crop(sample: Sample, window: tuple[int, int, int, int], kept: NDArray[np.int64]) -> Sample | None:
    """Cut the window (left, top, right, bottom) out, with those of the `kept` instances whose shape reaches
    into it.

    None when there is no such instance.
    """
    left, top, right, bottom = window
    cut = {int(index): sample.segments[index].crop(left, top, right, bottom) for index in kept}
    visible = np.array([index for index, segment in cut.items() if not segment.is_empty], dtype=np.int64)
    if not visible.size:
        return None
    low, high = np.array([left, top] * 2, dtype=np.float32), np.array([right, bottom] * 2, dtype=np.float32)
    return dataclasses.replace(
        sample,
        image=sample.image[top:bottom, left:right],
        boxes=np.clip(sample.boxes[visible], low, high) - low,
        class_ids=sample.class_ids[visible],
        segments=tuple(cut[int(index)] for index in visible),
        is_crowd=sample.is_crowd[visible],
    )


_TRANSFORMS: dict[str, type] = {
    transform.__name__: transform
    for transform in (RandomDistort, RandomExpand, RandomCrop, RandomFlip, Resize, RandomResize, BatchRandomResize)
}

# One number for these parameters stands for as many equal ones.
_REPEATED = {("Resize", "target_size"): 2, ("RandomExpand", "fill_value"): 3}


def build_transforms(config: Sequence[Mapping[str, Mapping[str, Any] | None]]) -> tuple[Step, ...]:
    """Make transforms from config data: [{"RandomFlip": {"prob": 0.5}}, {"Resize": {"target_size": 640, …}},
    …].

    Lists become tuples, one number for Resize's `target_size` or for `fill_value` is repeated. Raises DataError for
    a name or a parameter that does not exist. Decoding, mask drawing, normalisation and padding belong to the data
    set and the loader: their reference names (Decode, Poly2Mask, NormalizeImage, Permute, PadGT, PadBatch) are
    refused here.
    """
    return tuple(_build_transform(entry, f"transforms[{index}]") for index, entry in enumerate(config))


def _build_transform(entry: Mapping[str, Mapping[str, Any] | None], where: str) -> Step:
    if not isinstance(entry, Mapping) or len(entry) != 1:
        raise DataError(f"{where} is {entry!r}, expected one name with its parameters, such as RandomFlip: {{}}")
    name, parameters = next(iter(entry.items()))
    transform = _TRANSFORMS.get(name)
    if transform is None:
        raise DataError(f"{where}: unknown transform {name!r}; known: {', '.join(_TRANSFORMS)}")
    hints = typing.get_type_hints(transform)
    known = {field.name for field in dataclasses.fields(transform)}
    values: dict[str, Any] = {}
    for key, value in (parameters or {}).items():
        if key not in known:
            raise DataError(f"{where}: {name} has no parameter {key!r}; known: {', '.join(sorted(known))}")
        repeats = _REPEATED.get((name, key))
        if repeats is not None and isinstance(value, int | float):
            value = (value,) * repeats  # noqa: PLW2901
        values[key] = _as_tuples(value)
        if not _has_type(hints[key], values[key]):
            kind = getattr(hints[key], "__name__", str(hints[key]))
            raise DataError(f"{where}: {name}: {key} is {value!r}, expected {kind}")
    try:
        return transform(**values)
    except TypeError as error:
        raise DataError(f"{where}: {name}: {error}") from error


def _has_type(kind: Any, value: Any) -> bool:
    """Whether a value read from YAML suits a field's type; lengths of tuples are each transform's own matter."""
    if isinstance(kind, types.UnionType):
        return any(_has_type(option, value) for option in typing.get_args(kind))
    if typing.get_origin(kind) is tuple:
        return isinstance(value, tuple) and all(_has_type(typing.get_args(kind)[0], item) for item in value)
    if kind is Any:
        return True
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is kind


def _as_tuples(value: Any) -> Any:
    return tuple(_as_tuples(item) for item in value) if isinstance(value, list) else value
