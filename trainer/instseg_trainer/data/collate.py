"""From image records to one batch of arrays: decode, augment, draw masks, pad, normalise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from instseg_trainer.data.coco import ImageRecord
from instseg_trainer.data.errors import DataError
from instseg_trainer.data.sample import Batch, Sample
from instseg_trainer.data.segmentation import Segmentation
from instseg_trainer.data.transforms import Step


@dataclass(frozen=True)
class Normalization:
    """pixel -> (pixel * scale - mean) / std, per RGB channel.

    Rounded to float32 after each of the three, of which the last two are done in float64, as the reference does it.
    """

    scale: float = 1.0 / 255.0
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(B, 3, H, W) uint8 to float32."""
        values = np.multiply(images, np.float32(self.scale), dtype=np.float32)
        if any(self.mean):
            values -= np.array(self.mean, dtype=np.float64)[:, None, None]
        if any(deviation != 1.0 for deviation in self.std):
            values /= np.array(self.std, dtype=np.float64)[:, None, None]
        return values


@dataclass(frozen=True)
class BatchLayout:
    """How samples become arrays.

    mask_stride: masks are the full-size drawings' every so many-th row and column. pad_stride: samples of different
    sizes are padded to the largest and that to a multiple of this; None: all must have one size. keep_segments: the
    shapes themselves go along, and no masks are drawn.
    """

    mask_stride: int = 4
    pad_stride: int | None = None
    keep_segments: bool = False


@dataclass(frozen=True)
class BatchTask:
    """All that is needed to prepare one batch, on its own and in any process."""

    records: tuple[ImageRecord, ...]
    indices: tuple[int, ...]  # of the records in the data set: they seed each sample's chance
    seed: int
    epoch: int
    iteration: int  # in the epoch: it seeds the chance that the batch's samples share
    transforms: tuple[Step, ...]
    layout: BatchLayout


@dataclass(frozen=True)
class PreparedBatch:
    """A batch whose images are still bytes, a quarter of the size to move between processes."""

    images: NDArray[np.uint8]  # (B, 3, H, W)
    image_sizes: NDArray[np.float32]
    boxes: NDArray[np.float32]
    class_ids: NDArray[np.int64]
    masks: NDArray[np.uint8]
    pad_mask: NDArray[np.float32]
    image_ids: NDArray[np.int64]
    original_sizes: NDArray[np.int64]
    scale_factors: NDArray[np.float32]
    segments: tuple[tuple[Segmentation, ...], ...] | None

    def finish(self, normalization: Normalization) -> Batch:
        """Normalise the images; what lies outside them stays zero."""
        images = normalization(self.images)
        for image, (height, width) in zip(images, self.image_sizes.astype(int).tolist(), strict=True):
            image[:, height:] = 0.0
            image[:, :, width:] = 0.0
        return Batch(
            images=images,
            image_sizes=self.image_sizes,
            boxes=self.boxes,
            class_ids=self.class_ids,
            masks=self.masks,
            pad_mask=self.pad_mask,
            image_ids=self.image_ids,
            original_sizes=self.original_sizes,
            scale_factors=self.scale_factors,
            segments=self.segments,
        )


def prepare_batch(task: BatchTask) -> PreparedBatch:
    """Load and augment the task's records. The result depends on the task alone, not on who runs it."""
    # The last 0 keeps this chance apart from that of the samples, whose keys are shorter.
    shared = np.random.default_rng(np.random.SeedSequence(task.seed, spawn_key=(task.epoch, task.iteration, 0)))
    transforms = [step if callable(step) else step.choose(shared) for step in task.transforms]
    samples = []
    for record, index in zip(task.records, task.indices, strict=True):
        rng = np.random.default_rng(np.random.SeedSequence(task.seed, spawn_key=(task.epoch, index)))
        sample = record.load()
        for transform in transforms:
            sample = transform(sample, rng)
        samples.append(sample)
    return collate(samples, task.layout)


def collate(samples: Sequence[Sample], layout: BatchLayout) -> PreparedBatch:
    """Stack samples; instances are padded with zeros to the largest count, which may be 0.

    Raises DataError when the image sizes differ and the layout does not pad, or the input is no multiple of the mask
    stride.
    """
    height, width = _input_size(samples, layout)
    stride = layout.mask_stride
    mask_size = (0, 0) if layout.keep_segments else (height // stride, width // stride)
    batch, count = len(samples), max(len(sample.boxes) for sample in samples)
    images = np.zeros((batch, 3, height, width), dtype=np.uint8)
    boxes = np.zeros((batch, count, 4), dtype=np.float32)
    class_ids = np.zeros((batch, count, 1), dtype=np.int64)
    masks = np.zeros((batch, count, *mask_size), dtype=np.uint8)
    pad_mask = np.zeros((batch, count, 1), dtype=np.float32)
    for row, sample in enumerate(samples):
        real = len(sample.boxes)
        images[row, :, : sample.size[0], : sample.size[1]] = sample.image.transpose(2, 0, 1)
        boxes[row, :real] = sample.boxes
        class_ids[row, :real, 0] = sample.class_ids
        if not layout.keep_segments:
            _draw_masks(masks[row], sample, height, width, stride)
        pad_mask[row, :real] = 1.0
    return PreparedBatch(
        images=images,
        image_sizes=np.array([sample.size for sample in samples], dtype=np.float32),
        boxes=boxes,
        class_ids=class_ids,
        masks=masks,
        pad_mask=pad_mask,
        image_ids=np.array([sample.image_id for sample in samples], dtype=np.int64),
        original_sizes=np.array([sample.original_size for sample in samples], dtype=np.int64),
        scale_factors=np.array([sample.scale_factor for sample in samples], dtype=np.float32),
        segments=tuple(sample.segments for sample in samples) if layout.keep_segments else None,
    )


def _input_size(samples: Sequence[Sample], layout: BatchLayout) -> tuple[int, int]:
    """Height and width of the batch's images."""
    height, width = samples[0].size
    if layout.pad_stride is not None:
        height, width = (
            -(-max(sides) // layout.pad_stride) * layout.pad_stride
            for sides in zip(*(sample.size for sample in samples), strict=True)
        )
    else:
        for sample in samples:
            if sample.size != (height, width):
                raise DataError(
                    f"{sample.path}: {sample.size[1]}x{sample.size[0]} pixels in a batch of {width}x{height}: "
                    "end the transforms with a Resize to one size"
                )
    stride = layout.mask_stride
    if not layout.keep_segments and (height % stride or width % stride):
        raise DataError(f"network input {width}x{height} is not a multiple of the mask stride {stride}")
    return height, width


def _draw_masks(masks: NDArray[np.uint8], sample: Sample, height: int, width: int, stride: int) -> None:
    """Draw a sample's shapes into its rows of a batch whose images are `height` x `width`."""
    rows, columns = (-(-side // stride) for side in sample.size)
    is_padded = sample.size != (height, width)
    for mask, segment in zip(masks, sample.segments):  # rows beyond are padding
        placed = segment.place(0, 0, height, width) if is_padded else segment
        mask[:rows, :columns] = placed.to_mask(height, width, stride)[:rows, :columns]
