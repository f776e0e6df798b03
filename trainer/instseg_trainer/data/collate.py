"""From image records to one batch of arrays: decode, augment, draw masks, pad, normalise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from instseg_trainer.data.coco import ImageRecord
from instseg_trainer.data.errors import DataError
from instseg_trainer.data.sample import Batch, Sample
from instseg_trainer.data.transforms import Transform


@dataclass(frozen=True)
class Normalization:
    """pixel -> (pixel * scale - mean) / std, per RGB channel."""

    scale: float = 1.0 / 255.0
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(B, 3, H, W) uint8 to float32."""
        values = np.multiply(images, np.float32(self.scale), dtype=np.float32)
        if any(self.mean):
            values -= np.array(self.mean, dtype=np.float32)[:, None, None]
        if any(deviation != 1.0 for deviation in self.std):
            values /= np.array(self.std, dtype=np.float32)[:, None, None]
        return values


@dataclass(frozen=True)
class BatchTask:
    """All that is needed to prepare one batch, on its own and in any process."""

    records: tuple[ImageRecord, ...]
    indices: tuple[int, ...]  # of the records in the data set: they seed each sample's chance
    seed: int
    epoch: int
    transforms: tuple[Transform, ...]
    mask_stride: int


@dataclass(frozen=True)
class PreparedBatch:
    """A batch whose images are still bytes, a quarter of the size to move between processes."""

    images: NDArray[np.uint8]  # (B, 3, H, W)
    boxes: NDArray[np.float32]
    class_ids: NDArray[np.int64]
    masks: NDArray[np.uint8]
    pad_mask: NDArray[np.float32]
    image_ids: NDArray[np.int64]
    original_sizes: NDArray[np.int64]
    scale_factors: NDArray[np.float32]

    def finish(self, normalization: Normalization) -> Batch:
        """Normalise the images."""
        return Batch(
            images=normalization(self.images),
            boxes=self.boxes,
            class_ids=self.class_ids,
            masks=self.masks,
            pad_mask=self.pad_mask,
            image_ids=self.image_ids,
            original_sizes=self.original_sizes,
            scale_factors=self.scale_factors,
        )


def prepare_batch(task: BatchTask) -> PreparedBatch:
    """Load and augment the task's records. The result depends on the task alone, not on who runs it."""
    samples = []
    for record, index in zip(task.records, task.indices, strict=True):
        rng = np.random.default_rng(np.random.SeedSequence(task.seed, spawn_key=(task.epoch, index)))
        sample = record.load()
        for transform in task.transforms:
            sample = transform(sample, rng)
        samples.append(sample)
    return collate(samples, task.mask_stride)


def collate(samples: Sequence[Sample], mask_stride: int) -> PreparedBatch:
    """Stack samples of one image size; instances are padded with zeros to the largest count, which may be 0.

    Masks are the full-size drawings' every `mask_stride`-th row and column. Raises DataError when the image
    sizes differ or are no multiples of `mask_stride`.
    """
    height, width = samples[0].size
    for sample in samples:
        if sample.size != (height, width):
            raise DataError(
                f"{sample.path}: {sample.size[1]}x{sample.size[0]} pixels in a batch of {width}x{height}: "
                "end the transforms with a Resize to one size"
            )
    if height % mask_stride or width % mask_stride:
        raise DataError(f"network input {width}x{height} is not a multiple of the mask stride {mask_stride}")
    batch, count = len(samples), max(len(sample.boxes) for sample in samples)
    images = np.empty((batch, 3, height, width), dtype=np.uint8)
    boxes = np.zeros((batch, count, 4), dtype=np.float32)
    class_ids = np.zeros((batch, count, 1), dtype=np.int64)
    masks = np.zeros((batch, count, height // mask_stride, width // mask_stride), dtype=np.uint8)
    pad_mask = np.zeros((batch, count, 1), dtype=np.float32)
    for row, sample in enumerate(samples):
        real = len(sample.boxes)
        images[row] = sample.image.transpose(2, 0, 1)
        boxes[row, :real] = sample.boxes
        class_ids[row, :real, 0] = sample.class_ids
        for column, segment in enumerate(sample.segments):
            masks[row, column] = segment.to_mask(height, width, mask_stride)
        pad_mask[row, :real] = 1.0
    return PreparedBatch(
        images=images,
        boxes=boxes,
        class_ids=class_ids,
        masks=masks,
        pad_mask=pad_mask,
        image_ids=np.array([sample.image_id for sample in samples], dtype=np.int64),
        original_sizes=np.array([sample.original_size for sample in samples], dtype=np.int64),
        scale_factors=np.array([sample.scale_factor for sample in samples], dtype=np.float32),
    )
