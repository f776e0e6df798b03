"""Heads of SOLOv2: mask features, and per grid cell the class scores and the convolution kernel of a mask.

Wang et al., "SOLOv2: Dynamic and Fast Instance Segmentation", NeurIPS 2020, section 3. Sublayer names are the
reference's: they are the weight names. Three of its layers have two names each, so their weights are listed twice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import paddle
from paddle import nn
from paddle.nn import functional as F
from paddle.nn.initializer import Constant, Normal
from paddle.regularizer import L2Decay

PRIOR_PROBABILITY = 0.01
"""Score of every class before training (Lin et al., "Focal Loss", 2017, section 4.1)."""
_NORM_GROUPS = 32


class ConvGroupNorm(nn.Layer):
    """Convolution without bias, then GroupNorm whose scale and shift take no weight decay.
    (B, Cin, H, W) -> (B, Cout, H, W).
    """

    def __init__(self, channels_in: int, channels_out: int, kernel_size: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2D(
            channels_in,
            channels_out,
            kernel_size,
            padding=kernel_size // 2,
            weight_attr=paddle.ParamAttr(initializer=Normal(std=0.01)),
            bias_attr=False,
        )
        self.norm = nn.GroupNorm(
            _NORM_GROUPS,
            channels_out,
            weight_attr=paddle.ParamAttr(regularizer=L2Decay(0.0)),
            bias_attr=paddle.ParamAttr(regularizer=L2Decay(0.0)),
        )

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.norm(self.conv(x))


def with_coordinates(feature: paddle.Tensor) -> paddle.Tensor:
    """(B, C, H, W) -> (B, C + 2, H, W): each cell's x and y appended, -1 in the first column or row and 1 in the last
    (Liu et al., "CoordConv", NeurIPS 2018).
    """
    batch, _, height, width = feature.shape
    x = _minus_one_to_one(width).reshape([1, 1, 1, -1]).expand([batch, 1, height, width])
    y = _minus_one_to_one(height).reshape([1, 1, -1, 1]).expand([batch, 1, height, width])
    return paddle.concat([feature, x, y], axis=1)


def _minus_one_to_one(count: int) -> paddle.Tensor:
    """(count,) float32 in equal steps. Not `linspace`: with a size known at run time, TensorRT refuses its ONNX."""
    steps = paddle.arange(count, dtype="float32")
    return steps * 2.0 / steps[-1:].clip(min=1.0) - 1.0


def _resize(feature: paddle.Tensor, height: int, width: int) -> paddle.Tensor:
    """Bilinear, pixel centres at +0.5. Sizes, not factors: paddle2onnx does not read the factor that Paddle keeps."""
    return F.interpolate(feature, size=[height, width], mode="bilinear", align_corners=False, align_mode=0)


class _MaskFeatureBranch(nn.Layer):
    """Brings pyramid level `level` (0: stride 4) to stride 4: as many times a convolution, ReLU and doubling of the
    size as it is levels away, a convolution and ReLU alone for level 0.
    """

    def __init__(self, level: int, channels_in: int, channels: int) -> None:
        super().__init__()
        self._doubles = level > 0
        self._convolutions: list[nn.Layer] = []
        for index in range(max(level, 1)):
            layer = ConvGroupNorm(channels_in if index == 0 else channels, channels)
            name = f"mask_feat_head.convs_all_levels.{level}.conv{index}"
            self._convolutions.append(self.add_sublayer(name, layer))

    def forward(self, feature: paddle.Tensor) -> paddle.Tensor:
        for convolution in self._convolutions:
            feature = F.relu(convolution(feature))
            if self._doubles:
                height, width = feature.shape[2:]
                # Not 2 * height: paddle2onnx makes a product of floats of it, which OpenVINO's INT8 takes for a scale.
                feature = _resize(feature, height + height, width + width)
        return feature


class SOLOv2MaskHead(nn.Layer):
    """One map of mask features from the pyramid (section 3.3): levels (B, in_channels, ., .) of stride 4, 8, 16, 32
    -> (B, out_channels, H / 4, W / 4). Further levels are not looked at.
    """

    def __init__(
        self, in_channels: int = 256, mid_channels: int = 128, out_channels: int = 256, num_levels: int = 4
    ) -> None:
        super().__init__()
        self.out_channels = out_channels
        self._branches: list[nn.Layer] = []
        for level in range(num_levels):
            # The coarsest level also gets coordinates: masks depend on where they are.
            extra = 2 if level == num_levels - 1 else 0
            branch = _MaskFeatureBranch(level, in_channels + extra, mid_channels)
            self._branches.append(self.add_sublayer(f"conv_pre_feat{level}", branch))
        prediction = ConvGroupNorm(mid_channels, out_channels, 1)
        self.add_sublayer("mask_feat_head.conv_pred.0", prediction)
        self.conv_pred = prediction

    def forward(self, features: Sequence[paddle.Tensor]) -> paddle.Tensor:
        total = self._branches[0](features[0])
        last = len(self._branches) - 1
        for level in range(1, last + 1):
            feature = with_coordinates(features[level]) if level == last else features[level]
            total = total + self._branches[level](feature)
        return F.relu(self.conv_pred(total))


class SOLOv2Head(nn.Layer):
    """Class scores and mask kernels on a square grid per level (sections 3.1 and 3.2).

    Pyramid levels of stride 4, 8, 16, 32, 64, each (B, in_channels, ., .) -> per level class logits
    (B, num_classes, G, G) and kernels (B, kernel_channels, G, G), G from `grid_sizes`, finest grid first. Row i and
    column j of a grid stand for the objects whose centre lies in that cell of the padded input.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 256,
        channels: int = 512,
        num_convolutions: int = 4,
        kernel_channels: int = 256,
        grid_sizes: Sequence[int] = (40, 36, 24, 16, 12),
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.grid_sizes = tuple(grid_sizes)
        self._kernel_tower: list[nn.Layer] = []
        self._class_tower: list[nn.Layer] = []
        for index in range(num_convolutions):
            first = index == 0
            kernel = ConvGroupNorm(in_channels + 2 if first else channels, channels)
            category = ConvGroupNorm(in_channels if first else channels, channels)
            self._kernel_tower.append(self.add_sublayer(f"bbox_head.kernel_convs.{index}", kernel))
            self._class_tower.append(self.add_sublayer(f"bbox_head.cate_convs.{index}", category))
        prior = Constant(-math.log((1 - PRIOR_PROBABILITY) / PRIOR_PROBABILITY))
        solo_kernel = _prediction(channels, kernel_channels, None)
        self.add_sublayer("bbox_head.solo_kernel", solo_kernel)
        self.solo_kernel = solo_kernel
        solo_cate = _prediction(channels, num_classes, paddle.ParamAttr(initializer=prior))
        self.add_sublayer("bbox_head.solo_cate", solo_cate)
        self.solo_cate = solo_cate

    def forward(self, features: Sequence[paddle.Tensor]) -> tuple[list[paddle.Tensor], list[paddle.Tensor]]:
        class_logits, kernels = [], []
        for level, size in zip(self._grid_features(features), self.grid_sizes):
            kernel = _resize(with_coordinates(level), size, size)
            category = kernel[:, :-2]  # the coordinates are for the kernels only
            for kernel_layer, class_layer in zip(self._kernel_tower, self._class_tower):
                kernel = F.relu(kernel_layer(kernel))
                category = F.relu(class_layer(category))
            class_logits.append(self.solo_cate(category))
            kernels.append(self.solo_kernel(kernel))
        return class_logits, kernels

    @staticmethod
    def _grid_features(features: Sequence[paddle.Tensor]) -> list[paddle.Tensor]:
        """The five levels at strides 8, 8, 16, 32, 32."""
        finest, second, third, fourth, coarsest = features
        return [
            _resize(finest, finest.shape[2] // 2, finest.shape[3] // 2),
            second,
            third,
            fourth,
            _resize(coarsest, fourth.shape[2], fourth.shape[3]),
        ]


def _prediction(channels_in: int, channels_out: int, bias_attr: paddle.ParamAttr | None) -> nn.Conv2D:
    weight_attr = paddle.ParamAttr(initializer=Normal(std=0.01))
    return nn.Conv2D(channels_in, channels_out, 3, padding=1, weight_attr=weight_attr, bias_attr=bias_attr)


def points_nms(scores: paddle.Tensor) -> paddle.Tensor:
    """Sets to 0 each cell that is not the largest of itself and its upper, left and upper left neighbour.
    (B, C, G, G) -> the same shape.
    """
    largest = F.max_pool2d(scores, kernel_size=2, stride=1, padding=1)[:, :, :-1, :-1]
    return scores * (largest == scores).astype(scores.dtype)


def flatten_levels(levels: Sequence[paddle.Tensor]) -> paddle.Tensor:
    """Maps (B, C, G, G) of several grids -> (B, L, C): the cells of all grids, row by row, finest grid first."""
    return paddle.concat([level.flatten(2).transpose([0, 2, 1]) for level in levels], axis=1)
