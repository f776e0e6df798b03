"""Anchors: the boxes that a region proposal network corrects (Ren et al., "Faster R-CNN", NeurIPS 2015, section
3.1.1).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import paddle
from numpy.typing import NDArray


class AnchorGenerator:
    """Anchors of every cell of every feature map.

    Args:
        sizes: per feature map, square roots of the anchors' areas, in input pixels.
        strides: per feature map, input pixels per cell.
        aspect_ratios: height over width; each size comes in every ratio, the ratios innermost.
        offset: where in a cell its anchors are centred, in strides from the cell's left top corner.
    """

    def __init__(
        self,
        sizes: Sequence[Sequence[float]],
        strides: Sequence[int],
        aspect_ratios: Sequence[float] = (0.5, 1.0, 2.0),
        offset: float = 0.0,
    ) -> None:
        if len(sizes) != len(strides):
            raise ValueError(f"{len(sizes)} lists of anchor sizes for {len(strides)} feature maps")
        self.sizes = tuple(tuple(level_sizes) for level_sizes in sizes)
        self.aspect_ratios = tuple(aspect_ratios)
        self.strides = tuple(strides)
        self.num_anchors = len(sizes[0]) * len(aspect_ratios)
        self._offset = offset
        self._cells = [_cell_anchors(level_sizes, aspect_ratios) for level_sizes in sizes]

    def __call__(self, shapes: Sequence[tuple[int, int]]) -> list[paddle.Tensor]:
        """(height, width) of each feature map -> anchors (height * width * num_anchors, 4) float32 of each, x1, y1,
        x2, y2 in input pixels, row by row of cells, the anchors of a cell side by side.
        """
        levels = []
        for (height, width), stride, cell in zip(shapes, self.strides, self._cells):
            y, x = np.meshgrid(
                (np.arange(height) + self._offset) * stride, (np.arange(width) + self._offset) * stride, indexing="ij"
            )
            corners = np.stack([x, y, x, y], axis=-1).astype(np.float32)
            anchors = corners.reshape(-1, 1, 4) + cell
            levels.append(paddle.to_tensor(anchors.reshape(-1, 4)))
        return levels

    def on_map(self, level: int, height: paddle.Tensor, width: paddle.Tensor) -> paddle.Tensor:
        """The anchors of one feature map in a traced graph, where its height and width are known at run time only."""
        stride = float(self.strides[level])
        x = (paddle.arange(width, dtype="float32") + self._offset) * stride
        y = (paddle.arange(height, dtype="float32") + self._offset) * stride
        x, y = x.reshape([1, -1, 1, 1]), y.reshape([-1, 1, 1, 1])
        # (height, width, 1, 4): x, y, x, y of every cell.
        corners = paddle.concat([x + 0.0 * y, y + 0.0 * x] * 2, axis=3)
        return (corners + paddle.to_tensor(self._cells[level])).reshape([-1, 4])


def _cell_anchors(sizes: Sequence[float], aspect_ratios: Sequence[float]) -> NDArray[np.float32]:
    """(sizes * ratios, 4): the anchors of one cell around (0, 0)."""
    areas, ratios = np.meshgrid(np.square(np.asarray(sizes, np.float64)), aspect_ratios, indexing="ij")
    widths = np.sqrt(areas / ratios).ravel()
    halves = 0.5 * np.stack([widths, widths * ratios.ravel()], axis=1)
    return np.concatenate([-halves, halves], axis=1).astype(np.float32)
