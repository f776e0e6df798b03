"""Neck of Mask-RT-DETR: the efficient hybrid encoder and the mask features.

Encoder: Zhao et al., "DETRs Beat YOLOs on Real-time Object Detection" (RT-DETR), CVPR 2024, section 4.2: attention
inside one scale (AIFI), convolutional fusion across scales (CCFM). Mask features: a sum over the pyramid at stride 8
(Kirillov et al., "Panoptic Feature Pyramid Networks", CVPR 2019, section 3.1), doubled and joined with stride 4.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle import nn
from paddle.nn import functional as F

from .attention import MultiHeadAttention
from .layers import ConvBNLayer, RepVGGBlock, batch_norm


@dataclass(frozen=True)
class EncoderLayout:
    """Attention inside one scale. heads, feedforward: of every layer; levels: which of the backbone's four features
    get it, counted from stride 4, each with its own `layers` layers.
    """

    levels: tuple[int, ...] = (3,)
    layers: int = 1
    heads: int = 8
    feedforward: int = 1024
    dropout: float = 0.0


@dataclass(frozen=True)
class NeckLayout:
    """channels: of the three outputs; expansion: of the fusion blocks' inner channels; mask_channels: inside the mask
    features' pyramid and behind it; prototypes: channels of the mask features; attention: see `EncoderLayout`.
    """

    channels: int = 256
    expansion: float = 1.0
    mask_channels: tuple[int, int] = (64, 64)
    prototypes: int = 32
    attention: EncoderLayout = field(default_factory=EncoderLayout)


def conv_bn_silu(channels_in: int, channels_out: int, kernel_size: int, stride: int = 1) -> ConvBNLayer:
    """`ConvBNLayer` starting from a uniform distribution of half-width 1 / sqrt(inputs), as the reference's neck."""
    layer = ConvBNLayer(channels_in, channels_out, kernel_size, stride)
    bound = 1 / math.sqrt(channels_in * kernel_size**2)
    nn.initializer.Uniform(-bound, bound)(layer.conv.weight)
    return layer


def uniform_linear(inputs: int, outputs: int) -> nn.Linear:
    """Linear layer whose weights and biases start uniform in +-1 / sqrt(inputs)."""
    bound = 1 / math.sqrt(inputs)
    weight_attr, bias_attr = (paddle.ParamAttr(initializer=nn.initializer.Uniform(-bound, bound)) for _ in range(2))
    return nn.Linear(inputs, outputs, weight_attr=weight_attr, bias_attr=bias_attr)


@paddle.jit.not_to_static
def sine_position_embedding(
    height: int, width: int, channels: int, temperature: float = 10000.0
) -> NDArray[np.float32]:
    """Sines and cosines of row and column (Vaswani et al., 2017, section 3.5, in two dimensions).

    (1, height * width, channels): a quarter each sin(row), cos(row), sin(column), cos(column), row by row. (The
    reference mixes up the two axes where an image is not square; on squares this is the same.)
    """
    if channels % 4:
        raise ValueError(f"{channels} channels: sines and cosines of two coordinates need a multiple of 4")
    quarter = channels // 4
    frequencies = np.float32(1.0) / np.float32(temperature) ** (np.arange(quarter, dtype=np.float32) / quarter)
    rows, columns = np.meshgrid(np.arange(height, dtype=np.float32), np.arange(width, dtype=np.float32), indexing="ij")
    angles = [position.reshape(-1, 1) * frequencies for position in (rows, columns)]
    embedding = np.concatenate([f(angle) for angle in angles for f in (np.sin, np.cos)], axis=1)
    return embedding[None].astype(np.float32)


class TransformerEncoderLayer(nn.Layer):
    """Self-attention and a feed-forward network with GELU, each with shortcut and LayerNorm: (B, N, C) -> (B, N, C)."""

    def __init__(self, channels: int, layout: EncoderLayout) -> None:
        super().__init__()
        self.self_attn = MultiHeadAttention(channels, layout.heads, layout.dropout)
        self.linear1 = uniform_linear(channels, layout.feedforward)
        self.dropout = nn.Dropout(layout.dropout)
        self.linear2 = uniform_linear(layout.feedforward, channels)
        self.norm1 = nn.LayerNorm(channels)
        self.norm2 = nn.LayerNorm(channels)
        self.dropout1 = nn.Dropout(layout.dropout)
        self.dropout2 = nn.Dropout(layout.dropout)

    def forward(self, x: paddle.Tensor, position: paddle.Tensor) -> paddle.Tensor:
        located = x + position
        x = self.norm1(x + self.dropout1(self.self_attn(located, located, x)))
        return self.norm2(x + self.dropout2(self.linear2(self.dropout(F.gelu(self.linear1(x))))))


class TransformerEncoder(nn.Layer):
    def __init__(self, channels: int, layout: EncoderLayout) -> None:
        super().__init__()
        self.layers = nn.LayerList([TransformerEncoderLayer(channels, layout) for _ in range(layout.layers)])

    def forward(self, x: paddle.Tensor, position: paddle.Tensor) -> paddle.Tensor:
        for layer in self.layers:
            x = layer(x, position)
        return x


class CSPRepLayer(nn.Layer):
    """Fusion block: one of two 1x1 branches runs through three RepVGG blocks, then both are added."""

    def __init__(self, channels_in: int, channels_out: int, expansion: float, blocks: int = 3) -> None:
        super().__init__()
        hidden = int(channels_out * expansion)
        self.conv1 = conv_bn_silu(channels_in, hidden, 1)
        self.conv2 = conv_bn_silu(channels_in, hidden, 1)
        self.bottlenecks = nn.Sequential(*[RepVGGBlock(hidden, use_alpha=False) for _ in range(blocks)])
        self.conv3 = nn.Identity() if hidden == channels_out else conv_bn_silu(hidden, channels_out, 1)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.conv3(self.bottlenecks(self.conv1(x)) + self.conv2(x))


class Double(nn.Layer):
    """Twice the height and the width, bilinear. A layer, because its place counts in the names of the weights."""

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        # `size` and not `scale_factor`: the ONNX converter cannot take the latter.
        return F.interpolate(x, [2 * x.shape[2], 2 * x.shape[3]], mode="bilinear", align_corners=False)


class MaskFeatureHead(nn.Layer):
    """Features of strides 8, 16, 32, finest first -> their convolved and upsampled sum at stride 8."""

    def __init__(self, channels_in: int, channels: int, channels_out: int) -> None:
        super().__init__()
        self.scale_heads = nn.LayerList()
        for level in range(3):
            # One convolution at least; the coarser levels are doubled behind each until they have the finest's size.
            parts: list[nn.Layer] = []
            for step in range(max(1, level)):
                parts.append(nn.Sequential(conv_bn_silu(channels if step else channels_in, channels, 3)))
                if level > 0:
                    parts.append(Double())
            self.scale_heads.append(nn.Sequential(*parts))
        self.output_conv = conv_bn_silu(channels, channels_out, 3)

    def forward(self, features: Sequence[paddle.Tensor]) -> paddle.Tensor:
        finest, middle, coarsest = (head(feature) for head, feature in zip(self.scale_heads, features))
        return self.output_conv(finest + middle + coarsest)


class MaskHybridEncoder(nn.Layer):
    """Backbone features of strides 4, 8, 16, 32 -> features of strides 8, 16, 32 (B, `channels`, ...) and the mask
    features (B, `prototypes`, H / 4, W / 4). H and W are multiples of 32.
    """

    def __init__(self, channels_in: Sequence[int], layout: NeckLayout) -> None:
        super().__init__()
        channels, attention = layout.channels, layout.attention
        self.channels = channels
        self.levels = tuple(level - 1 for level in attention.levels)
        self.input_proj = nn.LayerList(
            [nn.Sequential(nn.Conv2D(c, channels, 1, bias_attr=False), batch_norm(channels)) for c in channels_in[1:]]
        )
        self.encoder = nn.LayerList([TransformerEncoder(channels, attention) for _ in self.levels])

        def fusion() -> CSPRepLayer:
            return CSPRepLayer(2 * channels, channels, layout.expansion)

        self.lateral_convs = nn.LayerList([conv_bn_silu(channels, channels, 1) for _ in range(2)])
        self.fpn_blocks = nn.LayerList([fusion() for _ in range(2)])
        self.downsample_convs = nn.LayerList([conv_bn_silu(channels, channels, 3, stride=2) for _ in range(2)])
        self.pan_blocks = nn.LayerList([fusion() for _ in range(2)])
        inner, outer = layout.mask_channels
        self.mask_feat_head = MaskFeatureHead(channels, inner, outer)
        self.upsample = Double()
        self.enc_mask_lateral = conv_bn_silu(channels_in[0], outer, 3)
        self.enc_mask_output = nn.Sequential(conv_bn_silu(outer, outer, 3), nn.Conv2D(outer, layout.prototypes, 1))

    def forward(self, features: Sequence[paddle.Tensor]) -> tuple[list[paddle.Tensor], paddle.Tensor]:
        stride_4, *coarser = features
        projected = [projection(feature) for projection, feature in zip(self.input_proj, coarser)]
        for encoder, level in zip(self.encoder, self.levels):
            projected[level] = self._attend(encoder, projected[level])
        pyramid = self._fuse(projected)
        mask_features = self.upsample(self.mask_feat_head(pyramid)) + self.enc_mask_lateral(stride_4)
        return pyramid, self.enc_mask_output(mask_features)

    def _attend(self, encoder: nn.Layer, feature: paddle.Tensor) -> paddle.Tensor:
        height, width = int(feature.shape[2]), int(feature.shape[3])
        position = paddle.to_tensor(sine_position_embedding(height, width, self.channels))
        tokens = encoder(feature.flatten(2).transpose([0, 2, 1]), position)
        return tokens.transpose([0, 2, 1]).reshape([-1, self.channels, height, width])

    def _fuse(self, features: Sequence[paddle.Tensor]) -> list[paddle.Tensor]:
        """Strides 8, 16, 32: from the coarsest to the finest, then back."""
        down = [features[2]]
        for step, feature in enumerate((features[1], features[0])):
            down[-1] = self.lateral_convs[step](down[-1])
            size = [int(feature.shape[2]), int(feature.shape[3])]
            up = F.interpolate(down[-1], size, mode="nearest")
            down.append(self.fpn_blocks[step](paddle.concat([up, feature], axis=1)))
        result = [down[2]]
        for step, feature in enumerate((down[1], down[0])):
            halved = self.downsample_convs[step](result[-1])
            result.append(self.pan_blocks[step](paddle.concat([halved, feature], axis=1)))
        return result
