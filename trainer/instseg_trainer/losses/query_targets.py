"""The objects of a batch as the losses over queries want them: real ones only, boxes as fractions of the image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import paddle

from ..centre_boxes import corners_to_centre
from ..targets import Targets


@dataclass
class QueryTargets:
    """All real objects of a batch, image after image: N = sum(counts).

    counts: per image. class_ids (N,) int64; boxes (N, 4) cx, cy, w, h in 0..1; masks (N, H, W) float32 of 0 and 1.
    """

    counts: list[int]
    class_ids: paddle.Tensor
    boxes: paddle.Tensor
    masks: paddle.Tensor

    @classmethod
    def from_targets(cls, targets: Targets, height: int, width: int) -> QueryTargets:
        """height, width: of the network's input, in whose pixels the target boxes are. The masks may be of any size."""
        counts = [int(count) for count in targets.pad_mask.numpy().sum((1, 2))]
        real = paddle.nonzero(targets.pad_mask.squeeze(-1) > 0)  # (N, 2): image, place in the padded list
        size = paddle.to_tensor([width, height, width, height], dtype="float32")
        return cls(
            counts,
            paddle.gather_nd(targets.class_ids, real).flatten(),
            corners_to_centre(paddle.gather_nd(targets.boxes, real) / size),
            paddle.gather_nd(targets.masks.astype("float32"), real),
        )

    @property
    def total(self) -> int:
        return sum(self.counts)

    def starts(self) -> list[int]:
        """Index of each image's first object."""
        return [sum(self.counts[:image]) for image in range(len(self.counts))]


@dataclass
class Matches:
    """M pairs of a query and an object, image after image and by rising query in each (int64, (M,) each).

    image and query say which prediction; target is an index into `QueryTargets`; counts: pairs per image.
    """

    counts: list[int]
    image: paddle.Tensor
    query: paddle.Tensor
    target: paddle.Tensor

    @classmethod
    def from_lists(cls, pairs: list[list[tuple[int, int]]]) -> Matches:
        """pairs: per image (query, target), in any order."""
        rows = [(image, query, target) for image, found in enumerate(pairs) for query, target in sorted(found)]
        columns = np.asarray(rows, np.int64).reshape(-1, 3).T
        return cls([len(found) for found in pairs], *(paddle.to_tensor(column) for column in columns))

    @property
    def total(self) -> int:
        return sum(self.counts)

    def gather(self, predictions: paddle.Tensor) -> paddle.Tensor:
        """(B, queries, ...) -> (M, ...). Not for M = 0."""
        return paddle.gather_nd(predictions, paddle.stack([self.image, self.query], axis=-1))
