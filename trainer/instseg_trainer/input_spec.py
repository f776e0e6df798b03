"""How an image becomes a network input: one description per model, for training, evaluation and export alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from .data.collate import Normalization

_INTERPOLATIONS = {"linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC}

IMAGENET_NORMALIZATION = Normalization(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


@dataclass(frozen=True)
class InputSpec:
    """Resize, normalise and pad.

    resize: "stretch" gives every image the size (height, width) and takes its shape for it; "keep_ratio" makes the
    shorter side `min(height, width)` unless the longer one would then pass `max(height, width)`.
    normalize_first: normalise before the resize, which then works on float32, instead of after it.
    pad_stride: the batch is padded with zeros on the right and at the bottom to a multiple of this; 1: no padding.
    """

    height: int = 640
    width: int = 640
    resize: Literal["stretch", "keep_ratio"] = "stretch"
    interpolation: Literal["linear", "cubic"] = "cubic"
    normalization: Normalization = field(default_factory=Normalization)
    normalize_first: bool = False
    pad_stride: int = 1

    def resized(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of an image of this size after the resize."""
        if self.resize == "stretch":
            return self.height, self.width
        short, long = min(self.height, self.width), max(self.height, self.width)
        scale = min(short / min(height, width), long / max(height, width))
        # Half up, as the reference rounds; never to nothing.
        return max(1, int(scale * height + 0.5)), max(1, int(scale * width + 0.5))

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(H, W, 3) uint8 RGB -> (3, h, w) float32, not padded."""
        height, width = self.resized(*image.shape[:2])
        interpolation = _INTERPOLATIONS[self.interpolation]
        if self.normalize_first:
            pixels = self.normalization(image.transpose(2, 0, 1)).transpose(1, 2, 0)
            resized: Any = cv2.resize(np.ascontiguousarray(pixels), (width, height), interpolation=interpolation)
            return np.ascontiguousarray(resized.transpose(2, 0, 1), dtype=np.float32)
        resized = cv2.resize(image, (width, height), interpolation=interpolation)
        return self.normalization(np.ascontiguousarray(resized.transpose(2, 0, 1)))

    def batch(self, images: Sequence[NDArray[np.uint8]]) -> tuple[NDArray[np.float32], list[tuple[int, int]]]:
        """Images of any sizes -> (B, 3, H, W) float32, and each image's (height, width) inside it."""
        prepared = [self(image) for image in images]
        sizes = [(image.shape[1], image.shape[2]) for image in prepared]
        height, width = (-(-max(side) // self.pad_stride) * self.pad_stride for side in zip(*sizes, strict=True))
        pixels = np.zeros((len(images), 3, height, width), np.float32)
        for row, (image, (h, w)) in enumerate(zip(prepared, sizes, strict=True)):
            pixels[row, :, :h, :w] = image
        return pixels, sizes
