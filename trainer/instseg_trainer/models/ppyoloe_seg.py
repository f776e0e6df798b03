"""PP-YOLOE_seg: CSPRepResNet, CSP-PAN and the instance head, with its loss and its prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import paddle
from paddle.nn import functional as F

from ..input_spec import InputSpec
from ..losses.ppyoloe_seg_loss import PROTOTYPE_STRIDE, PPYOLOESegLoss
from ..targets import Targets
from .base import InstanceSegmentationModel, check_stretched
from .csp_pan import CSPPAN
from .csp_resnet import CSPResNet
from .detections import Detections
from .layers import fuse_for_inference
from .ppyoloe_seg_head import HeadOutputs, PPYOLOESegHead, distances_to_boxes


@dataclass(frozen=True)
class PPYOLOESegDecode:
    """Thresholds of the prediction; the same values go into a bundle's `decode` section."""

    score_threshold: float = 0.01
    nms_iou_threshold: float = 0.7
    nms_top_k: int = 1000
    keep_top_k: int = 300
    mask_threshold: float = 0.5


@dataclass
class StageOutputs:
    """The tensors a runtime gets (see docs/bundle.md): boxes (B, L, 4) xyxy in input pixels, scores (B, num_classes,
    L),
    mask_coefficients (B, num_masks, L), prototypes (B, num_masks, H / 4, W / 4)."""

    boxes: paddle.Tensor
    scores: paddle.Tensor
    mask_coefficients: paddle.Tensor
    prototypes: paddle.Tensor


class PPYOLOESeg(InstanceSegmentationModel):
    """images (B, 3, H, W) float32 in 0..1, RGB, H and W multiples of 32 -> `HeadOutputs`.

    `loss` and `predict` are what training and evaluation call; `stage_outputs` is what an export writes.
    """

    family = "ppyoloe_seg"
    mask_stride = PROTOTYPE_STRIDE

    def __init__(self, num_classes: int, width_mult: float, depth_mult: float) -> None:
        super().__init__()
        self.backbone = CSPResNet(width_mult, depth_mult)
        self.neck = CSPPAN(self.backbone.out_channels, width_mult, depth_mult)
        self.yolo_head = PPYOLOESegHead(self.neck.out_channels, num_classes, width_mult)
        self.input_spec = InputSpec()
        self.decode = PPYOLOESegDecode()
        self._criterion = PPYOLOESegLoss(num_classes)

    @property
    def num_classes(self) -> int:
        return self.yolo_head.num_classes

    def forward(self, images: paddle.Tensor) -> HeadOutputs:
        return self.yolo_head(self.neck(self.backbone(images)))

    def loss(self, images: paddle.Tensor, targets: Targets) -> dict[str, paddle.Tensor]:
        """Scalars `loss` (the weighted sum), `loss_cls`, `loss_iou`, `loss_dfl`, `loss_mask`, and `loss_l1`
        (reported, not trained on).
        """
        outputs = self(images)
        distances = self.yolo_head.expected_distances(outputs.distance_logits)
        boxes = distances_to_boxes(outputs.anchor_points / outputs.strides, distances)
        return self._criterion(outputs, boxes, targets)

    def stage_outputs(self, images: paddle.Tensor) -> StageOutputs:
        """The graph that a bundle's `model` stage holds."""
        outputs = self(images)
        distances = self.yolo_head.expected_distances(outputs.distance_logits)
        boxes = distances_to_boxes(outputs.anchor_points, distances * outputs.strides)
        return StageOutputs(
            boxes,
            F.sigmoid(outputs.class_logits).transpose([0, 2, 1]),
            outputs.mask_coefficients.transpose([0, 2, 1]),
            outputs.prototypes,
        )

    def fuse(self) -> None:
        """Folds re-parameterisable blocks, for export: the model can no longer be trained or saved by name."""
        fuse_for_inference(self)

    @paddle.no_grad()
    def predict(
        self,
        images: paddle.Tensor,
        original_sizes: Sequence[tuple[int, int]],
        *,
        input_sizes: Sequence[tuple[int, int]] | None = None,
        score_threshold: float | None = None,
    ) -> list[Detections]:
        """See the base class. Grouped by class id, falling score in each class; images are never padded."""
        check_stretched(images, input_sizes)
        outputs = self.stage_outputs(images)
        size = (int(images.shape[2]), int(images.shape[3]))
        decode = self.decode
        threshold = decode.score_threshold if score_threshold is None else score_threshold
        results = []
        for index, original in enumerate(original_sizes):
            rows, keep, _ = paddle._C_ops.multiclass_nms3(
                outputs.boxes[index : index + 1],
                outputs.scores[index : index + 1],
                None,  # type: ignore[arg-type]  # the number of boxes per image: all alike
                threshold,
                decode.nms_top_k,
                decode.keep_top_k,
                decode.nms_iou_threshold,
                True,  # normalised coordinates: no +1 on sides
                1.0,  # nms_eta: the threshold stays
                -1,  # no background class
            )
            results.append(
                _decode_image(
                    rows, keep.flatten(), outputs.mask_coefficients[index], outputs.prototypes[index],
                    size, original, decode.mask_threshold,
                )
            )  # fmt: skip
        return results


def _decode_image(
    rows: paddle.Tensor,
    keep: paddle.Tensor,
    coefficients: paddle.Tensor,
    prototypes: paddle.Tensor,
    size: tuple[int, int],
    original: tuple[int, int],
    mask_threshold: float,
) -> Detections:
    """rows (N, 6) class, score, box in input pixels; the masks by the two bilinear steps of the reference."""
    count = int(keep.shape[0])
    if count == 0:
        return Detections.empty(*original)
    chosen = paddle.gather(coefficients.transpose([1, 0]), keep)
    channels, height, width = (int(d) for d in prototypes.shape)
    boxes = rows[:, 2:6]
    x = paddle.arange(size[1], dtype="float32").reshape([1, 1, -1])
    y = paddle.arange(size[0], dtype="float32").reshape([1, -1, 1])
    masks = np.zeros((count, *original), bool)
    # A few instances at a time: 300 full-size float maps of a large photo are gigabytes.
    for start in range(0, count, 16):
        part = slice(start, min(start + 16, count))
        probabilities = F.sigmoid(chosen[part] @ prototypes.reshape([channels, -1])).reshape([1, -1, height, width])
        probabilities = F.interpolate(probabilities, size, mode="bilinear", align_corners=False)[0]
        x1, y1, x2, y2 = (boxes[part, i].reshape([-1, 1, 1]) for i in range(4))
        inside = (x >= x1) & (x < x2) & (y >= y1) & (y < y2)
        probabilities = probabilities * inside.astype(probabilities.dtype)
        probabilities = F.interpolate(probabilities[None], original, mode="bilinear", align_corners=False)[0]
        masks[part] = (probabilities > mask_threshold).numpy()
    scale = np.asarray([size[1] / original[1], size[0] / original[0]] * 2, np.float32)
    numbers = rows.numpy()
    return Detections(numbers[:, 0].astype(np.int64), numbers[:, 1], boxes.numpy() / scale, masks)
