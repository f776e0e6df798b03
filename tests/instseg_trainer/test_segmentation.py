"""Shapes: drawn as pycocotools draws them, and moved as images are moved."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from instseg_trainer.data.segmentation import Segmentation, clip_polygon, polygon_area

HEIGHT, WIDTH = 96, 128
Star = Callable[..., np.ndarray]


def draw_with_pycocotools(parts: tuple[np.ndarray, ...], height: int, width: int) -> np.ndarray:
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects([part.ravel() for part in parts], height, width)))


def random_shape(star: Star, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    parts = []
    for _ in range(rng.integers(1, 4)):
        centre = (rng.uniform(0, WIDTH), rng.uniform(0, HEIGHT))
        part = star(centre, rng.uniform(1, 60), int(rng.integers(3, 9)), rng).clip(0, [WIDTH, HEIGHT])
        # COCO's one or two decimals meet the drawing's ties.
        parts.append(np.round(part, int(rng.integers(0, 4))))
    return tuple(parts)


@pytest.mark.parametrize("stride", [1, 2, 4, 8])
def test_drawing_equals_pycocotools(star: Star, stride: int) -> None:
    rng = np.random.default_rng(stride)
    for _ in range(200):
        parts = random_shape(star, rng)
        expected = draw_with_pycocotools(parts, HEIGHT, WIDTH)[::stride, ::stride]
        assert np.array_equal(Segmentation(polygons=parts).to_mask(HEIGHT, WIDTH, stride), expected)


def test_stride_takes_what_nearest_interpolation_takes(star: Star) -> None:
    paddle = pytest.importorskip("paddle")
    rng = np.random.default_rng(0)
    for height, width in ((96, 128), (320, 320), (64, 672)):
        parts = tuple(part * (width / WIDTH, height / HEIGHT) for part in random_shape(star, rng))
        full = Segmentation(polygons=parts).to_mask(height, width)
        tensor = paddle.to_tensor(full[None, None].astype("float32"))
        small = paddle.nn.functional.interpolate(tensor, (height // 4, width // 4), mode="nearest").numpy()[0, 0]
        assert np.array_equal(Segmentation(polygons=parts).to_mask(height, width, 4), small)


def test_clipping_keeps_the_pixels_inside(star: Star) -> None:
    rng = np.random.default_rng(1)
    worst = 0
    for _ in range(300):
        parts = random_shape(star, rng)
        left, top = int(rng.integers(0, 80)), int(rng.integers(0, 60))
        right, bottom = int(rng.integers(left + 20, WIDTH + 1)), int(rng.integers(top + 20, HEIGHT + 1))
        whole = draw_with_pycocotools(parts, HEIGHT, WIDTH)[top:bottom, left:right]
        cut = Segmentation(polygons=parts).crop(left, top, right, bottom).to_mask(bottom - top, right - left)
        different = whole != cut
        # The cut outline is snapped anew to the fifth of a pixel, so single pixels along it may change.
        worst = max(worst, int(different.sum()))
        assert different.sum() <= 6 + 0.02 * whole.sum()
    assert worst > 0


def test_clipped_polygon_is_inside_and_has_the_right_area() -> None:
    square = np.array([[0.0, 0.0], [10.0, 0.0], [10.0, 10.0], [0.0, 10.0]])
    assert clip_polygon(square, -1, -1, 11, 11) is square
    cut = clip_polygon(square, 2, 3, 8, 20)
    assert polygon_area(cut) == pytest.approx(6 * 7)
    assert cut.min(axis=0).tolist() == [2, 3]
    assert cut.max(axis=0).tolist() == [8, 10]
    assert len(clip_polygon(square, 20, 20, 30, 30)) == 0
    horseshoe = np.array([[0, 0], [30, 0], [30, 10], [20, 10], [20, 4], [10, 4], [10, 10], [0, 10]], dtype=float)
    assert polygon_area(clip_polygon(horseshoe, 0, 6, 30, 10)) == pytest.approx(2 * 10 * 4)


def test_geometry_of_bitmaps_and_polygons_agrees(star: Star) -> None:
    rng = np.random.default_rng(2)
    for _ in range(50):
        polygons = Segmentation(polygons=(star((60, 50), 40, 6, rng),))
        bitmap = Segmentation(bitmap=polygons.to_mask(HEIGHT, WIDTH))
        pairs = [
            (polygons.flip(WIDTH), bitmap.flip(WIDTH), HEIGHT, WIDTH),
            (polygons.crop(20, 30, 90, 80), bitmap.crop(20, 30, 90, 80), 50, 70),
            (polygons.place(5, 9, 120, 150), bitmap.place(5, 9, 120, 150), 120, 150),
            (polygons.scale(2.0, 1.5, 192, 192), bitmap.scale(2.0, 1.5, 192, 192), 192, 192),
        ]
        for from_polygons, from_bitmap, height, width in pairs:
            one, other = from_polygons.to_mask(height, width), from_bitmap.to_mask(height, width)
            union = (one | other).sum()
            assert (one & other).sum() / union > 0.95


def test_small_remains_of_a_cut_are_dropped() -> None:
    square = Segmentation(polygons=(np.array([[0.0, 0.0], [10.0, 0.0], [10.0, 10.0], [0.0, 10.0]]),))
    assert square.crop(9, 8, 50, 50).is_empty
    assert not square.crop(7, 8, 50, 50).is_empty
    assert square.crop(40, 40, 50, 50).is_empty
    assert not Segmentation(polygons=(np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]]),)).crop(0, 0, 9, 9).is_empty


def test_misuse_is_refused() -> None:
    with pytest.raises(ValueError, match="either"):
        Segmentation()
    with pytest.raises(ValueError, match="multiple of the mask stride"):
        Segmentation(polygons=()).to_mask(30, 32, 4)
    with pytest.raises(ValueError, match="bitmap of"):
        Segmentation(bitmap=np.zeros((4, 4), dtype=np.uint8)).to_mask(8, 8)
