"""Head of PP-YOLOE_seg: class scores, box distances, mask coefficients per anchor point, and mask prototypes.

Detection part: Xu et al., "PP-YOLOE", 2022 (ET-head, DFL). Masks: Bolya et al., "YOLACT", ICCV 2019 (prototypes times
coefficients).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import paddle
from paddle import nn
from paddle.nn import functional as F

from .layers import ConvBNLayer

STRIDES = (32, 16, 8)
"""Input pixels per cell of the three feature maps, coarsest first."""
REG_MAX = 16
"""Distances are a distribution over 0 .. REG_MAX strides (Li et al., "Generalized Focal Loss", 2020)."""
PRIOR_PROBABILITY = 0.01
"""Score of every class before training (Lin et al., "Focal Loss", 2017, section 4.1)."""


@dataclass
class HeadOutputs:
    """What the head says of a batch, L anchor points over all levels, coarsest level first.

    class_logits: (B, L, num_classes); distance_logits: (B, L, 4 * (REG_MAX + 1)), left, top, right, bottom;
    mask_coefficients: (B, L, num_masks); prototypes: (B, num_masks, H / 4, W / 4).
    anchor_points: (L, 2) x, y in input pixels; strides: (L, 1).
    """

    class_logits: paddle.Tensor
    distance_logits: paddle.Tensor
    mask_coefficients: paddle.Tensor
    prototypes: paddle.Tensor
    anchor_points: paddle.Tensor
    strides: paddle.Tensor


class ESEAttention(nn.Layer):
    """The head's attention: features times a channel gate taken from their mean, then a 1x1 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Conv2D(
            channels,
            channels,
            1,
            weight_attr=paddle.ParamAttr(initializer=nn.initializer.Normal(std=0.001)),
        )
        self.conv = ConvBNLayer(channels, channels, 1)

    def forward(self, feature: paddle.Tensor, mean: paddle.Tensor) -> paddle.Tensor:
        return self.conv(feature * F.sigmoid(self.fc(mean)))


class MaskPrototypes(nn.Layer):
    """Prototypes at twice the finest map's resolution: (B, C, H / 8, W / 8) -> (B, num_masks, H / 4, W / 4)."""

    def __init__(self, channels_in: int, channels: int, num_masks: int) -> None:
        super().__init__()
        self.conv1 = ConvBNLayer(channels_in, channels, 3)
        self.upsample = nn.Conv2DTranspose(channels, channels, 2, stride=2)
        self.conv2 = ConvBNLayer(channels, channels, 3)
        self.conv3 = ConvBNLayer(channels, num_masks, 1)

    def forward(self, feature: paddle.Tensor) -> paddle.Tensor:
        return self.conv3(self.conv2(self.upsample(self.conv1(feature))))


@paddle.jit.not_to_static
def make_anchor_points(shapes: Sequence[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Cell centres of each level's (height, width) in input pixels (L, 2), and the stride of each (L, 1), float32."""
    points, point_strides = [], []
    for (height, width), stride in zip(shapes, STRIDES, strict=True):
        y, x = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
        points.append((np.stack([x, y], axis=-1).reshape(-1, 2) + 0.5) * stride)
        point_strides.append(np.full((height * width, 1), stride))
    return np.concatenate(points).astype(np.float32), np.concatenate(point_strides).astype(np.float32)


class PPYOLOESegHead(nn.Layer):
    """Features of strides 32, 16, 8 -> `HeadOutputs`."""

    def __init__(self, channels_in: Sequence[int], num_classes: int, width_mult: float, num_masks: int = 32) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.num_masks = num_masks
        self.stem_cls = nn.LayerList([ESEAttention(c) for c in channels_in])
        self.stem_reg = nn.LayerList([ESEAttention(c) for c in channels_in])
        self.stem_ins = nn.LayerList([ESEAttention(c) for c in channels_in])
        constant = nn.initializer.Constant
        prior_bias = -math.log((1 - PRIOR_PROBABILITY) / PRIOR_PROBABILITY)

        def predictor(channels: int, outputs: int, bias: float | None = None) -> nn.Conv2D:
            zero = None if bias is None else paddle.ParamAttr(initializer=constant(0.0))
            start = None if bias is None else paddle.ParamAttr(initializer=constant(bias))
            return nn.Conv2D(channels, outputs, 3, padding=1, weight_attr=zero, bias_attr=start)

        self.pred_cls = nn.LayerList([predictor(c, num_classes, prior_bias) for c in channels_in])
        self.pred_reg = nn.LayerList([predictor(c, 4 * (REG_MAX + 1), 1.0) for c in channels_in])
        self.pred_ins = nn.LayerList([predictor(c, num_masks) for c in channels_in])
        # A fixed ramp 0 .. REG_MAX: the expectation of a distance distribution as a 1x1 convolution.
        self.proj_conv = nn.Conv2D(REG_MAX + 1, 1, 1, bias_attr=False)
        self.proj_conv.weight.set_value(paddle.arange(REG_MAX + 1, dtype="float32").reshape([1, REG_MAX + 1, 1, 1]))
        self.proj_conv.weight.stop_gradient = True
        self.proto = MaskPrototypes(channels_in[-1], int(256 * width_mult), num_masks)

    def forward(self, features: Sequence[paddle.Tensor]) -> HeadOutputs:
        logits, distances, coefficients, shapes = [], [], [], []
        prototypes = self.proto(features[-1])
        for level, feature in enumerate(features):
            mean = F.adaptive_avg_pool2d(feature, (1, 1))
            class_logit = self.pred_cls[level](self.stem_cls[level](feature, mean) + feature)
            distance = self.pred_reg[level](self.stem_reg[level](feature, mean))
            coefficient = self.pred_ins[level](self.stem_ins[level](feature, mean) + feature)
            logits.append(class_logit.flatten(2).transpose([0, 2, 1]))
            distances.append(distance.flatten(2).transpose([0, 2, 1]))
            coefficients.append(coefficient.flatten(2).transpose([0, 2, 1]))
            shapes.append((int(feature.shape[2]), int(feature.shape[3])))
        anchor_points, strides = make_anchor_points(shapes)
        return HeadOutputs(
            paddle.concat(logits, axis=1),
            paddle.concat(distances, axis=1),
            paddle.concat(coefficients, axis=1),
            prototypes,
            paddle.to_tensor(anchor_points),
            paddle.to_tensor(strides),
        )

    def expected_distances(self, distance_logits: paddle.Tensor) -> paddle.Tensor:
        """(B, L, 4 * (REG_MAX + 1)) -> expected left, top, right, bottom in strides (B, L, 4)."""
        points = distance_logits.shape[1]
        distribution = F.softmax(distance_logits.reshape([-1, points, 4, REG_MAX + 1]), axis=-1)
        return self.proj_conv(distribution.transpose([0, 3, 1, 2])).squeeze(1)


def distances_to_boxes(points: paddle.Tensor, distances: paddle.Tensor) -> paddle.Tensor:
    """points (L, 2) x, y and distances (B, L, 4) left, top, right, bottom in one unit -> boxes (B, L, 4) xyxy."""
    left_top, right_bottom = paddle.split(distances, 2, axis=-1)
    return paddle.concat([points - left_top, points + right_bottom], axis=-1)
