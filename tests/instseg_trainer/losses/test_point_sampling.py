"""Sampling of maps at points."""

from __future__ import annotations

import numpy as np
import pytest

paddle = pytest.importorskip("paddle", reason="needs the [train] extra")

from instseg_trainer.losses.point_sampling import (
    PointSampling,
    dice_loss,
    sample_maps,
    sample_target_masks,
    uncertain_points,
)


def test_centres_of_cells() -> None:
    maps = paddle.arange(6, dtype="float32").reshape([1, 1, 2, 3])
    points = paddle.to_tensor([[[0.5 / 3, 0.25], [2.5 / 3, 0.75], [0.5, 0.5], [2.0, 0.5]]])
    np.testing.assert_allclose(sample_maps(maps, points).numpy(), [[[0, 5, 2.5, 0]]], atol=1e-6)


def test_target_masks_are_sampled_like_maps() -> None:
    masks = (paddle.rand([3, 7, 9]) < 0.5).astype("float32")
    rows = paddle.to_tensor([2, 0, 2, 1, 1])
    points = paddle.rand([5, 200, 2]) * 1.2 - 0.1  # some of them outside
    expected = sample_maps(paddle.gather(masks, rows).unsqueeze(1), points).squeeze(1)
    np.testing.assert_allclose(sample_target_masks(masks, rows, points).numpy(), expected.numpy(), atol=1e-5)


def test_most_points_are_where_the_mask_is_uncertain() -> None:
    paddle.seed(5)
    # Logits cross zero at x = 0.25 in the first mask, at x = 0.75 in the second.
    x = (paddle.arange(40, dtype="float32") + 0.5) / 40
    logits = paddle.stack([(x - edge).expand([40, 40]) * 10 for edge in (0.25, 0.75)])
    settings = PointSampling(points=400, oversample_ratio=3.0, important_ratio=0.75)
    points = uncertain_points(logits, settings, paddle.rand).numpy()
    assert points.shape == (2, 400, 2)
    assert (points >= 0).all()
    assert (points < 1).all()
    for row, edge in zip(points, (0.25, 0.75)):
        # 300 of 1200 candidates: those within an eighth of the edge, and a few at the border, where maps fade to 0.
        assert (np.abs(row[:300, 0] - edge) < 0.16).mean() > 0.95
        assert row[300:, 0].std() == pytest.approx(12**-0.5, abs=0.06)


def test_only_important_points() -> None:
    points = uncertain_points(paddle.rand([1, 4, 4]), PointSampling(points=8, important_ratio=1.0), paddle.rand)
    assert points.shape == [1, 8, 2]


def test_dice() -> None:
    sure = paddle.to_tensor([[50.0, 50.0, -50.0, -50.0]])
    np.testing.assert_allclose(dice_loss(sure, paddle.to_tensor([[1.0, 1.0, 0.0, 0.0]])).numpy(), [0], atol=1e-6)
    np.testing.assert_allclose(dice_loss(sure, paddle.to_tensor([[0.0, 0.0, 1.0, 1.0]])).numpy(), [0.8], atol=1e-6)
