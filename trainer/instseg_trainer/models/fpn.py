"""Feature pyramid of the R-CNN models and of SOLOv2. Sublayer names are the reference's: they are the weight names."""

from __future__ import annotations

from collections.abc import Sequence

import paddle
from paddle import nn
from paddle.nn import functional as F
from paddle.nn.initializer import XavierUniform


class FPN(nn.Layer):
    """Feature pyramid (Lin et al., "Feature Pyramid Networks for Object Detection", CVPR 2017, section 3).

    Maps of the stages up to res5, finest first, each half the size of the one before it -> one map of `out_channels`
    per stage and, with `extra_level`, every second row and column of the last as one more (stride 64): RPN's largest
    anchors are there. Strides 4, 8, 16, 32, 64.
    """

    def __init__(self, in_channels: Sequence[int], out_channels: int = 256, *, extra_level: bool = True) -> None:
        super().__init__()
        self._extra_level = extra_level
        self._laterals: list[nn.Layer] = []
        self._smoothers: list[nn.Layer] = []
        last = 5
        for stage, channels in zip(range(last + 1 - len(in_channels), last + 1), in_channels):
            # The top has nothing to be added to, and another name for it.
            lateral_name = f"fpn_inner_res{stage}_sum" + ("" if stage == last else "_lateral")
            lateral = nn.Conv2D(channels, out_channels, 1, weight_attr=_xavier(channels))
            smoother = nn.Conv2D(out_channels, out_channels, 3, padding=1, weight_attr=_xavier(out_channels * 9))
            self._laterals.append(self.add_sublayer(lateral_name, lateral))
            self._smoothers.append(self.add_sublayer(f"fpn_res{stage}_sum", smoother))
        self.out_channels = [out_channels] * (len(in_channels) + int(extra_level))

    def forward(self, features: Sequence[paddle.Tensor]) -> list[paddle.Tensor]:
        merged: list[paddle.Tensor] = []
        for lateral, feature in zip(reversed(self._laterals), reversed(features)):
            level = lateral(feature)
            if merged:
                # By size, not by factor: Paddle keeps the factor as a float64, which paddle2onnx does not read.
                level = level + F.interpolate(merged[-1], size=level.shape[2:], mode="nearest")
            merged.append(level)
        levels = [smooth(level) for smooth, level in zip(self._smoothers, reversed(merged))]
        if self._extra_level:
            levels.append(F.max_pool2d(levels[-1], kernel_size=1, stride=2))
        return levels


def _xavier(fan_out: int) -> paddle.ParamAttr:
    """Xavier initialisation with the fan-out the reference states; the fan-in is the weight's own."""
    return paddle.ParamAttr(initializer=XavierUniform(fan_out=fan_out))
