"""Multi-head attention (Vaswani et al., "Attention Is All You Need", 2017, section 3.2) under the reference's names."""

from __future__ import annotations

import paddle
from paddle import nn
from paddle.nn import functional as F


class MultiHeadAttention(nn.Layer):
    """Queries, keys (B, N, C) and values (B, N, C) -> (B, N, C).

    One matrix `in_proj_weight` (C, 3 C) holds the projections of queries, keys and values side by side.
    """

    def __init__(self, channels: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"{channels} channels do not divide into {heads} heads")
        self.channels = channels
        self.heads = heads
        self.dropout = dropout
        xavier = paddle.ParamAttr(initializer=nn.initializer.XavierUniform())
        self.in_proj_weight: paddle.Tensor = self.create_parameter([channels, 3 * channels], attr=xavier)
        self.in_proj_bias: paddle.Tensor = self.create_parameter([3 * channels], is_bias=True)
        self.out_proj = nn.Linear(
            channels,
            channels,
            weight_attr=paddle.ParamAttr(initializer=nn.initializer.XavierUniform()),
            bias_attr=paddle.ParamAttr(initializer=nn.initializer.Constant(0.0)),
        )

    def _project(self, x: paddle.Tensor, part: int) -> paddle.Tensor:
        """(B, N, C) -> (B, heads, N, C / heads) by the part-th third of the input projection."""
        columns = slice(part * self.channels, (part + 1) * self.channels)
        x = F.linear(x, self.in_proj_weight[:, columns], self.in_proj_bias[columns])
        return x.reshape([0, 0, self.heads, self.channels // self.heads]).transpose([0, 2, 1, 3])

    def forward(
        self, query: paddle.Tensor, key: paddle.Tensor, value: paddle.Tensor, bias: paddle.Tensor | None = None
    ) -> paddle.Tensor:
        """bias: added to the scaled products, (N, N) or broadcastable; -inf where a query must not look."""
        projected_query, projected_key, projected_value = (
            self._project(x, part) for part, x in enumerate((query, key, value))
        )
        products = paddle.matmul(projected_query, projected_key, transpose_y=True)
        products = products * (self.channels // self.heads) ** -0.5
        weights = F.softmax(products if bias is None else products + bias)
        if self.dropout:
            weights = F.dropout(weights, self.dropout, training=self.training)
        mixed = paddle.matmul(weights, projected_value).transpose([0, 2, 1, 3])
        return self.out_proj(mixed.reshape([0, 0, self.channels]))
