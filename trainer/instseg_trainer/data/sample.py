"""What travels through the data pipeline: one image with its instances, and a batch of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instseg_trainer.data.segmentation import Segmentation


def as_bytes(image: NDArray[Any]) -> NDArray[np.uint8]:
    """An 8-bit image that OpenCV returned, under its exact type; no copy."""
    return np.asarray(image, dtype=np.uint8)


@dataclass(frozen=True)
class Sample:
    """One image and its n instances. Transforms return a new Sample and leave the old one's arrays alone."""

    image: NDArray[np.uint8]  # (H, W, 3) RGB
    boxes: NDArray[np.float32]  # (n, 4) left, top, right, bottom in pixels, half-open
    class_ids: NDArray[np.int64]  # (n,) contiguous from 0
    segments: tuple[Segmentation, ...]  # n shapes in the image's coordinates
    is_crowd: NDArray[np.bool_]  # (n,)
    image_id: int
    path: Path
    original_size: tuple[int, int]  # height, width of the image file
    scale_factor: tuple[float, float] = (1.0, 1.0)  # y, x: product of all resizes so far

    def __post_init__(self) -> None:
        count = len(self.boxes)
        lengths = (len(self.class_ids), len(self.segments), len(self.is_crowd))
        if any(length != count for length in lengths):
            raise ValueError(f"{count} boxes, but {lengths} class ids, segments and crowd flags")

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image as it is now."""
        return self.image.shape[0], self.image.shape[1]


@dataclass(frozen=True)
class Batch:
    """B samples as arrays. n is the largest number of instances of a sample, maybe 0; padding is zero.

    Samples of other sizes lie in the top left corners of `images`. Either `masks` or `segments` has the shapes: where
    `segments` is set, masks are not drawn and their H and W are 0.
    """

    images: NDArray[np.float32]  # (B, 3, H, W), normalised
    image_sizes: NDArray[np.float32]  # (B, 2) height, width of each sample in `images`
    boxes: NDArray[np.float32]  # (B, n, 4) left, top, right, bottom in pixels of `images`
    class_ids: NDArray[np.int64]  # (B, n, 1)
    masks: NDArray[np.uint8]  # (B, n, H / mask_stride, W / mask_stride) of 0 and 1
    pad_mask: NDArray[np.float32]  # (B, n, 1), 1 = real instance
    image_ids: NDArray[np.int64]  # (B,)
    original_sizes: NDArray[np.int64]  # (B, 2) height, width of the image files
    scale_factors: NDArray[np.float32]  # (B, 2) y, x: network input pixels per original pixel
    segments: tuple[tuple[Segmentation, ...], ...] | None = None  # per sample its shapes in pixels of `images`

    def __len__(self) -> int:
        return len(self.images)
