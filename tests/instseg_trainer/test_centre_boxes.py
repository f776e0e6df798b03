"""Boxes by centre and size, and boxes around masks."""

from __future__ import annotations

import numpy as np
import pytest

paddle = pytest.importorskip("paddle", reason="needs the [train] extra")

from instseg_trainer.centre_boxes import centre_to_corners, corners_to_centre, inverse_sigmoid, mask_extents


def test_there_and_back() -> None:
    corners = paddle.to_tensor([[1.0, 2.0, 5.0, 4.0], [0.0, 0.0, 0.0, 0.0]])
    np.testing.assert_array_equal(corners_to_centre(corners).numpy(), [[3, 3, 4, 2], [0, 0, 0, 0]])
    np.testing.assert_array_equal(centre_to_corners(corners_to_centre(corners)).numpy(), corners.numpy())


def test_inverse_sigmoid() -> None:
    values = paddle.to_tensor([0.5, 0.9, 0.0, 1.0, -2.0, 3.0])
    bound = float(np.log(1e5))
    expected = [0, np.log(9), -bound, bound, -bound, bound]
    np.testing.assert_allclose(inverse_sigmoid(values).numpy(), expected, rtol=1e-5, atol=1e-6)


def test_extents_of_masks() -> None:
    rng = np.random.default_rng(2)
    logits = rng.normal(size=(2, 6, 5, 8)).astype(np.float32) - 1.8
    logits[0, 0] = -1  # nothing
    logits[0, 1] = 1  # everything
    logits[0, 2] = -1
    logits[0, 2, 4, 7] = 1  # the last cell
    actual = mask_extents(paddle.to_tensor(logits)).numpy()
    for index in np.ndindex(2, 6):
        y, x = np.nonzero(logits[index] > 0)
        if not len(x):
            assert (actual[index] == 0).all()
            continue
        x1, y1, x2, y2 = x.min() / 8, y.min() / 5, (x.max() + 1) / 8, (y.max() + 1) / 5
        np.testing.assert_allclose(actual[index], [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1], atol=1e-6)
