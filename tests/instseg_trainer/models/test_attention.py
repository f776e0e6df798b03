"""Attention layers against plain formulas."""

from __future__ import annotations

import numpy as np
import pytest

paddle = pytest.importorskip("paddle", reason="needs the [train] extra")

from instseg_trainer.models.attention import MultiHeadAttention
from instseg_trainer.models.deformable_attention import MultiScaleDeformableAttention
from instseg_trainer.models.mask_hybrid_encoder import sine_position_embedding


def test_multi_head_attention_equals_the_frameworks() -> None:
    own, other = MultiHeadAttention(16, 4), paddle.nn.MultiHeadAttention(16, 4)
    own.in_proj_bias.set_value(paddle.randn([48]))
    for part, layer in enumerate((other.q_proj, other.k_proj, other.v_proj)):
        layer.weight.set_value(own.in_proj_weight[:, 16 * part : 16 * part + 16])
        layer.bias.set_value(own.in_proj_bias[16 * part : 16 * part + 16])
    other.out_proj.set_state_dict(own.out_proj.state_dict())
    query, key, value = paddle.randn([3, 2, 5, 16])
    # Everyone sees itself and some of the others.
    visible = (paddle.rand([5, 5]) < 0.5) | (paddle.eye(5) > 0)
    bias = paddle.where(visible, paddle.zeros([]), paddle.full([], float("-inf")))
    np.testing.assert_allclose(own(query, key, value).numpy(), other(query, key, value).numpy(), atol=1e-5)
    np.testing.assert_allclose(
        own(query, key, value, bias).numpy(), other(query, key, value, attn_mask=bias).numpy(), atol=1e-5
    )


@pytest.mark.parametrize("layer", [MultiHeadAttention, lambda c, h: MultiScaleDeformableAttention(c, h, 1, 1)])
def test_heads_divide_the_channels(layer: object) -> None:
    with pytest.raises(ValueError, match="heads"):
        layer(10, 4)


def bilinear(feature: np.ndarray, x: float, y: float) -> np.ndarray:
    """feature (h, w, c) at x, y in 0..1, zero outside."""
    height, width = feature.shape[:2]
    px, py = x * width - 0.5, y * height - 0.5
    result = np.zeros(feature.shape[2])
    for row in (int(np.floor(py)), int(np.floor(py)) + 1):
        for column in (int(np.floor(px)), int(np.floor(px)) + 1):
            if 0 <= row < height and 0 <= column < width:
                result += (1 - abs(px - column)) * (1 - abs(py - row)) * feature[row, column]
    return result


@pytest.mark.parametrize("explicit_sampling", [False, True])
def test_deformable_attention_by_its_formula(explicit_sampling: bool) -> None:
    heads, levels, points, channels = 2, 2, 3, 8
    layer = MultiScaleDeformableAttention(channels, heads, levels, points)
    layer.explicit_sampling = explicit_sampling
    for linear in (layer.sampling_offsets, layer.attention_weights):
        linear.weight.set_value(paddle.randn(linear.weight.shape) * 0.5)
    shapes = [(3, 4), (2, 1)]
    queries, memory = paddle.randn([2, 5, channels]), paddle.randn([2, 14, channels])
    boxes = paddle.rand([2, 5, 4])
    actual = layer(queries, boxes, memory, shapes)
    values = layer.value_proj(memory).numpy().reshape(2, 14, heads, -1)
    offsets = layer.sampling_offsets(queries).numpy().reshape(2, 5, heads, levels, points, 2)
    logits = layer.attention_weights(queries).numpy().reshape(2, 5, heads, levels * points)
    weights = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    expected = np.zeros((2, 5, channels))
    for image, query, head in np.ndindex(2, 5, heads):
        cx, cy, w, h = boxes[image, query].numpy()
        total = np.zeros(channels // heads)
        for level, (height, width) in enumerate(shapes):
            start = 0 if level == 0 else 12
            feature = values[image, start : start + height * width, head].reshape(height, width, -1)
            for point in range(points):
                dx, dy = offsets[image, query, head, level, point] / points / 2
                weight = weights[image, query, head, level * points + point]
                total += weight * bilinear(feature, cx + dx * w, cy + dy * h)
        expected[image, query, head * 4 : head * 4 + 4] = total
    expected = expected.astype(np.float32) @ layer.output_proj.weight.numpy() + layer.output_proj.bias.numpy()
    np.testing.assert_allclose(actual.numpy(), expected, atol=1e-5)


def test_heads_start_by_looking_around() -> None:
    layer = MultiScaleDeformableAttention(8, 4, 3, 2)
    offsets = layer.sampling_offsets.bias.numpy().reshape(4, 3, 2, 2)
    directions = [(1, 0), (0, 1), (-1, 0), (0, -1)]
    for head, direction in enumerate(directions):
        for point in range(2):
            expected = np.tile(np.multiply(direction, point + 1), (3, 1))
            np.testing.assert_allclose(offsets[head, :, point], expected, atol=1e-6)


def test_position_embedding_of_images_that_are_not_square() -> None:
    embedding = sine_position_embedding(3, 5, 8)[0].reshape(3, 5, 8)
    frequencies = 10000.0 ** -(np.arange(2) / 2)
    for row, column in np.ndindex(3, 5):
        angles = row * frequencies, column * frequencies
        expected = np.concatenate([f(a) for a in angles for f in (np.sin, np.cos)])
        np.testing.assert_allclose(embedding[row, column], expected, atol=1e-6)
    with pytest.raises(ValueError, match="multiple of 4"):
        sine_position_embedding(2, 2, 6)
