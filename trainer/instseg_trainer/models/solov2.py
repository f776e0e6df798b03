"""SOLOv2: ResNet, FPN, the grid heads and the mask features, with its loss and its prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import paddle
from paddle.nn import functional as F

from ..input_spec import IMAGENET_NORMALIZATION, InputSpec
from ..losses.solov2_loss import SOLOv2Loss
from ..targets import Targets
from .base import InstanceSegmentationModel
from .detections import Detections
from .fpn import FPN
from .resnet import ResNet
from .solov2_head import SOLOv2Head, SOLOv2MaskHead, flatten_levels, points_nms
from .solov2_postprocess import SOLOv2Decode, decode_image


@dataclass
class SOLOv2Outputs:
    """What the network says of a batch; L cells over all grids, row by row, finest grid first.

    class_logits: (B, num_classes, G, G) per grid; kernels: (B, L, D), one mask's 1x1 convolution each;
    mask_features: (B, D, H / 4, W / 4).
    """

    class_logits: list[paddle.Tensor]
    kernels: paddle.Tensor
    mask_features: paddle.Tensor


@dataclass
class SOLOv2StageOutputs:
    """The tensors a runtime gets: scores (B, L, num_classes) after points NMS, kernels and mask_features as in
    `SOLOv2Outputs`.
    """

    scores: paddle.Tensor
    kernels: paddle.Tensor
    mask_features: paddle.Tensor


class SOLOv2(InstanceSegmentationModel):
    """images (B, 3, H, W) float32, normalised RGB, H and W multiples of 32 -> `SOLOv2Outputs`.

    backbone: a ResNet that returns four stages; None for ResNet50 with a frozen stem, res2 and norms. Target masks are
    at full size, since their centres of mass decide which cells answer for them.
    """

    family = "solov2"

    def __init__(self, num_classes: int, backbone: ResNet | None = None, decode: SOLOv2Decode | None = None) -> None:
        super().__init__()
        self.decode = decode or SOLOv2Decode()
        self.backbone = backbone or ResNet(50)
        self.neck = FPN(self.backbone.out_channels)
        self.solov2_head = SOLOv2Head(num_classes, grid_sizes=self.decode.grid_sizes)
        self.mask_head = SOLOv2MaskHead()
        self.input_spec = InputSpec(
            800, 1333, "keep_ratio", "linear", IMAGENET_NORMALIZATION, normalize_first=True, pad_stride=32
        )
        self._criterion = SOLOv2Loss(num_classes, self.decode.grid_sizes)

    @property
    def num_classes(self) -> int:
        return self.solov2_head.num_classes

    def forward(self, images: paddle.Tensor) -> SOLOv2Outputs:
        features = self.neck(self.backbone(images))
        class_logits, kernels = self.solov2_head(features)
        return SOLOv2Outputs(class_logits, flatten_levels(kernels), self.mask_head(features))

    def loss(self, images: paddle.Tensor, targets: Targets) -> dict[str, paddle.Tensor]:
        """Scalars `loss`, the sum of `loss_ins` (masks) and `loss_cate` (classes)."""
        outputs = self(images)
        class_logits = flatten_levels(outputs.class_logits)
        return self._criterion(class_logits, outputs.kernels, outputs.mask_features, targets)

    def stage_outputs(self, images: paddle.Tensor) -> SOLOv2StageOutputs:
        """The graph that a bundle's `model` stage holds."""
        outputs = self(images)
        scores = [points_nms(F.sigmoid(logits)) for logits in outputs.class_logits]
        return SOLOv2StageOutputs(flatten_levels(scores), outputs.kernels, outputs.mask_features)

    @paddle.no_grad()
    def predict(
        self,
        images: paddle.Tensor,
        original_sizes: Sequence[tuple[int, int]],
        *,
        input_sizes: Sequence[tuple[int, int]] | None = None,
        score_threshold: float | None = None,
    ) -> list[Detections]:
        """See the base class. Falling score; boxes are the tight bounds of the masks.

        score_threshold applies to the class scores: quality of the mask and overlap with better ones then lower them
        to the scores given out, which are at least `decode.update_threshold`.
        """
        outputs = self.stage_outputs(images)
        decode = self.decode if score_threshold is None else replace(self.decode, score_threshold=score_threshold)
        padded = (int(images.shape[2]), int(images.shape[3]))
        sizes = [padded] * len(original_sizes) if input_sizes is None else input_sizes
        return [
            decode_image(
                outputs.scores[index],
                outputs.kernels[index],
                outputs.mask_features[index],
                size,
                original,
                decode,
            )
            for index, (size, original) in enumerate(zip(sizes, original_sizes, strict=True))
        ]
