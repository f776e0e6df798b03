"""Changing a sample's size: to one size, to a random one, or to a random one for a whole batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from instseg_trainer.data.errors import DataError
from instseg_trainer.data.sample import Sample, as_bytes

Size = tuple[int, int]

# What `random_interp` draws from, evenly.
_RANDOM_INTERPOLATIONS = (
    cv2.INTER_NEAREST,
    cv2.INTER_LINEAR,
    cv2.INTER_AREA,
    cv2.INTER_CUBIC,
    cv2.INTER_LANCZOS4,
)


@dataclass(frozen=True)
class Resize:
    """Stretch to `target_size` (height, width), or with `keep_ratio` fit inside it by one factor.

    With `keep_ratio` the short side becomes min(target_size) unless the long side would exceed
    max(target_size). `interp` is OpenCV's number: 0 nearest, 1 linear, 2 cubic, 3 area, 4 Lanczos.
    """

    target_size: Size
    keep_ratio: bool
    interp: int = cv2.INTER_LINEAR

    def __post_init__(self) -> None:
        _check_size("Resize", self.target_size)
        _check_interpolation("Resize", self.interp)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        height, width = self.target_size
        if self.keep_ratio:
            old_height, old_width = sample.size
            factor = min(
                min(self.target_size) / min(sample.size),
                max(self.target_size) / max(sample.size),
            )
            height, width = int(factor * old_height + 0.5), int(factor * old_width + 0.5)
        return resize(sample, max(height, 1), max(width, 1), self.interp)

    def sizes(self) -> tuple[Size, ...]:
        """Every target size there is."""
        return (self.target_size,)


@dataclass(frozen=True)
class RandomResize:
    """A `Resize` to a size drawn for each image.

    target_size: the sizes to choose from evenly, each [height, width] or one number for both; with `random_size`
    False the one size. With `random_range` it is [[lowest short, long], [highest short, long]]: the short side is
    drawn from that range, and the long side is the larger of the first long and the second plus one, as the
    reference has it. `random_interp` also draws the interpolation, otherwise `interp` (OpenCV's number) holds.
    """

    target_size: Any
    keep_ratio: bool = True
    interp: int = cv2.INTER_LINEAR
    random_range: bool = False
    random_size: bool = True
    random_interp: bool = False

    def __post_init__(self) -> None:
        name = type(self).__name__
        _check_interpolation(name, self.interp)
        if self.random_range:
            _check_range(name, self.target_size)
        else:
            _as_sizes(name, self.target_size, self.random_size)

    def choose(self, rng: np.random.Generator) -> Resize:
        """The resize of one draw."""
        if self.random_range:
            (lowest, first_long), (highest, second_long) = self.target_size
            size = (int(rng.integers(lowest, highest + 1)), max(first_long, second_long + 1))
        else:
            sizes = self.sizes()
            size = sizes[int(rng.integers(len(sizes)))] if self.random_size else sizes[0]
        interpolation = self.interp
        if self.random_interp:
            interpolation = _RANDOM_INTERPOLATIONS[int(rng.integers(len(_RANDOM_INTERPOLATIONS)))]
        return Resize(size, self.keep_ratio, interpolation)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        return self.choose(rng)(sample, rng)

    def sizes(self) -> tuple[Size, ...]:
        """Every target size there is; of a range, its two ends."""
        if self.random_range:
            return tuple((short, long) for short, long in self.target_size)
        return _as_sizes(type(self).__name__, self.target_size, self.random_size)


@dataclass(frozen=True)
class BatchRandomResize:
    """A `Resize` to a size, and with `random_interp` an interpolation, drawn once for all images of a batch.

    Parameters as in `RandomResize`. Each training process draws the same size for its part of a batch.
    """

    target_size: Any
    keep_ratio: bool
    interp: int = cv2.INTER_NEAREST
    random_size: bool = True
    random_interp: bool = False

    def __post_init__(self) -> None:
        _check_interpolation("BatchRandomResize", self.interp)
        _as_sizes("BatchRandomResize", self.target_size, self.random_size)

    def choose(self, rng: np.random.Generator) -> Resize:
        """The resize of one batch."""
        return RandomResize(
            self.target_size,
            self.keep_ratio,
            self.interp,
            random_size=self.random_size,
            random_interp=self.random_interp,
        ).choose(rng)

    def sizes(self) -> tuple[Size, ...]:
        """Every target size there is."""
        return _as_sizes("BatchRandomResize", self.target_size, self.random_size)


def resize(sample: Sample, height: int, width: int, interpolation: int) -> Sample:
    """Stretch a sample to `height` x `width` pixels; `interpolation` is OpenCV's number."""
    factor_y, factor_x = height / sample.size[0], width / sample.size[1]
    boxes = sample.boxes * np.array([factor_x, factor_y, factor_x, factor_y], dtype=np.float32)
    return dataclasses.replace(
        sample,
        image=as_bytes(cv2.resize(sample.image, (width, height), interpolation=interpolation)),
        boxes=np.clip(boxes, 0, np.array([width, height, width, height], dtype=np.float32)),
        segments=tuple(segment.scale(factor_y, factor_x, height, width) for segment in sample.segments),
        scale_factor=(sample.scale_factor[0] * factor_y, sample.scale_factor[1] * factor_x),
    )


def _is_side(value: object) -> bool:
    return type(value) is int and value > 0


def _check_size(name: str, size: object) -> None:
    if not isinstance(size, Sequence) or len(size) != 2 or not all(_is_side(side) for side in size):
        raise DataError(f"{name}: target_size is {size}, expected [height, width] in pixels")


def _check_range(name: str, bounds: object) -> None:
    is_pair = isinstance(bounds, Sequence) and len(bounds) == 2 and all(isinstance(end, Sequence) for end in bounds)
    if not is_pair or not bounds[0][0] <= bounds[1][0]:  # type: ignore[index]
        raise DataError(
            f"{name}: target_size is {bounds}, with random_range expected [[lowest short, long], [highest short, long]]"
        )
    for end in bounds:  # type: ignore[attr-defined]
        _check_size(name, end)


def _check_interpolation(name: str, interpolation: object) -> None:
    if interpolation not in range(5):
        raise DataError(f"{name}: interp is {interpolation!r}, expected OpenCV's number, 0 to 4")


def _as_sizes(name: str, target_size: Any, is_list: bool) -> tuple[Size, ...]:
    """The sizes that a `target_size` means, each (height, width)."""
    if is_list and (not isinstance(target_size, Sequence) or not target_size):
        raise DataError(f"{name}: target_size is {target_size}, with random_size expected a list of sizes")
    sizes = tuple((size, size) if _is_side(size) else size for size in (target_size if is_list else [target_size]))
    for size in sizes:
        _check_size(name, size)
    return sizes
