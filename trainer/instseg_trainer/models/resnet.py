"""ResNet 50 and 101, plain or vd, and ResNeXt: the backbones of the R-CNN models and of SOLOv2.

Sublayer names are the reference's: they are the weight names (`res4.res4b22.branch2c.conv.weight`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import paddle
from paddle import nn
from paddle.nn import functional as F
from paddle.regularizer import L2Decay

Variant = Literal["b", "d"]

# Bottleneck blocks in the stages res2, res3, res4 and res5.
_STAGE_BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
_STAGE_WIDTHS = (64, 128, 256, 512)
_EXPANSION = 4


@dataclass(frozen=True)
class BlockOptions:
    """What all convolutions of a stage have in common.

    variant: "b" downsamples a block's shortcut by a strided 1x1 convolution, "d" by a 2x2 average ahead of it (He et
    al., "Bag of Tricks for Image Classification", CVPR 2019, figure 2). groups, base_width: ResNeXt's cardinality and
    its width per group at 64 channels (Xie et al., CVPR 2017, section 3.1). learning_rate: factor on the optimiser's
    rate. freeze_norm: BatchNorm uses its running statistics also in training, and its scale and shift do not learn.
    norm_decay: weight decay of scale and shift.
    """

    variant: Variant = "b"
    groups: int = 1
    base_width: int = 64
    learning_rate: float = 1.0
    freeze_norm: bool = True
    norm_decay: float = 0.0


class ConvNormLayer(nn.Layer):
    """Convolution without bias, BatchNorm, and ReLU if asked for.
    (B, Cin, H, W) -> (B, Cout, ceil(H / stride), ceil(W / stride)).
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel_size: int,
        options: BlockOptions,
        *,
        stride: int = 1,
        groups: int = 1,
        relu: bool = False,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2D(
            channels_in,
            channels_out,
            kernel_size,
            stride=stride,
            padding=kernel_size // 2,
            groups=groups,
            weight_attr=paddle.ParamAttr(learning_rate=options.learning_rate),
            bias_attr=False,
        )
        norm_rate = 0.0 if options.freeze_norm else options.learning_rate
        weight_attr, bias_attr = (
            paddle.ParamAttr(
                learning_rate=norm_rate, regularizer=L2Decay(options.norm_decay), trainable=not options.freeze_norm
            )
            for _ in range(2)
        )
        self.norm = nn.BatchNorm2D(
            channels_out,
            weight_attr=weight_attr,
            bias_attr=bias_attr,
            use_global_stats=True if options.freeze_norm else None,
        )
        self._relu = relu

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        x = self.norm(self.conv(x))
        return F.relu(x) if self._relu else x


class Bottleneck(nn.Layer):
    """1x1, 3x3 and 1x1 convolution with a shortcut around them (He et al., "Deep Residual Learning for Image
    Recognition", CVPR 2016, figure 5); the stride is the 3x3 convolution's.

    (B, Cin, H, W) -> (B, 4 * width, ceil(H / stride), ceil(W / stride)). identity: the shortcut is the input itself.
    """

    def __init__(self, channels_in: int, width: int, stride: int, identity: bool, options: BlockOptions) -> None:
        super().__init__()
        inner = int(width * (options.base_width / 64.0)) * options.groups
        channels_out = width * _EXPANSION
        self.branch2a = ConvNormLayer(channels_in, inner, 1, options, relu=True)
        self.branch2b = ConvNormLayer(inner, inner, 3, options, stride=stride, groups=options.groups, relu=True)
        self.branch2c = ConvNormLayer(inner, channels_out, 1, options)
        self.short: nn.Layer | None = None if identity else _shortcut(channels_in, channels_out, stride, options)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        residual = self.branch2c(self.branch2b(self.branch2a(x)))
        return F.relu(residual + (x if self.short is None else self.short(x)))


def _shortcut(channels_in: int, channels_out: int, stride: int, options: BlockOptions) -> nn.Layer:
    if options.variant == "d" and stride == 2:
        return nn.Sequential(
            ("pool", nn.AvgPool2D(2, 2, ceil_mode=True)),
            ("conv", ConvNormLayer(channels_in, channels_out, 1, options)),
        )
    return ConvNormLayer(channels_in, channels_out, 1, options, stride=stride)


class ResNetStage(nn.Layer):
    """Stage `res{number}`: `count` bottlenecks, the first of which halves height and width unless this is res2.
    (B, channels_in, H, W) -> (B, 4 * width, ceil(H / 2), ceil(W / 2)).
    """

    def __init__(
        self, number: int, channels_in: int, width: int, count: int, options: BlockOptions | None = None
    ) -> None:
        super().__init__()
        options = options or BlockOptions()
        self.out_channels = width * _EXPANSION
        self._blocks: list[nn.Layer] = []
        for index in range(count):
            first = index == 0
            block = Bottleneck(
                channels_in if first else self.out_channels,
                width,
                2 if first and number > 2 else 1,
                identity=not first,
                options=options,
            )
            self._blocks.append(self.add_sublayer(_block_name(number, index, count), block))

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        for block in self._blocks:
            x = block(x)
        return x


def _block_name(stage: int, index: int, count: int) -> str:
    """res3a, res3b, ...; the long res4 of depth 101 has res4a, res4b1, res4b2, ..."""
    if stage == 4 and count > 10:
        return f"res{stage}a" if index == 0 else f"res{stage}b{index}"
    return f"res{stage}{chr(ord('a') + index)}"


class ResNet(nn.Layer):
    """images (B, 3, H, W) -> the feature maps of the chosen stages, res2 first: strides 4, 8, 16, 32, channels 256,
    512, 1024, 2048.

    Args:
        depth: 50 or 101.
        variant: see `BlockOptions`; "d" also has three 3x3 convolutions in place of the first 7x7.
        groups, base_width: see `BlockOptions`; 64 and 4 make a ResNeXt 64x4d.
        return_stages: which stages' maps to return; 0 stands for res2.
        num_stages: stages to build; 3 leaves res5 out, which C4 models have in their head.
        freeze_at: last stage that does not learn, the stem included; -1: everything learns.
        freeze_norm, norm_decay: see `BlockOptions`.
        learning_rates: per stage, factors on the optimiser's rate (`optimize_attr` of the parameters).
    """

    def __init__(
        self,
        depth: int = 50,
        variant: Variant = "b",
        *,
        groups: int = 1,
        base_width: int = 64,
        return_stages: Sequence[int] = (0, 1, 2, 3),
        num_stages: int = 4,
        freeze_at: int = 0,
        freeze_norm: bool = True,
        norm_decay: float = 0.0,
        learning_rates: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
    ) -> None:
        super().__init__()
        if depth not in _STAGE_BLOCKS:
            raise ValueError(f"depth of a ResNet must be one of {sorted(_STAGE_BLOCKS)}, found {depth}")
        if not return_stages or max(return_stages) >= num_stages:
            raise ValueError(f"stages to return {list(return_stages)}: expected some of 0..{num_stages - 1}")
        self.conv1 = _stem(variant, BlockOptions(freeze_norm=freeze_norm, norm_decay=norm_decay))
        channels = _STAGE_WIDTHS[0]
        self._stages: list[ResNetStage] = []
        for index in range(num_stages):
            options = BlockOptions(variant, groups, base_width, learning_rates[index], freeze_norm, norm_decay)
            stage = ResNetStage(index + 2, channels, _STAGE_WIDTHS[index], _STAGE_BLOCKS[depth][index], options)
            self.add_sublayer(f"res{index + 2}", stage)
            self._stages.append(stage)
            channels = stage.out_channels
        self._return_stages = frozenset(return_stages)
        chosen = sorted(self._return_stages)
        self.out_channels = [self._stages[index].out_channels for index in chosen]
        self.out_strides = [4 << index for index in chosen]
        if freeze_at >= 0:
            for layer in (self.conv1, *self._stages[: freeze_at + 1]):
                for parameter in layer.parameters():
                    parameter.stop_gradient = True

    def forward(self, images: paddle.Tensor) -> list[paddle.Tensor]:
        x = F.max_pool2d(self.conv1(images), kernel_size=3, stride=2, padding=1)
        maps = []
        for index, stage in enumerate(self._stages):
            x = stage(x)
            if index in self._return_stages:
                maps.append(x)
        return maps


def _stem(variant: Variant, options: BlockOptions) -> nn.Sequential:
    """(B, 3, H, W) -> (B, 64, H / 2, W / 2)."""
    if variant == "b":
        return nn.Sequential(("conv1", ConvNormLayer(3, 64, 7, options, stride=2, relu=True)))
    return nn.Sequential(
        ("conv1_1", ConvNormLayer(3, 32, 3, options, stride=2, relu=True)),
        ("conv1_2", ConvNormLayer(32, 32, 3, options, relu=True)),
        ("conv1_3", ConvNormLayer(32, 64, 3, options, relu=True)),
    )


class Res5Head(nn.Layer):
    """The stage res5 on cut-out features, for the C4 head: (R, 1024, H, W) -> (R, 2048, ceil(H / 2), ceil(W / 2)).

    Its norms are frozen, its convolutions learn at the full rate.
    """

    def __init__(self) -> None:
        super().__init__()
        self.res5 = ResNetStage(5, 1024, _STAGE_WIDTHS[3], 3)
        self.out_channels = self.res5.out_channels

    def forward(self, features: paddle.Tensor) -> paddle.Tensor:
        return self.res5(features)
