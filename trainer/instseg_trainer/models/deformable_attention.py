"""Deformable attention over several scales (Zhu et al., "Deformable DETR", ICLR 2021, equation 3)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle import nn
from paddle.nn import functional as F


def _initial_offsets(heads: int, levels: int, points: int) -> NDArray[np.float32]:
    """Every head looks into a direction of its own, its points 1, 2, ... steps away: (heads * levels * points * 2,)."""
    angles = np.arange(heads, dtype=np.float32) * np.float32(2 * math.pi / heads)
    directions = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    directions /= np.abs(directions).max(axis=-1, keepdims=True)
    steps = np.arange(1, points + 1, dtype=np.float32)
    offsets = np.broadcast_to(directions[:, None, None] * steps[:, None], (heads, levels, points, 2))
    return np.ascontiguousarray(offsets.reshape(-1), dtype=np.float32)


@paddle.jit.not_to_static
def _places_of_levels(shapes: Sequence[tuple[int, int]], points: int) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """For every point of every level the level's width and height (levels * points, 2), and the index of its first
    cell among the cells of all levels (levels * points,).
    """
    sizes = np.asarray([(width, height) for height, width in shapes], np.float32)
    starts = np.cumsum([0, *(height * width for height, width in shapes[:-1])])
    return np.repeat(sizes, points, axis=0), np.repeat(starts, points).astype(np.int32)


class MultiScaleDeformableAttention(nn.Layer):
    """Each query looks at a few points around its box instead of at all cells.

    offset_learning_rate: multiplier of the learning rate of the layer that places the points.

    explicit_sampling: whether the bilinear sampling is written out as one gather and one product, for export: not every
    inference library takes the grid sampling operator. The numbers are the same but for rounding.
    """

    def __init__(
        self, channels: int, heads: int, levels: int, points: int, *, offset_learning_rate: float = 1.0
    ) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"{channels} channels do not divide into {heads} heads")
        self.channels = channels
        self.heads = heads
        self.levels = levels
        self.points = points
        self.explicit_sampling = False
        initializer = nn.initializer

        def attribute(start: nn.initializer.Initializer, rate: float = 1.0) -> paddle.ParamAttr:
            return paddle.ParamAttr(initializer=start, learning_rate=rate)

        total = heads * levels * points
        self.sampling_offsets = nn.Linear(
            channels,
            2 * total,
            weight_attr=attribute(initializer.Constant(0.0), offset_learning_rate),
            bias_attr=attribute(initializer.Assign(_initial_offsets(heads, levels, points)), offset_learning_rate),
        )
        self.attention_weights = nn.Linear(
            channels,
            total,
            weight_attr=attribute(initializer.Constant(0.0)),
            bias_attr=attribute(initializer.Constant(0.0)),
        )
        self.value_proj, self.output_proj = (
            nn.Linear(
                channels,
                channels,
                weight_attr=attribute(initializer.XavierUniform()),
                bias_attr=attribute(initializer.Constant(0.0)),
            )
            for _ in range(2)
        )

    def forward(
        self,
        queries: paddle.Tensor,
        boxes: paddle.Tensor,
        memory: paddle.Tensor,
        shapes: Sequence[tuple[int, int]],
    ) -> paddle.Tensor:
        """queries (B, N, C); boxes (B, N, 4) cx, cy, w, h as fractions of the image; memory (B, L, C): the cells of all
        levels, whose (height, width) are `shapes` -> (B, N, C).
        """
        count = queries.shape[1]
        offsets = self.sampling_offsets(queries).reshape([-1, count, self.heads, self.levels * self.points, 2])
        centre, size = paddle.split(boxes.unsqueeze([2, 3]), 2, axis=-1)  # (B, N, 1, 1, 2) each
        # With `points` points, an offset of `points` reaches the edge of the box.
        locations = centre + offsets / self.points * size * 0.5
        weights = self.attention_weights(queries).reshape([-1, count, self.heads, self.levels * self.points])
        sample = self._gather_samples if self.explicit_sampling else self._sample_grid
        return self.output_proj(sample(self.value_proj(memory), shapes, locations, F.softmax(weights)))

    def _sample_grid(
        self,
        values: paddle.Tensor,
        shapes: Sequence[tuple[int, int]],
        locations: paddle.Tensor,
        weights: paddle.Tensor,
    ) -> paddle.Tensor:
        """The weighted sum of the values at the locations (B, N, heads, levels * points, 2) x, y in 0..1; outside the
        image the values are 0. Heads are taken into the batch: M = B * heads, c = C / heads.
        """
        count, width = locations.shape[1], self.channels // self.heads
        grid = (2 * locations - 1).transpose([0, 2, 1, 3, 4]).flatten(0, 1)  # (M, N, levels * points, 2) in -1..1
        grids = paddle.split(grid, self.levels, axis=2)
        levels = paddle.split(values, [h * w for h, w in shapes], axis=1)
        sampled = []
        for level, level_grid, (height, level_width) in zip(levels, grids, shapes):
            feature = level.transpose([0, 2, 1]).reshape([-1, width, height, level_width])
            sampled.append(
                F.grid_sample(feature, level_grid, mode="bilinear", padding_mode="zeros", align_corners=False)
            )
        weights = weights.transpose([0, 2, 1, 3]).flatten(0, 1).unsqueeze(1)  # (M, 1, N, levels * points)
        mixed = (paddle.concat(sampled, axis=-1) * weights).sum(-1)  # (M, c, N)
        return mixed.reshape([-1, self.channels, count]).transpose([0, 2, 1])

    def _gather_samples(
        self,
        values: paddle.Tensor,
        shapes: Sequence[tuple[int, int]],
        locations: paddle.Tensor,
        weights: paddle.Tensor,
    ) -> paddle.Tensor:
        """As `_sample_grid`: the four cells around each location by index, times their shares in the sum."""
        count, cells = locations.shape[1], sum(h * w for h, w in shapes)
        width, corners = self.channels // self.heads, 4 * self.levels * self.points
        index, share = self._corners(shapes, locations)  # (B, N, heads, corners) each
        share = share * paddle.concat([weights] * 4, axis=-1)
        # The heads of all cells of the batch are the rows of one table, as they lie in memory. Index arithmetic is of
        # integers, tensors on both sides: with a Python number, the converter takes a way through floats.
        first = paddle.arange(values.shape[0], dtype="int32") * paddle.full([1], cells, "int32")
        index = (index + first.reshape([-1, 1, 1, 1])) * paddle.full([1], self.heads, "int32")
        index = index + paddle.arange(self.heads, dtype="int32").reshape([-1, 1])
        rows = paddle.gather(values.reshape([-1, width]), index.reshape([-1])).reshape([-1, corners, width])
        mixed = paddle.bmm(share.reshape([-1, 1, corners]), rows)  # (B * N * heads, 1, width)
        return mixed.reshape([-1, count, self.channels])

    def _corners(
        self, shapes: Sequence[tuple[int, int]], locations: paddle.Tensor
    ) -> tuple[paddle.Tensor, paddle.Tensor]:
        """locations (..., levels * points, 2) -> of the four cells around each, (..., 4 * levels * points): the index
        among the cells of all levels, int32, and the bilinear weight, 0 outside of the map.
        """
        widths_heights, starts = _places_of_levels(shapes, self.points)
        sizes, first = paddle.to_tensor(widths_heights), paddle.to_tensor(starts)
        columns, last = sizes[:, 0].astype("int32"), sizes - 1
        position = locations * sizes - 0.5  # cell centres are at whole numbers
        low = paddle.floor(position)
        cells, inside = [], []
        for cell, weight in ((low, low + 1 - position), (low + 1, position - low)):
            bounded = paddle.minimum(paddle.clip(cell, min=0.0), last)
            inside.append(weight * (bounded == cell).astype(weight.dtype))
            cells.append(bounded.astype("int32"))
        index, share = [], []
        for x in range(2):
            for y in range(2):
                index.append(first + cells[y][..., 1] * columns + cells[x][..., 0])
                share.append(inside[x][..., 0] * inside[y][..., 1])
        return paddle.concat(index, axis=-1), paddle.concat(share, axis=-1)
