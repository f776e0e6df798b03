"""Colour distortion, with the arithmetic of Pillow's ImageEnhance that the reference recipe uses."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from instseg_trainer.data.errors import DataError
from instseg_trainer.data.sample import Sample, as_bytes

Image = NDArray[np.uint8]  # (H, W, 3) RGB

# [lower, upper, probability of leaving the image as it is], the order and meaning of the reference's configs.
Range = tuple[float, float, float]


@dataclass(frozen=True)
class RandomDistort:
    """Change brightness, contrast, saturation and hue, each with its own chance, in random order.

    `hue` is in steps of 1/256 of the colour circle, the others are factors around 1. Each is (lower, upper,
    probability of leaving it out). `random_apply` False takes the fixed order of SSD (brightness, contrast
    before or after saturation and hue). `count` limits how many of the four may act. `random_channel` may
    shuffle the channels (fixed order only). `prob`: the probability of distorting at all.
    """

    hue: Range = (-18.0, 18.0, 0.5)
    saturation: Range = (0.5, 1.5, 0.5)
    contrast: Range = (0.5, 1.5, 0.5)
    brightness: Range = (0.5, 1.5, 0.5)
    random_apply: bool = True
    count: int = 4
    random_channel: bool = False
    prob: float = 1.0

    def __post_init__(self) -> None:
        for name in ("hue", "saturation", "contrast", "brightness"):
            values = getattr(self, name)
            if len(values) != 3 or not values[0] <= values[1] or not 0.0 <= values[2] <= 1.0:
                raise DataError(f"RandomDistort: {name} is {list(values)}, expected [lower, upper, probability]")

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        if rng.uniform() > self.prob:
            return sample
        steps: list[tuple[Callable[[Image, float], Image], Range]] = [
            (adjust_brightness, self.brightness),
            (adjust_contrast, self.contrast),
            (adjust_saturation, self.saturation),
            (shift_hue, self.hue),
        ]
        if self.random_apply:
            order = rng.permutation(4)[: self.count].tolist()
        else:
            order = [0, 1, 2, 3] if rng.integers(2) else [0, 2, 3, 1]
        image = sample.image
        for index in order:
            adjust, (lower, upper, leave) = steps[index]
            if rng.uniform() >= leave:
                image = adjust(image, float(rng.uniform(lower, upper)))
        if not self.random_apply and self.random_channel and rng.integers(2):
            image = np.ascontiguousarray(image[..., rng.permutation(3)])
        return dataclasses.replace(sample, image=image)


def adjust_brightness(image: Image, factor: float) -> Image:
    """Blend with black: factor 0 is black, 1 leaves the image as it is."""
    return as_bytes(cv2.LUT(image, _blend_table(0, factor)))


def adjust_contrast(image: Image, factor: float) -> Image:
    """Blend with the mean grey level: factor 0 is uniform grey, 1 leaves the image as it is."""
    mean = int(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).mean() + 0.5)
    return as_bytes(cv2.LUT(image, _blend_table(mean, factor)))


def adjust_saturation(image: Image, factor: float) -> Image:
    """Blend with the grey image: factor 0 is grey, 1 leaves the image as it is."""
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    # addWeighted rounds, Pillow cuts off; slightly less than a half keeps exact whole numbers as they are.
    return as_bytes(cv2.addWeighted(image, factor, grey, 1.0 - factor, -0.499))


def shift_hue(image: Image, steps: float) -> Image:
    """Turn the hue by `steps` of 256 a full circle."""
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL)
    table = np.trunc(np.arange(256) + steps).astype(np.int64) % 256
    hsv[..., 0] = cv2.LUT(hsv[..., 0], table.astype(np.uint8))
    return as_bytes(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL))


def _blend_table(grey: int, factor: float) -> NDArray[np.uint8]:
    values = np.float32(grey) + np.float32(factor) * (np.arange(256, dtype=np.float32) - np.float32(grey))
    return np.clip(values, 0.0, 255.0).astype(np.uint8)
