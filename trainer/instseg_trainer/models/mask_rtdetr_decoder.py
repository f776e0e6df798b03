"""Decoder of Mask-RT-DETR: queries look at each other and at the image, and move their boxes from layer to layer.

Layer: Zhu et al., "Deformable DETR", ICLR 2021. Boxes refined from layer to layer, each layer's loss also teaching the
layer before it: Zhang et al., "DINO", ICLR 2023, section 3.5 ("look forward twice"). Masks as products of query
embeddings with mask features: Li et al., "Mask DINO", CVPR 2023.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import paddle
from paddle import nn
from paddle.nn import functional as F
from paddle.regularizer import L2Decay

from ..centre_boxes import inverse_sigmoid
from .attention import MultiHeadAttention
from .deformable_attention import MultiScaleDeformableAttention


@dataclass(frozen=True)
class DecoderLayout:
    """levels: feature maps looked at; points: sampled per query, head and level; feedforward: inner width."""

    channels: int = 256
    layers: int = 6
    heads: int = 8
    levels: int = 3
    points: int = 4
    feedforward: int = 1024
    dropout: float = 0.0


@dataclass
class QueryPredictions:
    """What N queries say: class_logits (B, N, num_classes), boxes (B, N, 4) cx, cy, w, h in 0..1, mask_embeddings
    (B, N, prototypes); see `mask_logits`.
    """

    class_logits: paddle.Tensor
    boxes: paddle.Tensor
    mask_embeddings: paddle.Tensor

    def split(self, first: int) -> tuple[QueryPredictions, QueryPredictions]:
        """Those of the first so many queries, and those of the others."""
        parts = [(x[:, :first], x[:, first:]) for x in (self.class_logits, self.boxes, self.mask_embeddings)]
        return QueryPredictions(*(head for head, _ in parts)), QueryPredictions(*(tail for _, tail in parts))


@dataclass(frozen=True)
class QueryHeads:
    """The heads that all layers share.

    describe: queries (B, N, C) -> class logits and mask embeddings; box: queries -> change of the box before the
    sigmoid (B, N, 4); position: boxes (B, N, 4) -> what is added to the queries (B, N, C).
    """

    describe: Callable[[paddle.Tensor], tuple[paddle.Tensor, paddle.Tensor]]
    box: Callable[[paddle.Tensor], paddle.Tensor]
    position: Callable[[paddle.Tensor], paddle.Tensor]


def mask_logits(embeddings: paddle.Tensor, mask_features: paddle.Tensor) -> paddle.Tensor:
    """embeddings (B, N, P) times mask_features (B, P, h, w) -> (B, N, h, w)."""
    height, width = mask_features.shape[2:]
    return paddle.bmm(embeddings, mask_features.flatten(2)).reshape([0, 0, height, width])


def layer_norm(channels: int) -> nn.LayerNorm:
    """LayerNorm without weight decay."""
    weight_attr, bias_attr = (paddle.ParamAttr(regularizer=L2Decay(0.0)) for _ in range(2))
    return nn.LayerNorm(channels, weight_attr=weight_attr, bias_attr=bias_attr)


class MaskDecoderLayer(nn.Layer):
    """Self-attention, deformable attention to the image, feed-forward network; shortcut and LayerNorm each."""

    def __init__(self, layout: DecoderLayout) -> None:
        super().__init__()
        channels = layout.channels
        self.self_attn = MultiHeadAttention(channels, layout.heads, layout.dropout)
        self.dropout1 = nn.Dropout(layout.dropout)
        self.norm1 = layer_norm(channels)
        self.cross_attn = MultiScaleDeformableAttention(channels, layout.heads, layout.levels, layout.points)
        self.dropout2 = nn.Dropout(layout.dropout)
        self.norm2 = layer_norm(channels)
        self.linear1 = xavier_linear(channels, layout.feedforward)
        self.dropout3 = nn.Dropout(layout.dropout)
        self.linear2 = xavier_linear(layout.feedforward, channels)
        self.dropout4 = nn.Dropout(layout.dropout)
        self.norm3 = layer_norm(channels)

    def forward(
        self,
        queries: paddle.Tensor,
        position: paddle.Tensor,
        boxes: paddle.Tensor,
        memory: paddle.Tensor,
        shapes: Sequence[tuple[int, int]],
        attention_bias: paddle.Tensor | None,
    ) -> paddle.Tensor:
        located = queries + position
        attended = self.self_attn(located, located, queries, attention_bias)
        queries = self.norm1(queries + self.dropout1(attended))
        looked = self.cross_attn(queries + position, boxes, memory, shapes)
        queries = self.norm2(queries + self.dropout2(looked))
        hidden = self.dropout3(F.relu(self.linear1(queries)))
        return self.norm3(queries + self.dropout4(self.linear2(hidden)))


class MaskTransformerDecoder(nn.Layer):
    """The layers, and what the queries predict behind each of them."""

    def __init__(self, layout: DecoderLayout) -> None:
        super().__init__()
        self.layers = nn.LayerList([MaskDecoderLayer(layout) for _ in range(layout.layers)])

    def forward(
        self,
        queries: paddle.Tensor,
        boxes: paddle.Tensor,
        memory: paddle.Tensor,
        shapes: Sequence[tuple[int, int]],
        heads: QueryHeads,
        attention_bias: paddle.Tensor | None = None,
        every_layer: bool = False,
    ) -> list[QueryPredictions]:
        """queries (B, N, C), boxes (B, N, 4) where they start; memory and shapes: see the deformable attention.

        every_layer: predictions of each layer, for the loss; otherwise of the last one only.
        """
        predictions = []
        # `boxes` carries no gradient into the next layer; `traced`, the same numbers, carries that of one layer.
        traced = boxes
        for index, layer in enumerate(self.layers):
            queries = layer(queries, heads.position(boxes), boxes, memory, shapes, attention_bias)
            change = heads.box(queries)
            refined = F.sigmoid(change + inverse_sigmoid(boxes))
            if every_layer or index == len(self.layers) - 1:
                for_loss = F.sigmoid(change + inverse_sigmoid(traced)) if every_layer and index > 0 else refined
                class_logits, mask_embeddings = heads.describe(queries)
                predictions.append(QueryPredictions(class_logits, for_loss, mask_embeddings))
            traced, boxes = refined, refined.detach() if every_layer else refined
        return predictions


def xavier_linear(inputs: int, outputs: int) -> nn.Linear:
    """Weights start by Glorot and Bengio's uniform rule, biases uniform in +-1 / sqrt(inputs)."""
    bound = inputs**-0.5
    return nn.Linear(
        inputs,
        outputs,
        weight_attr=paddle.ParamAttr(initializer=nn.initializer.XavierUniform()),
        bias_attr=paddle.ParamAttr(initializer=nn.initializer.Uniform(-bound, bound)),
    )
