"""PP-HGNetV2 (PaddleClas, 2023), the backbone of RT-DETR and Mask-RT-DETR.

A block is a chain of convolutions whose every link is kept: input and all links are concatenated, then aggregated by
two 1x1 convolutions (compare Lee and Park, "VoVNet", CVPRW 2019, one-shot aggregation).
Sublayer names are the reference's: they are the weight names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import paddle
from paddle import nn
from paddle.nn import functional as F
from paddle.regularizer import L2Decay

HGNetV2Size = Literal["S", "M", "L", "X", "H"]


@dataclass(frozen=True)
class StageLayout:
    """One stage: `blocks` blocks of `depth` convolutions with `mid` channels each; the first stage keeps the stem's
    resolution, every later one halves it. light: pointwise plus depthwise instead of full convolutions.
    """

    mid: int
    out: int
    blocks: int
    depth: int
    light: bool = False
    kernel_size: int = 3


@dataclass(frozen=True)
class HGNetV2Layout:
    """stem: channels inside the stem and of its output."""

    stem: tuple[int, int]
    stages: tuple[StageLayout, StageLayout, StageLayout, StageLayout]


def _layout(
    stem: tuple[int, int], mid: tuple[int, ...], out: tuple[int, ...], blocks: tuple[int, ...], depth: int
) -> HGNetV2Layout:
    """In every size the first two stages are full 3x3 convolutions and the last two light 5x5 ones."""
    full_1, full_2 = (StageLayout(mid[i], out[i], blocks[i], depth) for i in (0, 1))
    light_3, light_4 = (StageLayout(mid[i], out[i], blocks[i], depth, light=True, kernel_size=5) for i in (2, 3))
    return HGNetV2Layout(stem, (full_1, full_2, light_3, light_4))


LAYOUTS: dict[HGNetV2Size, HGNetV2Layout] = {
    "S": _layout((24, 32), (32, 48, 96, 192), (64, 256, 512, 1024), (1, 1, 2, 1), depth=3),
    "M": _layout((24, 32), (32, 64, 128, 256), (96, 384, 768, 1536), (1, 1, 3, 1), depth=4),
    "L": _layout((32, 48), (48, 96, 192, 384), (128, 512, 1024, 2048), (1, 1, 3, 1), depth=6),
    "X": _layout((32, 64), (64, 128, 256, 512), (128, 512, 1024, 2048), (1, 2, 5, 2), depth=6),
    "H": _layout((48, 96), (96, 192, 384, 768), (192, 512, 1024, 2048), (2, 3, 6, 3), depth=6),
}


@dataclass(frozen=True)
class LayerOptions:
    """What every convolution of a part of the network shares.

    freeze_norm: the BatchNorm uses its running statistics even in training, and its scale and shift are not trained.
    learning_rate: multiplier of the optimiser's learning rate.
    """

    freeze_norm: bool = True
    learning_rate: float = 1.0


class ConvBNAct(nn.Layer):
    """Convolution without bias, BatchNorm, then ReLU unless `act` is False.

    Odd kernels are padded on all sides, even ones on the right and at the bottom: (B, Cin, H, W) -> (B, Cout,
    ceil(H / stride), ceil(W / stride)).
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel_size: int,
        options: LayerOptions,
        stride: int = 1,
        groups: int = 1,
        act: bool = True,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2D(
            channels_in,
            channels_out,
            kernel_size,
            stride,
            padding=(kernel_size - 1) // 2 if kernel_size % 2 else "SAME",
            groups=groups,
            weight_attr=paddle.ParamAttr(
                learning_rate=options.learning_rate, initializer=nn.initializer.KaimingNormal()
            ),
            bias_attr=False,
        )
        frozen = options.freeze_norm
        attributes = [
            paddle.ParamAttr(
                learning_rate=0.0 if frozen else options.learning_rate,
                regularizer=L2Decay(0.0),
                trainable=not frozen,
            )
            for _ in range(2)
        ]
        self.bn = nn.BatchNorm2D(
            channels_out,
            weight_attr=attributes[0],
            bias_attr=attributes[1],
            use_global_stats=True if frozen else None,
        )
        self.act = act

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        x = self.bn(self.conv(x))
        return F.relu(x) if self.act else x


class LightConvBNAct(nn.Layer):
    """A 1x1 convolution, then a depthwise one with ReLU. The number of channels changes in the first."""

    def __init__(self, channels_in: int, channels_out: int, kernel_size: int, options: LayerOptions) -> None:
        super().__init__()
        self.conv1 = ConvBNAct(channels_in, channels_out, 1, options, act=False)
        self.conv2 = ConvBNAct(channels_out, channels_out, kernel_size, options, groups=channels_out)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.conv2(self.conv1(x))


class StemBlock(nn.Layer):
    """Images (B, 3, H, W) -> (B, C, H / 4, W / 4), with a pooled and a convolved branch in the middle."""

    def __init__(self, channels: int, channels_out: int, options: LayerOptions) -> None:
        super().__init__()
        self.stem1 = ConvBNAct(3, channels, 3, options, stride=2)
        self.stem2a = ConvBNAct(channels, channels // 2, 2, options)
        self.stem2b = ConvBNAct(channels // 2, channels, 2, options)
        self.stem3 = ConvBNAct(2 * channels, channels, 3, options, stride=2)
        self.stem4 = ConvBNAct(channels, channels_out, 1, options)
        self.pool = nn.MaxPool2D(2, stride=1, ceil_mode=True, padding="SAME")

    def forward(self, images: paddle.Tensor) -> paddle.Tensor:
        x = self.stem1(images)
        both = paddle.concat([self.pool(x), self.stem2b(self.stem2a(x))], axis=1)
        return self.stem4(self.stem3(both))


class HGBlock(nn.Layer):
    """A chain of convolutions, aggregated with all of its links; `shortcut` adds the input to the result."""

    def __init__(self, channels_in: int, layout: StageLayout, shortcut: bool, options: LayerOptions) -> None:
        super().__init__()
        convolution = LightConvBNAct if layout.light else ConvBNAct
        self.layers = nn.LayerList(
            [
                convolution(channels_in if i == 0 else layout.mid, layout.mid, layout.kernel_size, options)
                for i in range(layout.depth)
            ]
        )
        total = channels_in + layout.depth * layout.mid
        self.aggregation_squeeze_conv = ConvBNAct(total, layout.out // 2, 1, options)
        self.aggregation_excitation_conv = ConvBNAct(layout.out // 2, layout.out, 1, options)
        self.shortcut = shortcut

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        links = [x]
        for layer in self.layers:
            links.append(layer(links[-1]))
        y = self.aggregation_excitation_conv(self.aggregation_squeeze_conv(paddle.concat(links, axis=1)))
        return y + x if self.shortcut else y


class HGStage(nn.Layer):
    """A depthwise convolution of stride 2 if asked for, then the blocks, all but the first with a shortcut."""

    def __init__(self, channels_in: int, layout: StageLayout, halve: bool, options: LayerOptions) -> None:
        super().__init__()
        self.downsample = (
            ConvBNAct(channels_in, channels_in, 3, options, stride=2, groups=channels_in, act=False) if halve else None
        )
        self.blocks = nn.Sequential(
            *[
                HGBlock(channels_in if i == 0 else layout.out, layout, shortcut=i > 0, options=options)
                for i in range(layout.blocks)
            ]
        )

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        if self.downsample is not None:
            x = self.downsample(x)
        return self.blocks(x)


class PPHGNetV2(nn.Layer):
    """Images (B, 3, H, W) -> features of strides 4, 8, 16 and 32.

    size: "S", "M", "L", "X" or "H". freeze_stem: the stem's weights are not trained; frozen_stages: neither are those
    of the first so many stages. freeze_norm: see `LayerOptions`. learning_rates: multipliers for the stem and each of
    the four stages.
    """

    def __init__(
        self,
        size: HGNetV2Size,
        *,
        freeze_stem: bool = True,
        frozen_stages: int = 0,
        freeze_norm: bool = True,
        learning_rates: Sequence[float] = (1.0, 1.0, 1.0, 1.0, 1.0),
    ) -> None:
        super().__init__()
        layout = LAYOUTS[size]
        stem_options, *stage_options = (LayerOptions(freeze_norm, rate) for rate in learning_rates)
        self.stem = StemBlock(*layout.stem, stem_options)
        self.stages = nn.LayerList()
        channels = layout.stem[1]
        for index, (stage, options) in enumerate(zip(layout.stages, stage_options, strict=True)):
            self.stages.append(HGStage(channels, stage, halve=index > 0, options=options))
            channels = stage.out
        self.out_channels = tuple(stage.out for stage in layout.stages)
        frozen = [self.stem] if freeze_stem else []
        for part in [*frozen, *list(self.stages)[:frozen_stages]]:
            for parameter in part.parameters():
                parameter.stop_gradient = True

    def forward(self, images: paddle.Tensor) -> list[paddle.Tensor]:
        x = self.stem(images)
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features
