"""Mask R-CNN and Cascade Mask R-CNN."""

from __future__ import annotations

from collections.abc import Sequence

import paddle
from paddle import nn
from paddle.nn import functional as F

from ..boxes import decode_boxes
from ..models.box_head import BoxHead
from ..models.cascade_head import CascadeHead
from ..models.mask_rcnn import FeatureOutputs, MaskRCNN
from .rows import at_least_one, one_image, original_size, row_count

_NOTHING = [-1.0, 0.0, 0.0, 0.0, 1.0, 1.0]
"""The row of an image in which nothing is found: no class, no score, a box of one pixel."""


class MaskRCNNGraph(nn.Layer):
    """im_shape (1, 2), image (1, 3, H, W), scale_factor (1, 2) -> rows (N, 6) class, score, x1, y1, x2, y2 in pixels of
    the original image; N (1,) int32; masks (N, h, w) int32 of 0 and 1. The class of a row without a box is -1, also
    where nothing is found.
    """

    def __init__(self, model: MaskRCNN) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, im_shape: paddle.Tensor, image: paddle.Tensor, scale_factor: paddle.Tensor
    ) -> tuple[paddle.Tensor, ...]:
        im_shape, scale_factor = one_image(im_shape), one_image(scale_factor)
        model = self.model
        outputs = model(image)
        proposals = self._proposals(outputs, im_shape)
        limits = paddle.concat([im_shape[0].flip([0])] * 2)
        boxes, probabilities = self._detect(outputs.features, proposals, limits)
        rows = self._suppress(boxes, probabilities)

        found = model.mask_head.roi_extractor.of_one_image(outputs.features, rows[:, 2:])
        if model.mask_head.share_box_features:
            found = model.bbox_head.head(found)
        logits = model.mask_head(found)
        class_ids = rows[:, 0].clip(min=0.0).astype("int64")
        place = paddle.arange(class_ids.shape[0], dtype="int64")
        small = F.sigmoid(paddle.gather_nd(logits, paddle.stack([place, class_ids], axis=1)))

        original = original_size(im_shape, scale_factor)
        scale = paddle.concat([scale_factor[0].flip([0])] * 2)
        limits = paddle.concat([original.flip([0])] * 2)
        boxes = paddle.minimum((rows[:, 2:] / scale).clip(min=0.0), limits)
        sides = boxes[:, 2:] - boxes[:, :2]
        filled = (sides.min(axis=1, keepdim=True) > 0).astype("float32")
        labels = rows[:, :1] * filled + filled - 1.0
        masks = _pasted(small, boxes, original) >= model.decode.mask_threshold
        rows = paddle.concat([labels, rows[:, 1:2], boxes], axis=1)
        return rows, row_count(rows), masks.astype("int32")

    def _proposals(self, outputs: FeatureOutputs, im_shape: paddle.Tensor) -> paddle.Tensor:
        """(R, 4), R >= 1, falling score."""
        head, limits = self.model.rpn_head, self.model.decode.proposal_limits
        boxes, scores = [], []
        for level, level_scores in enumerate(outputs.rpn.scores):
            anchors = head.anchors.on_map(level, level_scores.shape[2], level_scores.shape[3])
            level_boxes, level_box_scores, _ = paddle.vision.ops.generate_proposals(
                level_scores,
                outputs.rpn.deltas[level],
                im_shape,
                anchors,
                paddle.ones_like(anchors),
                pre_nms_top_n=limits.pre_nms_top_n,
                post_nms_top_n=limits.post_nms_top_n,
                nms_thresh=limits.nms_iou_threshold,
                min_size=limits.min_size,
                return_rois_num=True,
            )
            boxes.append(level_boxes)
            scores.append(level_box_scores.flatten())
        order = paddle.argsort(paddle.concat(scores), descending=True)[: limits.top_n]
        return paddle.gather(paddle.concat(boxes), order)

    def _detect(
        self, features: Sequence[paddle.Tensor], proposals: paddle.Tensor, limits: paddle.Tensor
    ) -> tuple[paddle.Tensor, paddle.Tensor]:
        """Boxes (R, K, 4) cut to `limits` (4,), K the number of classes or 1, and probabilities (R, num_classes)."""
        head = self.model.bbox_head
        if isinstance(head, BoxHead):
            outputs = head(head.roi_extractor.of_one_image(features, proposals))
            boxes = decode_boxes(outputs.deltas, proposals, head.delta_weights)
            return paddle.minimum(boxes.clip(min=0.0), limits), F.softmax(outputs.scores)[:, :-1]
        return self._detect_in_stages(head, features, proposals, limits)

    @staticmethod
    def _detect_in_stages(
        head: CascadeHead, features: Sequence[paddle.Tensor], boxes: paddle.Tensor, limits: paddle.Tensor
    ) -> tuple[paddle.Tensor, paddle.Tensor]:
        probabilities = []
        for stage in range(head.num_stages):
            outputs = head(head.roi_extractor.of_one_image(features, boxes), stage)
            probabilities.append(F.softmax(outputs.scores))
            corrected = decode_boxes(outputs.deltas, boxes, head.delta_weights[stage]).squeeze(1)
            boxes = paddle.minimum(corrected.clip(min=0.0), limits)
        mean = paddle.add_n(probabilities) / head.num_stages
        return boxes.unsqueeze(1), mean[:, :-1]

    def _suppress(self, boxes: paddle.Tensor, probabilities: paddle.Tensor) -> paddle.Tensor:
        """(N, 6), N >= 1: class, score, box in input pixels."""
        decode, classes = self.model.decode, self.model.num_classes
        count = paddle.shape(probabilities)[:1].astype("int32")
        rows, _, kept = paddle._C_ops.multiclass_nms3(
            boxes.expand([-1, classes, 4]),
            probabilities,
            count,
            decode.score_threshold,
            -1,  # every box that passes takes part
            decode.keep_top_k,
            decode.nms_iou_threshold,
            True,  # half-open boxes
            1.0,
            -1,  # the background's probability has been left out already
        )
        return at_least_one(rows[: kept[0]], _NOTHING)


def _pasted(small: paddle.Tensor, boxes: paddle.Tensor, size: paddle.Tensor) -> paddle.Tensor:
    """small (N, M, M) in boxes (N, 4), pixels of an image of `size` (2,) -> (N, h, w): bilinear, 0 around the box."""
    columns = _interpolation(boxes[:, 0], boxes[:, 2], size[1], small.shape[2])
    rows = _interpolation(boxes[:, 1], boxes[:, 3], size[0], small.shape[1])
    return rows @ small @ columns.transpose([0, 2, 1])


def _interpolation(start: paddle.Tensor, end: paddle.Tensor, pixels: paddle.Tensor, cells: int) -> paddle.Tensor:
    """(N,) ends of intervals with `cells` cells -> (N, pixels, cells): what each cell counts at each pixel's centre."""
    side = end - start
    side = paddle.where(side > 0, side, paddle.ones_like(side)).reshape([-1, 1, 1])
    centres = (paddle.arange(pixels.astype("int32"), dtype="float32") + 0.5).reshape([1, -1, 1])
    position = (centres - start.reshape([-1, 1, 1])) / side * cells - 0.5
    distance = (position - paddle.arange(cells, dtype="float32").reshape([1, 1, -1])).abs()
    return (1.0 - distance).clip(min=0.0)
