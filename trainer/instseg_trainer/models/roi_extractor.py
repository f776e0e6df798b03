"""Cutting boxes out of feature maps (He et al., "Mask R-CNN", ICCV 2017, section 3, RoIAlign)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import paddle
from paddle import nn
from paddle.vision import ops


class RoIExtractor(nn.Layer):
    """Boxes -> squares of features, each from the feature map that suits the box's size.

    Args:
        resolution: rows and columns of a square.
        strides: input pixels per cell of the feature maps to cut from, powers of two, each twice the one before;
            further maps are left alone.
        aligned: whether a cell's value stands for its centre, half a cell from its corner. The reference's code of
            today ignores its configuration and says no.
        canonical_level, canonical_size: boxes of this size (root of the area, input pixels) belong to stride
            2 ** level (Lin et al., "Feature Pyramid Networks", CVPR 2017, equation 1).
        sampling_ratio: points per row and column of a square's cell; 0: as many as feature cells lie in it.
    """

    def __init__(
        self,
        resolution: int,
        strides: Sequence[int],
        aligned: bool = False,
        canonical_level: int = 4,
        canonical_size: int = 224,
        sampling_ratio: int = 0,
    ) -> None:
        super().__init__()
        self.resolution = resolution
        self.strides = tuple(strides)
        self.aligned = aligned
        self.canonical_level = canonical_level
        self.canonical_size = canonical_size
        self.sampling_ratio = sampling_ratio

    def forward(self, features: Sequence[paddle.Tensor], rois: Sequence[paddle.Tensor]) -> paddle.Tensor:
        """features: (B, C, H, W) each; rois: per image (R_i, 4) x1, y1, x2, y2 in input pixels -> (sum of R_i, C,
        resolution, resolution), in the order of the boxes.
        """
        counts = paddle.to_tensor([len(image_rois) for image_rois in rois], dtype="int32")
        return self._extract(features, paddle.concat(list(rois)), counts)

    def of_one_image(self, features: Sequence[paddle.Tensor], boxes: paddle.Tensor) -> paddle.Tensor:
        """`forward` for the boxes (R, 4) of one image in a traced graph, where R is known at run time only."""
        return self._extract(features, boxes, paddle.shape(boxes)[:1].astype("int32"))

    def _extract(self, features: Sequence[paddle.Tensor], boxes: paddle.Tensor, counts: paddle.Tensor) -> paddle.Tensor:
        if len(self.strides) == 1:
            return self._align(features[0], boxes, counts, self.strides[0])
        lowest, highest = (int(math.log2(stride)) for stride in (self.strides[0], self.strides[-1]))
        level_boxes, restore, level_counts = ops.distribute_fpn_proposals(
            boxes, lowest, highest, self.canonical_level, self.canonical_size, rois_num=counts
        )
        squares = [
            self._align(features[level], level_boxes[level], level_counts[level], stride)
            for level, stride in enumerate(self.strides)
        ]
        return paddle.gather(paddle.concat(squares), restore.flatten())

    def _align(self, feature: paddle.Tensor, boxes: paddle.Tensor, counts: paddle.Tensor, stride: int) -> paddle.Tensor:
        return ops.roi_align(
            feature,
            boxes,
            counts,
            self.resolution,
            spatial_scale=1.0 / stride,
            sampling_ratio=self.sampling_ratio,
            aligned=self.aligned,
        )
