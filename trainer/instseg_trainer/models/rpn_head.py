"""Region proposal network (Ren et al., "Faster R-CNN", NeurIPS 2015, section 3.1), one head for all feature maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import paddle
from paddle import nn
from paddle.nn import functional as F
from paddle.nn.initializer import Normal

from ..assigners.anchor_assigner import AnchorAssigner
from ..assigners.image_objects import ImageObjects
from ..losses.rcnn_loss import rpn_loss
from .anchors import AnchorGenerator


@dataclass(frozen=True)
class ProposalLimits:
    """How many proposals survive.

    pre_nms_top_n, post_nms_top_n: best scored boxes of one feature map ahead of the NMS and after it.
    top_n: best scored boxes of one image that are left of all its feature maps together.
    nms_iou_threshold: boxes that overlap a better one of their feature map by more are dropped.
    min_size: boxes with a side below max(this, 1) input pixels are dropped.
    """

    pre_nms_top_n: int
    post_nms_top_n: int
    top_n: int
    nms_iou_threshold: float = 0.7
    min_size: float = 0.0


@dataclass
class RPNOutputs:
    """Per feature map of (H, W) cells with A anchors each: scores (B, A, H, W), logits of "there is an object";
    deltas (B, 4 * A, H, W), corrections of the anchors (see `instseg_trainer.boxes`), weights 1.
    """

    scores: list[paddle.Tensor]
    deltas: list[paddle.Tensor]


class RPNFeat(nn.Layer):
    """One 3x3 convolution and ReLU, the same for every feature map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.rpn_conv = nn.Conv2D(channels, channels, 3, padding=1, weight_attr=_small_normal())

    def forward(self, features: Sequence[paddle.Tensor]) -> list[paddle.Tensor]:
        return [F.relu(self.rpn_conv(feature)) for feature in features]


class RPNHead(nn.Layer):
    """Feature maps -> `RPNOutputs`; `propose` makes boxes of them, `loss` trains on them."""

    def __init__(
        self, channels: int, anchors: AnchorGenerator, train_limits: ProposalLimits, assigner: AnchorAssigner
    ) -> None:
        super().__init__()
        self.anchors = anchors
        self.train_limits = train_limits
        self.assigner = assigner
        self.rpn_feat = RPNFeat(channels)
        self.rpn_rois_score = nn.Conv2D(channels, anchors.num_anchors, 1, weight_attr=_small_normal())
        self.rpn_rois_delta = nn.Conv2D(channels, 4 * anchors.num_anchors, 1, weight_attr=_small_normal())

    def forward(self, features: Sequence[paddle.Tensor]) -> RPNOutputs:
        scores, deltas = [], []
        for feature in self.rpn_feat(features):
            scores.append(self.rpn_rois_score(feature))
            deltas.append(self.rpn_rois_delta(feature))
        return RPNOutputs(scores, deltas)

    @paddle.no_grad()
    def propose(
        self, outputs: RPNOutputs, image_sizes: Sequence[tuple[int, int]], limits: ProposalLimits
    ) -> list[paddle.Tensor]:
        """The best boxes of each image, clipped to its (height, width) inside the padded input: one (R, 4) per image,
        1 <= R <= `limits.top_n`, without order.

        The feature maps are suppressed one by one: a box does not compete with those of another size.
        """
        anchors = self._anchors_of(outputs)
        proposals = []
        for index, size in enumerate(image_sizes):
            boxes, scores = [], []
            for level_scores, level_deltas, level_anchors in zip(outputs.scores, outputs.deltas, anchors):
                level_boxes, level_box_scores, _ = paddle.vision.ops.generate_proposals(
                    level_scores[index : index + 1],
                    level_deltas[index : index + 1],
                    paddle.to_tensor([size], dtype="float32"),
                    level_anchors,
                    paddle.ones_like(level_anchors),  # weights of the deltas
                    pre_nms_top_n=limits.pre_nms_top_n,
                    post_nms_top_n=limits.post_nms_top_n,
                    nms_thresh=limits.nms_iou_threshold,
                    min_size=limits.min_size,
                    return_rois_num=True,
                )
                boxes.append(level_boxes)
                scores.append(level_box_scores.flatten())
            image_boxes, image_scores = paddle.concat(boxes), paddle.concat(scores)
            if image_boxes.shape[0] > limits.top_n:
                _, best = paddle.topk(image_scores, limits.top_n)
                image_boxes = paddle.gather(image_boxes, best)
            proposals.append(image_boxes)
        return proposals

    def loss(self, outputs: RPNOutputs, objects: Sequence[ImageObjects]) -> dict[str, paddle.Tensor]:
        """Scalars `loss_rpn_cls` and `loss_rpn_reg`."""
        targets = self.assigner(paddle.concat(self._anchors_of(outputs)), objects)
        scores = paddle.concat([_anchors_last(level, 1) for level in outputs.scores], axis=1)
        deltas = paddle.concat([_anchors_last(level, 4) for level in outputs.deltas], axis=1)
        sampled = self.assigner.sampler.count * len(objects)
        return rpn_loss(scores.flatten(), deltas.reshape([-1, 4]), targets, sampled)

    def _anchors_of(self, outputs: RPNOutputs) -> list[paddle.Tensor]:
        return self.anchors([(int(level.shape[2]), int(level.shape[3])) for level in outputs.scores])


def _anchors_last(level: paddle.Tensor, values: int) -> paddle.Tensor:
    """(B, A * values, H, W) -> (B, H * W * A, values), in the order of the anchors."""
    return level.transpose([0, 2, 3, 1]).reshape([level.shape[0], -1, values])


def _small_normal() -> paddle.ParamAttr:
    return paddle.ParamAttr(initializer=Normal(std=0.01))
