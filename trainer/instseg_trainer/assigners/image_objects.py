"""The objects of one image, without the padding of the batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import paddle

from ..data.segmentation import Segmentation
from ..targets import Targets


@dataclass
class ImageObjects:
    """n objects, n may be 0. boxes (n, 4) float32, x1, y1, x2, y2 in input pixels; class_ids (n,) int64;
    segments: one shape per object, in input pixels; None where the batch came without them.
    """

    boxes: paddle.Tensor
    class_ids: paddle.Tensor
    segments: Sequence[Segmentation] | None = None

    def __len__(self) -> int:
        return int(self.boxes.shape[0])


def split_objects(targets: Targets) -> list[ImageObjects]:
    """One `ImageObjects` per image of the batch."""
    real = targets.pad_mask.squeeze(-1).numpy() > 0
    images = []
    for index, rows in enumerate(real):
        chosen = paddle.to_tensor(np.flatnonzero(rows))
        count = len(chosen)
        segments = None if targets.segments is None else targets.segments[index]
        if segments is not None and len(segments) != count:
            raise ValueError(f"image {index} of the batch has {count} objects and {len(segments)} shapes")
        if count == 0:
            images.append(ImageObjects(paddle.zeros([0, 4]), paddle.zeros([0], dtype="int64"), segments))
            continue
        boxes = paddle.gather(targets.boxes[index], chosen)
        class_ids = paddle.gather(targets.class_ids[index].flatten(), chosen)
        images.append(ImageObjects(boxes, class_ids, segments))
    return images
