"""From features to queries: encoder tokens, their choice, the boxes they start from, and the heads.

Query choice: Zhao et al., RT-DETR, CVPR 2024, section 4.3: the tokens of highest class score, which training ties to
the overlap with objects. Starting boxes from the tokens' own masks: Li et al., "Mask DINO", CVPR 2023 (mask-enhanced
anchor box initialisation).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle import nn
from paddle.nn import functional as F

from ..centre_boxes import inverse_sigmoid, mask_extents
from .denoising import DenoisingQueries
from .layers import batch_norm
from .mask_hybrid_encoder import uniform_linear
from .mask_rtdetr_decoder import (
    DecoderLayout,
    MaskTransformerDecoder,
    QueryHeads,
    QueryPredictions,
    layer_norm,
    mask_logits,
    xavier_linear,
)

PRIOR_PROBABILITY = 0.01
"""Score of every class before training (Lin et al., "Focal Loss", 2017, section 4.1)."""


@dataclass(frozen=True)
class TransformerLayout:
    """queries: chosen tokens. mask_enhanced: they start from the boxes around their masks, not from anchor boxes.
    anchor_size: side of the finest level's anchor boxes as part of the image, doubled from level to level;
    anchor_margin: tokens whose anchor box has a coordinate nearer than this to 0 or 1 are not to be chosen.
    """

    queries: int = 300
    mask_enhanced: bool = True
    anchor_size: float = 0.05
    anchor_margin: float = 0.01
    decoder: DecoderLayout = field(default_factory=DecoderLayout)


@dataclass
class TransformerOutputs:
    """layers: predictions of the decoder's layers, or of the last one only; encoder: of the chosen tokens themselves;
    initial: of the queries before the first layer, only where there are denoising queries. With D denoising queries
    they come first in `layers` and `initial`, not in `encoder`.
    """

    layers: list[QueryPredictions]
    encoder: QueryPredictions
    initial: QueryPredictions | None


class MLP(nn.Layer):
    """Linear layers with ReLU in between; `xavier` starts the weights by Glorot and Bengio's rule."""

    def __init__(self, widths: Sequence[int], xavier: bool = False) -> None:
        super().__init__()
        linear = xavier_linear if xavier else uniform_linear
        self.layers = nn.LayerList([linear(a, b) for a, b in pairwise(widths)])

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        for index, layer in enumerate(self.layers):
            x = layer(x) if index == 0 else layer(F.relu(x))
        return x


@paddle.jit.not_to_static
def anchor_logits(
    shapes: Sequence[tuple[int, int]], size: float, margin: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Each cell's anchor box before the sigmoid (1, L, 4), and whether it may be chosen (1, L, 1), 1 or 0.

    cx, cy, w, h; infinite where it may not. (The reference divides both coordinates by the height; on squares, which
    is all it trains on, this is the same.)
    """
    boxes = []
    for level, (height, width) in enumerate(shapes):
        y, x = np.meshgrid(np.arange(height, dtype=np.float32), np.arange(width, dtype=np.float32), indexing="ij")
        side = np.full_like(x, np.float32(size) * np.float32(2.0**level))
        centres = (x + np.float32(0.5)) / np.float32(width), (y + np.float32(0.5)) / np.float32(height)
        boxes.append(np.stack([*centres, side, side], axis=-1).reshape(-1, 4))
    anchors = np.concatenate(boxes)[None]
    allowed = ((anchors > np.float32(margin)) & (anchors < np.float32(1 - margin))).all(-1, keepdims=True)
    logits = np.where(allowed, np.log(anchors / (1 - anchors)), np.inf)
    return np.asarray(logits, np.float32), np.asarray(allowed, np.float32)


class MaskRTDETRTransformer(nn.Layer):
    """Pyramid of three levels (B, C, ...) and mask features (B, prototypes, h, w) -> `TransformerOutputs`."""

    def __init__(
        self, channels_in: Sequence[int], num_classes: int, prototypes: int, layout: TransformerLayout
    ) -> None:
        super().__init__()
        channels = layout.decoder.channels
        self.num_classes = num_classes
        self.layout = layout
        self.input_proj = nn.LayerList([_projection(c, channels) for c in channels_in])
        self.decoder = MaskTransformerDecoder(layout.decoder)
        self.denoising_class_embed = nn.Embedding(
            num_classes, channels, weight_attr=paddle.ParamAttr(initializer=nn.initializer.Normal())
        )
        self.query_pos_head = MLP([4, 2 * channels, channels], xavier=True)
        self.mask_query_head = MLP([channels, channels, channels, prototypes])
        self.enc_output = nn.Sequential(xavier_linear(channels, channels), layer_norm(channels))
        self.dec_norm = layer_norm(channels)
        self.score_head = uniform_linear(channels, num_classes)
        self.bbox_head = MLP([channels, channels, channels, 4])
        zero = nn.initializer.Constant(0.0)
        zero(self.bbox_head.layers[-1].weight)
        zero(self.bbox_head.layers[-1].bias)
        nn.initializer.Constant(-math.log((1 - PRIOR_PROBABILITY) / PRIOR_PROBABILITY))(self.score_head.bias)

    def forward(
        self,
        pyramid: Sequence[paddle.Tensor],
        mask_features: paddle.Tensor,
        denoising: DenoisingQueries | None = None,
        every_layer: bool = False,
    ) -> TransformerOutputs:
        """every_layer: the predictions that the loss needs, with the gradients that training passes on."""
        features = [projection(feature) for projection, feature in zip(self.input_proj, pyramid)]
        shapes = [(int(feature.shape[2]), int(feature.shape[3])) for feature in features]
        memory = paddle.concat([feature.flatten(2).transpose([0, 2, 1]) for feature in features], axis=1)
        queries, encoder = self._choose(memory, shapes)
        boxes_unact = inverse_sigmoid(self._starting_boxes(encoder, mask_features))
        if every_layer:
            queries, boxes_unact = queries.detach(), boxes_unact.detach()
        attention_bias = initial = None
        if denoising is not None:
            queries = paddle.concat([self._embed(denoising.class_ids), queries], axis=1)
            boxes_unact = paddle.concat([inverse_sigmoid(denoising.boxes), boxes_unact], axis=1)
            attention_bias = denoising.attention_bias(self.layout.queries)
            logits, embeddings = self.describe(queries)
            initial = QueryPredictions(logits, F.sigmoid(boxes_unact), embeddings)
        heads = QueryHeads(self.describe, self.bbox_head, self.query_pos_head)
        layers = self.decoder(
            queries, F.sigmoid(boxes_unact), memory, shapes, heads, attention_bias, every_layer=every_layer
        )
        return TransformerOutputs(layers, encoder, initial)

    def describe(self, queries: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor]:
        """Class logits (B, N, num_classes) and mask embeddings (B, N, prototypes) of queries (B, N, C)."""
        normed = self.dec_norm(queries)
        return self.score_head(normed), self.mask_query_head(normed)

    def _choose(
        self, memory: paddle.Tensor, shapes: Sequence[tuple[int, int]]
    ) -> tuple[paddle.Tensor, QueryPredictions]:
        """The tokens of highest class score as queries (B, N, C), and what they predict."""
        anchors, allowed = anchor_logits(shapes, self.layout.anchor_size, self.layout.anchor_margin)
        encoded = self.enc_output(memory * paddle.to_tensor(allowed))
        scores = self.score_head(encoded).max(-1)
        _, chosen = paddle.topk(scores, self.layout.queries, axis=1)
        # Integer arithmetic of tensors: with a Python number, the ONNX converter takes a way through floats.
        first = paddle.arange(chosen.shape[0], dtype=chosen.dtype) * paddle.full([1], anchors.shape[1], chosen.dtype)
        channels, count = self.layout.decoder.channels, self.layout.queries
        rows = (chosen + first.unsqueeze(1)).reshape([-1])
        queries = paddle.gather(encoded.reshape([-1, channels]), rows).reshape([-1, count, channels])
        start = paddle.gather(paddle.to_tensor(anchors).squeeze(0), chosen.reshape([-1])).reshape([-1, count, 4])
        boxes = F.sigmoid(self.bbox_head(queries) + start)
        logits, embeddings = self.describe(queries)
        return queries, QueryPredictions(logits, boxes, embeddings)

    def _starting_boxes(self, encoder: QueryPredictions, mask_features: paddle.Tensor) -> paddle.Tensor:
        if not self.layout.mask_enhanced:
            return encoder.boxes
        return mask_extents(mask_logits(encoder.mask_embeddings, mask_features))

    def _embed(self, class_ids: paddle.Tensor) -> paddle.Tensor:
        """(B, D) -> (B, D, C); zeros for `num_classes`, which stands for padding."""
        weight = self.denoising_class_embed.weight
        table = paddle.concat([weight, paddle.zeros([1, weight.shape[1]])])
        return F.embedding(class_ids, table)


def _projection(channels_in: int, channels: int) -> nn.Sequential:
    convolution = nn.Conv2D(
        channels_in,
        channels,
        1,
        weight_attr=paddle.ParamAttr(initializer=nn.initializer.XavierUniform()),
        bias_attr=False,
    )
    return nn.Sequential(("conv", convolution), ("norm", batch_norm(channels)))
