"""Layers that several backbones, necks and heads share. Sublayer names are the reference's: they are the weight
names.
"""

from __future__ import annotations

import paddle
from paddle import nn
from paddle.nn import functional as F
from paddle.regularizer import L2Decay


def swish(x: paddle.Tensor) -> paddle.Tensor:
    """x * sigmoid(x) (Ramachandran et al., "Searching for Activation Functions", 2017)."""
    return F.silu(x)


def batch_norm(channels: int) -> nn.BatchNorm2D:
    """BatchNorm whose scale and shift take no weight decay, as every PP-YOLOE recipe has it."""
    return nn.BatchNorm2D(
        channels,
        weight_attr=paddle.ParamAttr(regularizer=L2Decay(0.0)),
        bias_attr=paddle.ParamAttr(regularizer=L2Decay(0.0)),
    )


class ConvBNLayer(nn.Layer):
    """Convolution without bias, BatchNorm, then swish unless `act` is False. (B, Cin, H, W) -> (B, Cout, H / stride,
    W / stride).
    """

    def __init__(
        self, channels_in: int, channels_out: int, kernel_size: int = 3, stride: int = 1, act: bool = True
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2D(
            channels_in,
            channels_out,
            kernel_size,
            stride=stride,
            padding=(kernel_size - 1) // 2,
            bias_attr=False,
        )
        self.bn = batch_norm(channels_out)
        self.act = act

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        x = self.bn(self.conv(x))
        return swish(x) if self.act else x

    def fused_kernel_bias(self) -> tuple[paddle.Tensor, paddle.Tensor]:
        """The convolution's kernel and bias with the BatchNorm's running statistics folded in; float64, to be rounded
        once.
        """
        state = {name: tensor.astype("float64") for name, tensor in self.bn.state_dict().items()}
        weight, bias, mean, variance = (state[name] for name in ("weight", "bias", "_mean", "_variance"))
        scale = weight / (variance + self.bn._epsilon).sqrt()
        return self.conv.weight.astype("float64") * scale.reshape([-1, 1, 1, 1]), bias - mean * scale


class RepVGGBlock(nn.Layer):
    """3x3 and 1x1 convolution side by side (Ding et al., "RepVGG", CVPR 2021), the second scaled by a learned `alpha`
    if asked for.

    `fuse()` folds both branches into one 3x3 convolution, for export only: the weight names change.
    """

    def __init__(self, channels: int, use_alpha: bool) -> None:
        super().__init__()
        self.conv1 = ConvBNLayer(channels, channels, 3, act=False)
        self.conv2 = ConvBNLayer(channels, channels, 1, act=False)
        self.use_alpha = use_alpha
        if use_alpha:
            self.alpha: paddle.Tensor = self.create_parameter(
                shape=[1], attr=paddle.ParamAttr(initializer=nn.initializer.Constant(1.0)), dtype="float32"
            )
        self.fused: nn.Conv2D | None = None

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        if self.fused is not None:
            return swish(self.fused(x))
        branch = self.conv2(x)
        return swish(self.conv1(x) + (self.alpha * branch if self.use_alpha else branch))

    @paddle.no_grad()
    def fuse(self) -> None:
        kernel, bias = self.conv1.fused_kernel_bias()
        kernel_1x1, bias_1x1 = self.conv2.fused_kernel_bias()
        alpha = self.alpha.astype("float64") if self.use_alpha else 1.0
        fused = nn.Conv2D(kernel.shape[1], kernel.shape[0], 3, padding=1)
        fused.weight.set_value((kernel + alpha * F.pad(kernel_1x1, [1, 1, 1, 1])).astype("float32"))
        fused.bias.set_value((bias + alpha * bias_1x1).astype("float32"))
        self.fused = fused


class BasicBlock(nn.Layer):
    """3x3 convolution, RepVGG block, and a shortcut around both if asked for; the number of channels stays."""

    def __init__(self, channels: int, shortcut: bool, use_alpha: bool) -> None:
        super().__init__()
        self.conv1 = ConvBNLayer(channels, channels, 3)
        self.conv2 = RepVGGBlock(channels, use_alpha)
        self.shortcut = shortcut

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        y = self.conv2(self.conv1(x))
        return x + y if self.shortcut else y


class EffectiveSELayer(nn.Layer):
    """Effective squeeze and excitation (Lee and Park, "CenterMask", CVPR 2020, equation 3) with a hard sigmoid."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Conv2D(channels, channels, 1)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return x * F.hardsigmoid(self.fc(x.mean((2, 3), keepdim=True)))


def fuse_for_inference(model: nn.Layer) -> None:
    """Folds every re-parameterisable block of `model` in place. The model can no longer be trained or saved by name."""
    for layer in model.sublayers():
        if isinstance(layer, RepVGGBlock):
            layer.fuse()
