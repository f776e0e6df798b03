"""CSPRepResNet, the backbone of PP-YOLOE (Xu et al., "PP-YOLOE: An evolved version of YOLO", 2022, section 2.2)."""

from __future__ import annotations

import paddle
from paddle import nn

from .layers import BasicBlock, ConvBNLayer, EffectiveSELayer


class CSPResStage(nn.Layer):
    """Halves the resolution, then `blocks` residual blocks on half of the channels (cross stage partial)."""

    def __init__(self, channels_in: int, channels_out: int, blocks: int, use_alpha: bool) -> None:
        super().__init__()
        middle = (channels_in + channels_out) // 2
        self.conv_down = ConvBNLayer(channels_in, middle, 3, stride=2)
        self.conv1 = ConvBNLayer(middle, middle // 2, 1)
        self.conv2 = ConvBNLayer(middle, middle // 2, 1)
        self.blocks = nn.Sequential(
            *[BasicBlock(middle // 2, shortcut=True, use_alpha=use_alpha) for _ in range(blocks)]
        )
        self.attn = EffectiveSELayer(middle)
        self.conv3 = ConvBNLayer(middle, channels_out, 1)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        x = self.conv_down(x)
        x = paddle.concat([self.conv1(x), self.blocks(self.conv2(x))], axis=1)
        return self.conv3(self.attn(x))


class CSPResNet(nn.Layer):
    """images (B, 3, H, W) -> features of strides 8, 16, 32.

    Args:
        width_mult: factor on the channels 64, 128, 256, 512, 1024.
        depth_mult: factor on the blocks 3, 6, 6, 3.
    """

    def __init__(self, width_mult: float, depth_mult: float, use_alpha: bool = True) -> None:
        super().__init__()
        channels = [max(round(c * width_mult), 1) for c in (64, 128, 256, 512, 1024)]
        blocks = [max(round(n * depth_mult), 1) for n in (3, 6, 6, 3)]
        half = channels[0] // 2
        self.stem = nn.Sequential(
            ("conv1", ConvBNLayer(3, half, 3, stride=2)),
            ("conv2", ConvBNLayer(half, half, 3)),
            ("conv3", ConvBNLayer(half, channels[0], 3)),
        )
        self.stages = nn.Sequential(
            *[CSPResStage(channels[i], channels[i + 1], n, use_alpha) for i, n in enumerate(blocks)]
        )
        self.out_channels = channels[2:]

    def forward(self, images: paddle.Tensor) -> list[paddle.Tensor]:
        x = self.stem(images)
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features[1:]
