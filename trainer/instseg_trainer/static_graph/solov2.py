"""SOLOv2."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
from paddle import nn
from paddle.nn import functional as F

from ..models.solov2 import SOLOv2
from ..models.solov2_head import ConvGroupNorm
from ..models.solov2_postprocess import MASK_FEATURE_STRIDE, matrix_nms
from .rows import at_least_one, one_image, original_size, row_count


class _GroupNorm(nn.Layer):
    """`nn.GroupNorm` by way of layer normalisation: the group norm that one release of Paddle saves is not read by the
    next (3.2 wants its epsilon as float32, 3.3 as float64).
    """

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.groups, self.epsilon = int(norm._num_groups), float(norm._epsilon)
        self.weight, self.bias = norm.weight, norm.bias

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        batch, channels, height, width = x.shape
        grouped = x.reshape([batch, self.groups, -1])
        layer_norm: Any = paddle._C_ops.layer_norm
        x = layer_norm(grouped, None, None, self.epsilon, 2).reshape([batch, channels, height, width])
        return x * self.weight.reshape([1, -1, 1, 1]) + self.bias.reshape([1, -1, 1, 1])


class SOLOv2Graph(nn.Layer):
    """im_shape (1, 2), image (1, 3, H, W), scale_factor (1, 2) -> N (1,) int32; classes (N,) int64; scores (N,); masks
    (N, h, w) uint8 of 0 and 1. Where nothing is found, one instance of score 0.
    """

    def __init__(self, model: SOLOv2) -> None:
        super().__init__()
        self.model = model
        for layer in model.sublayers():
            if isinstance(layer, ConvGroupNorm):
                layer.add_sublayer("norm", _GroupNorm(layer.norm))
        sides = np.square(model.decode.grid_sizes)
        self.minimum_areas = np.repeat(np.asarray(model.decode.minimum_areas, np.float32), sides)

    def forward(
        self, im_shape: paddle.Tensor, image: paddle.Tensor, scale_factor: paddle.Tensor
    ) -> tuple[paddle.Tensor, ...]:
        im_shape, scale_factor = one_image(im_shape), one_image(scale_factor)
        outputs = self.model.stage_outputs(image)
        decode, scores, features = self.model.decode, outputs.scores[0], outputs.mask_features
        candidates = at_least_one(paddle.nonzero(scores > decode.score_threshold), [0, 0])
        cells, class_ids = candidates[:, 0], candidates[:, 1]
        class_scores = paddle.gather_nd(scores, candidates)
        # Cell 0 stands in where there is no candidate.
        class_scores = class_scores * (class_scores > decode.score_threshold).astype("float32")
        kernels = paddle.gather(outputs.kernels[0], cells)

        probabilities = F.sigmoid(kernels @ features[0].flatten(1))
        inside = (probabilities > decode.mask_threshold).astype("float32")
        areas = inside.sum(axis=1)
        quality = (probabilities * inside).sum(axis=1) / areas.clip(min=1.0)
        enough = areas > paddle.gather(paddle.to_tensor(self.minimum_areas), cells)
        ranked = class_scores * quality * enough.astype("float32")

        order = _best(ranked, ranked > 0, decode.nms_top_k)
        class_ids, ranked = paddle.gather(class_ids, order), paddle.gather(ranked, order)
        probabilities, inside = paddle.gather(probabilities, order), paddle.gather(inside, order)
        ranked = matrix_nms(inside, class_ids, ranked, decode.nms_sigma)
        order = _best(ranked, ranked >= decode.update_threshold, decode.keep_top_k)
        class_ids, ranked = paddle.gather(class_ids, order), paddle.gather(ranked, order)

        height, width = features.shape[2], features.shape[3]
        maps = paddle.gather(probabilities, order).reshape([1, -1, height, width])
        maps = F.interpolate(
            maps,
            [height * MASK_FEATURE_STRIDE, width * MASK_FEATURE_STRIDE],
            mode="bilinear",
            align_corners=False,
        )
        resized = im_shape[0].astype("int32")
        original = original_size(im_shape, scale_factor).astype("int32")
        maps = paddle.slice(maps, [2, 3], [0, 0], [resized[0], resized[1]])
        maps = F.interpolate(maps, [original[0], original[1]], mode="bilinear", align_corners=False)[0]
        masks = (maps > decode.mask_threshold).astype("uint8")
        return row_count(masks), class_ids, ranked, masks


def _best(values: paddle.Tensor, passing: paddle.Tensor, limit: int) -> paddle.Tensor:
    """Places of the largest `limit` values that pass, falling; of the largest value where none does."""
    order = paddle.argsort(values, descending=True)[:limit]
    count = passing.astype("int32").sum().clip(min=1)
    return order[:count]
