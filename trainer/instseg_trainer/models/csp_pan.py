"""CSP-PAN, the neck of PP-YOLOE: a top-down and a bottom-up path of CSP stages (PP-YOLOE, section 2.2; PANet, Liu et
al. 2018).
"""

from __future__ import annotations

from collections.abc import Sequence

import paddle
from paddle import nn
from paddle.nn import functional as F

from .layers import BasicBlock, ConvBNLayer


class SPP(nn.Layer):
    """Spatial pyramid pooling: the input beside its 5x5, 9x9 and 13x13 maxima, mixed by a 1x1 convolution (He et al.,
    2014).
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.kernel_sizes = (5, 9, 13)
        self.conv = ConvBNLayer(channels_in * (len(self.kernel_sizes) + 1), channels_out, 1)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        pooled = [F.max_pool2d(x, size, stride=1, padding=size // 2) for size in self.kernel_sizes]
        return self.conv(paddle.concat([x, *pooled], axis=1))


class CSPStage(nn.Layer):
    """Cross stage partial block of the neck; the SPP, where there is one, follows the middle block."""

    def __init__(self, channels_in: int, channels_out: int, blocks: int, spp: bool) -> None:
        super().__init__()
        middle = channels_out // 2
        self.conv1 = ConvBNLayer(channels_in, middle, 1)
        self.conv2 = ConvBNLayer(channels_in, middle, 1)
        self.convs = nn.Sequential()
        for index in range(blocks):
            self.convs.add_sublayer(str(index), BasicBlock(middle, shortcut=False, use_alpha=False))
            if spp and index == (blocks - 1) // 2:
                self.convs.add_sublayer("spp", SPP(middle, middle))
        self.conv3 = ConvBNLayer(middle * 2, channels_out, 1)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.conv3(paddle.concat([self.conv1(x), self.convs(self.conv2(x))], axis=1))


class CSPPAN(nn.Layer):
    """Features of strides 8, 16, 32 -> features of strides 32, 16, 8 (coarsest first, as the head takes them)."""

    def __init__(self, channels_in: Sequence[int], width_mult: float, depth_mult: float) -> None:
        super().__init__()
        channels = [max(round(c * width_mult), 1) for c in (768, 384, 192)]
        blocks = max(round(3 * depth_mult), 1)
        self.fpn_stages = nn.LayerList()
        self.fpn_routes = nn.LayerList()
        self.pan_stages = nn.LayerList()
        self.pan_routes = nn.LayerList()
        for level, (inner, outer) in enumerate(zip(reversed(channels_in), channels, strict=True)):
            from_above = channels[level - 1] // 2 if level else 0
            stage = CSPStage(inner + from_above, outer, blocks, spp=level == 0)
            self.fpn_stages.append(nn.Sequential(stage))
            if level < len(channels) - 1:
                self.fpn_routes.append(ConvBNLayer(outer, outer // 2, 1))
        for level in range(len(channels) - 1):
            self.pan_stages.append(
                nn.Sequential(CSPStage(channels[level] + channels[level + 1], channels[level], blocks, spp=False))
            )
            self.pan_routes.append(ConvBNLayer(channels[level + 1], channels[level + 1], 3, stride=2))
        self.out_channels = channels

    def forward(self, features: Sequence[paddle.Tensor]) -> list[paddle.Tensor]:
        top_down: list[paddle.Tensor] = []
        for level, feature in enumerate(reversed(features)):
            if level:
                # The target size is named, not a scale factor: Paddle stores the factor as float64 and the ONNX
                # converter refuses it.
                route = self.fpn_routes[level - 1](top_down[-1])
                route = F.interpolate(route, size=[2 * route.shape[2], 2 * route.shape[3]], mode="nearest")
                feature = paddle.concat([route, feature], axis=1)  # noqa: PLW2901
            top_down.append(self.fpn_stages[level](feature))

        bottom_up = [top_down[-1]]
        for level in reversed(range(len(top_down) - 1)):
            route = self.pan_routes[level](bottom_up[-1])
            bottom_up.append(self.pan_stages[level](paddle.concat([route, top_down[level]], axis=1)))
        return bottom_up[::-1]
