"""Third stage: a small mask per box and class (He et al., "Mask R-CNN", ICCV 2017, section 3)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import paddle
from paddle import nn
from paddle.nn import functional as F
from paddle.nn.initializer import KaimingNormal

from ..assigners.box_assigner import RoITargets
from ..assigners.image_objects import ImageObjects
from ..assigners.mask_targets import draw_mask_targets
from ..losses.rcnn_loss import mask_loss
from .roi_extractor import RoIExtractor


class MaskFeat(nn.Layer):
    """`num_convs` 3x3 convolutions, then twice the resolution, each with ReLU: (R, channels_in, M, M) -> (R, channels,
    2 * M, 2 * M).
    """

    def __init__(self, channels_in: int, num_convs: int = 4, channels: int = 256) -> None:
        super().__init__()
        self.out_channels = channels
        layers: list[tuple[str, nn.Layer]] = []
        for index in range(num_convs):
            conv = nn.Conv2D(channels_in, channels, 3, padding=1, weight_attr=_kaiming(channels * 9))
            layers += [(f"mask_inter_feat_{index + 1}", conv), (f"relu_{index + 1}", nn.ReLU())]
            channels_in = channels
        upsample = nn.Conv2DTranspose(channels_in, channels, 2, stride=2, weight_attr=_kaiming(channels * 4))
        layers += [("conv5_mask", upsample), ("relu_mask", nn.ReLU())]
        self.upsample = nn.Sequential(*layers)

    def forward(self, roi_features: paddle.Tensor) -> paddle.Tensor:
        return self.upsample(roi_features)


class MaskHead(nn.Layer):
    """Cut-outs of boxes -> logits (R, num_classes, M, M).

    Args:
        resolution: M, rows and columns of the target masks; `head` makes squares of this size.
        share_box_features: the head works on what the box head's layer makes of the cut-outs, not on the cut-outs (C4).
    """

    def __init__(
        self, head: MaskFeat, num_classes: int, resolution: int, roi_extractor: RoIExtractor, share_box_features: bool
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.resolution = resolution
        self.share_box_features = share_box_features
        self.head = head
        self.roi_extractor = roi_extractor
        self.mask_fcn_logits = nn.Conv2D(head.out_channels, num_classes, 1, weight_attr=_kaiming(num_classes))

    def forward(self, roi_features: paddle.Tensor) -> paddle.Tensor:
        return self.mask_fcn_logits(self.head(roi_features))

    def detect(
        self, features: Sequence[paddle.Tensor], boxes: paddle.Tensor, class_ids: paddle.Tensor, box_feature: nn.Layer
    ) -> paddle.Tensor:
        """Probabilities (R, M, M) inside each box.

        features of one image, (1, C, H, W) each; boxes (R, 4) input pixels, at least one; class_ids (R,) int64;
        box_feature: the box head's layer, which cut-outs pass first if its features are shared.
        """
        roi_features = self.roi_extractor(features, [boxes])
        if self.share_box_features:
            roi_features = box_feature(roi_features)
        rows = paddle.arange(len(class_ids), dtype=class_ids.dtype)
        return F.sigmoid(paddle.gather_nd(self(roi_features), paddle.stack([rows, class_ids], axis=1)))

    def loss(
        self,
        features: Sequence[paddle.Tensor],
        targets: RoITargets,
        objects: Sequence[ImageObjects],
        box_features: paddle.Tensor,
    ) -> dict[str, paddle.Tensor]:
        """`loss_mask` over the boxes that have an object; box_features: `BoxLoss.features` of all of `targets`."""
        rows = targets.foreground(self.num_classes)
        nothing = not any(len(image_rows) for image_rows in rows)
        if nothing:
            # One box, which then counts nothing: every parameter has a gradient, be it zero.
            rows[0] = paddle.zeros([1], dtype="int64")
        rois = [paddle.gather(boxes, image_rows) for boxes, image_rows in zip(targets.rois, rows)]
        if self.share_box_features:
            counts = [len(boxes) for boxes in targets.rois]
            roi_features = paddle.gather(box_features, rows_of_batch(rows, counts))
        else:
            roi_features = self.roi_extractor(features, rois)
        logits = self(roi_features)
        if nothing:
            return {"loss_mask": logits.sum() * 0.0}
        class_ids = [paddle.gather(ids, image_rows) for ids, image_rows in zip(targets.class_ids, rows)]
        object_index = [paddle.gather(index, image_rows) for index, image_rows in zip(targets.object_index, rows)]
        masks = _draw_targets(objects, rois, object_index, self.resolution)
        return {"loss_mask": mask_loss(logits, paddle.concat(class_ids), paddle.to_tensor(masks))}


def rows_of_batch(rows: Sequence[paddle.Tensor], counts: Sequence[int]) -> paddle.Tensor:
    """Rows of each image's boxes -> rows of all images' boxes one after the other; counts: boxes per image."""
    starts = np.cumsum([0, *counts[:-1]])
    return paddle.concat([image_rows + int(start) for image_rows, start in zip(rows, starts)])


def _draw_targets(
    objects: Sequence[ImageObjects],
    rois: Sequence[paddle.Tensor],
    object_index: Sequence[paddle.Tensor],
    resolution: int,
) -> np.ndarray:
    """(R, resolution, resolution) uint8, the images one after the other."""
    masks = []
    for image, boxes, index in zip(objects, rois, object_index):
        if not len(boxes):
            continue
        if image.segments is None:
            raise ValueError("mask targets are drawn from the objects' shapes: Targets.segments is None")
        masks.append(draw_mask_targets(image.segments, index.numpy(), boxes.numpy(), resolution))
    return np.concatenate(masks)


def _kaiming(fan_in: int) -> paddle.ParamAttr:
    """Kaiming initialisation with the fan-in the reference states."""
    return paddle.ParamAttr(initializer=KaimingNormal(fan_in=fan_in))
