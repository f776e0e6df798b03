"""Mask-RT-DETR: PP-HGNetV2, hybrid encoder with mask features, and a transformer that needs no suppression of doubles.

Zhao et al., "DETRs Beat YOLOs on Real-time Object Detection" (RT-DETR), CVPR 2024; masks after Li et al., "Mask DINO",
CVPR 2023.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle.nn import functional as F

from ..centre_boxes import centre_to_corners
from ..input_spec import InputSpec
from ..losses.mask_rtdetr_loss import MaskRTDETRLoss, MaskRTDETRLossSettings
from ..losses.point_sampling import Uniform
from ..losses.query_targets import QueryTargets
from ..targets import Targets
from .base import InstanceSegmentationModel, check_stretched
from .deformable_attention import MultiScaleDeformableAttention
from .denoising import DenoisingSettings, make_denoising_queries
from .detections import Detections
from .hgnet_v2 import HGNetV2Size, PPHGNetV2
from .layers import fuse_for_inference
from .mask_hybrid_encoder import EncoderLayout, MaskHybridEncoder, NeckLayout
from .mask_rtdetr_decoder import QueryPredictions
from .mask_rtdetr_transformer import MaskRTDETRTransformer, TransformerLayout

_PIXELS_AT_ONCE = 1 << 24
"""Of the full-size float maps held during prediction: one of a photo of 16 megapixels, many of a small one."""


@dataclass(frozen=True)
class MaskRTDETRDecode:
    """Thresholds of the prediction; the same values go into a bundle's `decode` section.

    keep_top_k: pairs of a query and a class; one query may give several detections.
    """

    score_threshold: float = 0.0
    keep_top_k: int = 100
    mask_threshold: float = 0.5


@dataclass(frozen=True)
class MaskRTDETRLayout:
    """What tells the sizes apart. learning_rate: multiplier for the backbone's four stages."""

    backbone: HGNetV2Size
    learning_rate: float
    neck: NeckLayout = field(default_factory=NeckLayout)
    transformer: TransformerLayout = field(default_factory=TransformerLayout)
    denoising: DenoisingSettings = field(default_factory=DenoisingSettings)


LAYOUTS: dict[HGNetV2Size, MaskRTDETRLayout] = {
    "S": MaskRTDETRLayout(
        "S",
        learning_rate=0.1,
        neck=NeckLayout(expansion=0.5, mask_channels=(64, 32), prototypes=128, attention=EncoderLayout(levels=(2,))),
    ),
    "M": MaskRTDETRLayout(
        "M",
        learning_rate=0.1,
        neck=NeckLayout(expansion=0.5, mask_channels=(64, 64), prototypes=128, attention=EncoderLayout(levels=(2,))),
    ),
    "L": MaskRTDETRLayout("L", learning_rate=0.05, neck=NeckLayout(prototypes=32)),
    "X": MaskRTDETRLayout(
        "X",
        learning_rate=0.01,
        neck=NeckLayout(384, mask_channels=(128, 128), prototypes=128, attention=EncoderLayout(feedforward=2048)),
    ),
    "H": MaskRTDETRLayout(
        "H",
        learning_rate=0.01,
        neck=NeckLayout(
            512, mask_channels=(256, 128), prototypes=128, attention=EncoderLayout(layers=2, feedforward=2048)
        ),
    ),
}
"""The five models; S and M attend at stride 16, the others at stride 32."""


@dataclass
class MaskRTDETROutputs:
    """predictions: of the final layer's queries; mask_features (B, prototypes, H / 4, W / 4)."""

    predictions: QueryPredictions
    mask_features: paddle.Tensor


class MaskRTDETR(InstanceSegmentationModel):
    """images (B, 3, H, W) float32 in 0..1, RGB, H and W multiples of 32 -> `MaskRTDETROutputs`.

    The loss takes full-size target masks: it samples them at points, between pixels.
    freeze_stem, frozen_stages, freeze_norm: see the backbone. loss: its weights and points. uniform: the one source of
    chance of its training (denoising, sampled points), a shape -> numbers in 0 <= u < 1.
    """

    family = "mask_rtdetr"

    def __init__(
        self,
        num_classes: int,
        layout: MaskRTDETRLayout,
        *,
        freeze_stem: bool = True,
        frozen_stages: int = 0,
        freeze_norm: bool = True,
        loss: MaskRTDETRLossSettings | None = None,
        uniform: Uniform = paddle.rand,
    ) -> None:
        super().__init__()
        self.backbone = PPHGNetV2(
            layout.backbone,
            freeze_stem=freeze_stem,
            frozen_stages=frozen_stages,
            freeze_norm=freeze_norm,
            learning_rates=(0.0 if freeze_stem else layout.learning_rate, *[layout.learning_rate] * 4),
        )
        neck = layout.neck
        self.transformer = MaskRTDETRTransformer([neck.channels] * 3, num_classes, neck.prototypes, layout.transformer)
        self.neck = MaskHybridEncoder(self.backbone.out_channels, neck)
        self.input_spec = InputSpec()
        self.decode = MaskRTDETRDecode()
        self.denoising = layout.denoising
        self.uniform = uniform
        self._criterion = MaskRTDETRLoss(loss)

    @property
    def num_classes(self) -> int:
        return self.transformer.num_classes

    def features(self, images: paddle.Tensor) -> tuple[list[paddle.Tensor], paddle.Tensor]:
        """Pyramid of strides 8, 16, 32, and mask features of stride 4."""
        return self.neck(self.backbone(images))

    def forward(self, images: paddle.Tensor) -> MaskRTDETROutputs:
        pyramid, mask_features = self.features(images)
        outputs = self.transformer(pyramid, mask_features)
        return MaskRTDETROutputs(outputs.layers[-1], mask_features)

    def loss(self, images: paddle.Tensor, targets: Targets) -> dict[str, paddle.Tensor]:
        """Scalars `loss`, the sum of all others; `loss_X` for X in class, bbox, giou, mask, dice; `loss_X_aux`,
        `loss_X_dn` and `loss_X_aux_dn` for the inner layers and the denoising queries.
        """
        height, width = (int(side) for side in images.shape[2:])
        return self.feature_loss(*self.features(images), QueryTargets.from_targets(targets, height, width))

    def feature_loss(
        self, pyramid: Sequence[paddle.Tensor], mask_features: paddle.Tensor, targets: QueryTargets
    ) -> dict[str, paddle.Tensor]:
        """`loss` from the neck's features on."""
        denoising = make_denoising_queries(targets, self.num_classes, self.denoising, self.uniform)
        outputs = self.transformer(pyramid, mask_features, denoising, every_layer=True)
        if denoising is None:
            layers, denoised = [outputs.encoder, *outputs.layers], []
        else:
            assert outputs.initial is not None
            parts = [layer.split(denoising.count) for layer in (outputs.initial, *outputs.layers)]
            denoised = [part for part, _ in parts]
            layers = [outputs.encoder, *(part for _, part in parts)]
        losses = self._criterion(layers, denoised, mask_features, targets, denoising, self.uniform)
        if denoising is None:
            # Its weights take no part, but keep a (zero) gradient, as several devices need it.
            losses["loss"] = losses["loss"] + 0.0 * self.transformer.denoising_class_embed.weight.sum()
        return losses

    def fuse(self) -> None:
        """See the base class; also writes the sampling of the deformable attention out."""
        fuse_for_inference(self)
        for layer in self.sublayers():
            if isinstance(layer, MultiScaleDeformableAttention):
                layer.explicit_sampling = True

    @paddle.no_grad()
    def predict(
        self,
        images: paddle.Tensor,
        original_sizes: Sequence[tuple[int, int]],
        *,
        input_sizes: Sequence[tuple[int, int]] | None = None,
        score_threshold: float | None = None,
    ) -> list[Detections]:
        """See the base class. Falling score, over all classes; images are never padded."""
        check_stretched(images, input_sizes)
        outputs = self(images)
        threshold = self.decode.score_threshold if score_threshold is None else score_threshold
        return [
            self._decode_image(outputs, index, original, threshold) for index, original in enumerate(original_sizes)
        ]

    def _decode_image(
        self, outputs: MaskRTDETROutputs, index: int, original: tuple[int, int], threshold: float
    ) -> Detections:
        found = outputs.predictions
        scores = F.sigmoid(found.class_logits[index]).flatten()
        scores, pair = paddle.topk(scores, min(self.decode.keep_top_k, int(scores.shape[0])))
        kept = int((scores > threshold).sum())
        if kept == 0:
            return Detections.empty(*original)
        pairs = pair[:kept].numpy()
        queries, class_ids = pairs // self.num_classes, pairs % self.num_classes
        height, width = original
        boxes = centre_to_corners(found.boxes[index]).numpy()[queries]
        boxes = boxes * np.asarray([width, height, width, height], np.float32)
        # A query's detections of several classes share its mask.
        distinct, row = np.unique(queries, return_inverse=True)
        embeddings = paddle.gather(found.mask_embeddings[index], paddle.to_tensor(distinct))
        masks = _paste_masks(embeddings, row, outputs.mask_features[index], original, self.decode.mask_threshold)
        return Detections(class_ids.astype(np.int64), scores[:kept].numpy(), boxes, masks)


def _paste_masks(
    embeddings: paddle.Tensor,
    row: NDArray[np.int64],
    mask_features: paddle.Tensor,
    original: tuple[int, int],
    threshold: float,
) -> NDArray[np.bool_]:
    """embeddings (D, P), mask_features (P, h, w) -> masks (N, H, W), the n-th from the row[n]-th embedding: logits,
    bilinear to the original size, then probabilities.
    """
    prototypes, height, width = (int(side) for side in mask_features.shape)
    logits = (embeddings @ mask_features.reshape([prototypes, -1])).reshape([1, -1, height, width])
    masks = np.zeros((len(row), *original), bool)
    step = max(1, _PIXELS_AT_ONCE // (original[0] * original[1]))
    for start in range(0, int(embeddings.shape[0]), step):
        full = F.interpolate(logits[:, start : start + step], original, mode="bilinear", align_corners=False)[0]
        for offset, mask in enumerate((F.sigmoid(full) > threshold).numpy()):
            masks[row == start + offset] = mask
    return masks
