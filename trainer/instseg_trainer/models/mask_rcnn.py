"""Mask R-CNN (He et al., ICCV 2017) and Cascade Mask R-CNN (Cai and Vasconcelos, CVPR 2018 and TPAMI 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import paddle
from paddle import nn

from ..assigners.image_objects import split_objects
from ..input_spec import InputSpec
from ..targets import Targets
from .base import InstanceSegmentationModel
from .box_head import BoxHead, BoxPredictions
from .cascade_head import CascadeHead
from .detections import Detections
from .mask_head import MaskHead
from .mask_paste import paste_masks
from .roi_extractor import RoIExtractor
from .rpn_head import ProposalLimits, RPNHead, RPNOutputs


@dataclass(frozen=True)
class MaskRCNNDecode:
    """Limits of the prediction; the same values go into a bundle's `decode` section.

    rpn_*: see `ProposalLimits`; `rpn_post_nms_top_n` holds for one feature map and for the image.
    score_threshold, nms_iou_threshold, keep_top_k: of the NMS within each class, and of the image's detections.
    mask_threshold: probability from which a pixel belongs to the object.
    """

    rpn_pre_nms_top_n: int = 1000
    rpn_post_nms_top_n: int = 1000
    rpn_nms_iou_threshold: float = 0.7
    rpn_min_size: float = 0.0
    score_threshold: float = 0.05
    nms_iou_threshold: float = 0.5
    keep_top_k: int = 100
    mask_threshold: float = 0.5

    @property
    def proposal_limits(self) -> ProposalLimits:
        return ProposalLimits(
            self.rpn_pre_nms_top_n,
            self.rpn_post_nms_top_n,
            self.rpn_post_nms_top_n,
            self.rpn_nms_iou_threshold,
            self.rpn_min_size,
        )


@dataclass
class FeatureOutputs:
    """What is computed once per image: features, (B, C, H / stride, W / stride) each, finest first, and the region
    proposal network's view of them.
    """

    features: list[paddle.Tensor]
    rpn: RPNOutputs


class MaskRCNN(InstanceSegmentationModel):
    """images (B, 3, H, W) float32, normalised, RGB -> `FeatureOutputs`.

    The stages after it work on one image at a time, on boxes that the stage before has chosen: `rpn_head.propose`,
    `bbox_head.detect`, `suppress`, `mask_head.detect`, `paste_masks`.

    neck: None for a C4 model, whose heads cut from the backbone's own map.
    """

    family = "mask_rcnn"
    needs_segments = True
    # The order of the weights in a file is that of the sublayers.
    part_order: ClassVar[tuple[str, ...]] = ("backbone", "neck", "rpn_head", "bbox_head", "mask_head")

    backbone: nn.Layer
    neck: nn.Layer | None
    rpn_head: RPNHead
    bbox_head: BoxHead | CascadeHead
    mask_head: MaskHead

    def __init__(
        self,
        backbone: nn.Layer,
        neck: nn.Layer | None,
        rpn_head: RPNHead,
        bbox_head: BoxHead | CascadeHead,
        mask_head: MaskHead,
        input_spec: InputSpec,
        decode: MaskRCNNDecode | None = None,
    ) -> None:
        super().__init__()
        parts = {
            "backbone": backbone,
            "neck": neck,
            "rpn_head": rpn_head,
            "bbox_head": bbox_head,
            "mask_head": mask_head,
        }
        for name in self.part_order:
            setattr(self, name, parts[name])
        self.input_spec = input_spec
        self.decode = decode or MaskRCNNDecode()

    @property
    def num_classes(self) -> int:
        return self.bbox_head.num_classes

    @property
    def roi_aligned(self) -> bool:
        """Whether RoIAlign shifts by half a cell (see `RoIExtractor`); the same for boxes and masks."""
        return self.bbox_head.roi_extractor.aligned

    @roi_aligned.setter
    def roi_aligned(self, aligned: bool) -> None:
        for layer in self.sublayers():
            if isinstance(layer, RoIExtractor):
                layer.aligned = aligned

    def forward(self, images: paddle.Tensor) -> FeatureOutputs:
        features = self.backbone(images)
        if self.neck is not None:
            features = self.neck(features)
        return FeatureOutputs(features, self.rpn_head(features))

    def loss(self, images: paddle.Tensor, targets: Targets) -> dict[str, paddle.Tensor]:
        """Scalars `loss`, the sum of `loss_rpn_cls`, `loss_rpn_reg`, `loss_bbox_cls`, `loss_bbox_reg` (of a cascade:
        of each stage, the names end in `_stage0`, ...) and `loss_mask`.

        Needs `targets.segments`.
        """
        if targets.segments is None:
            raise ValueError("mask targets are drawn from the objects' shapes: Targets.segments is None")
        objects = split_objects(targets)
        sizes = _sizes_of(images)
        if targets.image_sizes is not None:
            sizes = [(int(height), int(width)) for height, width in targets.image_sizes.numpy()]
        outputs = self(images)
        losses = self.rpn_head.loss(outputs.rpn, objects)
        proposals = self.rpn_head.propose(outputs.rpn, sizes, self.rpn_head.train_limits)
        boxes = self.bbox_head.loss(outputs.features, proposals, objects, sizes)
        losses |= boxes.losses
        losses |= self.mask_head.loss(outputs.features, boxes.targets, objects, boxes.features)
        return losses | {"loss": paddle.add_n(list(losses.values()))}

    @paddle.no_grad()
    def predict(
        self,
        images: paddle.Tensor,
        original_sizes: Sequence[tuple[int, int]],
        *,
        input_sizes: Sequence[tuple[int, int]] | None = None,
        score_threshold: float | None = None,
    ) -> list[Detections]:
        """See the base class. Grouped by class id, falling score in each class; boxes are clipped to the image."""
        sizes = _sizes_of(images) if input_sizes is None else list(input_sizes)
        if not len(sizes) == len(original_sizes) == images.shape[0]:
            raise ValueError(f"{images.shape[0]} images, {len(original_sizes)} original and {len(sizes)} input sizes")
        threshold = self.decode.score_threshold if score_threshold is None else score_threshold
        outputs = self(images)
        proposals = self.rpn_head.propose(outputs.rpn, sizes, self.decode.proposal_limits)
        # One image at a time: the cut-outs of a thousand boxes are hundreds of megabytes.
        return [
            self._predict_image(
                [feature[index : index + 1] for feature in outputs.features],
                proposals[index],
                sizes[index],
                original,
                threshold,
            )
            for index, original in enumerate(original_sizes)
        ]

    def _predict_image(
        self,
        features: Sequence[paddle.Tensor],
        proposals: paddle.Tensor,
        size: tuple[int, int],
        original: tuple[int, int],
        score_threshold: float,
    ) -> Detections:
        predictions = self.bbox_head.detect(features, proposals, size)
        rows = self.suppress(predictions, score_threshold)
        numbers = rows.numpy()
        scale = np.asarray([size[1] / original[1], size[0] / original[0]] * 2, np.float32)
        limits = np.asarray([original[1], original[0]] * 2, np.float32)
        boxes = np.clip(numbers[:, 2:] / scale, 0, limits).astype(np.float32)
        kept = np.flatnonzero((boxes[:, 2:] > boxes[:, :2]).all(axis=1))
        if not len(kept):
            return Detections.empty(*original)
        rows, numbers, boxes = paddle.gather(rows, paddle.to_tensor(kept)), numbers[kept], boxes[kept]
        class_ids = rows[:, 0].astype("int64")
        probabilities = self.mask_head.detect(features, rows[:, 2:], class_ids, self.bbox_head.head).numpy()
        masks = paste_masks(probabilities, boxes, *original, self.decode.mask_threshold)
        return Detections(numbers[:, 0].astype(np.int64), numbers[:, 1], boxes, masks)

    def suppress(self, predictions: BoxPredictions, score_threshold: float) -> paddle.Tensor:
        """NMS within each class -> rows (N, 6) class, score, x1, y1, x2, y2 in input pixels, N may be 0; classes one
        after the other, falling score in each.
        """
        count, num_classes = predictions.probabilities.shape
        rows, _, kept = paddle._C_ops.multiclass_nms3(
            predictions.boxes.expand([count, num_classes, 4]),
            predictions.probabilities,
            paddle.to_tensor([count], dtype="int32"),
            score_threshold,
            -1,  # every box that passes takes part
            self.decode.keep_top_k,
            self.decode.nms_iou_threshold,
            True,  # half-open boxes: no +1 on sides
            1.0,  # nms_eta: the threshold stays
            -1,  # the background's probability has been left out already
        )
        if int(kept[0]) == 0:
            return paddle.zeros([0, 6])
        # The operator orders a class's boxes by score or, where it had to drop some, by their place.
        class_ids, scores = rows[:, 0].numpy(), rows[:, 1].numpy()
        return paddle.gather(rows, paddle.to_tensor(np.lexsort((-scores, class_ids))))


class CascadeMaskRCNN(MaskRCNN):
    """`MaskRCNN` with a `CascadeHead`; the reference's order of weights is another one."""

    part_order = ("backbone", "rpn_head", "bbox_head", "neck", "mask_head")


def _sizes_of(images: paddle.Tensor) -> list[tuple[int, int]]:
    return [(int(images.shape[2]), int(images.shape[3]))] * int(images.shape[0])
