"""Pictures: colours at the right place, text inside the image, no characters that a font lacks."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instseg_rt import text
from instseg_rt._core import PackedMask
from instseg_rt.drawing import class_color, draw_result
from instseg_rt.result import Result
from instseg_rt.sources import SourceImage
from instseg_rt.text import render_text

from .conftest import MakeResult


def drawn(
    boxes: list[tuple[float, ...]], mask: np.ndarray, *, name: str = "thing", value: int = 90
) -> tuple[np.ndarray, np.ndarray]:
    """An even grey image of the mask's size, and the same with the instances drawn."""
    height, width = mask.shape
    image = np.full((height, width, 3), value, np.uint8)
    packed = [PackedMask.from_dense(mask)] * len(boxes)
    result = Result(
        np.array(boxes, np.float32),
        np.full(len(boxes), 0.9),
        np.zeros(len(boxes), int),
        packed,
        names=[name],
        orig_shape=(height, width),
        source=SourceImage(image, "bgr"),
    )
    return image, result.plot()


def test_the_input_is_not_changed(make_result: MakeResult) -> None:
    result = make_result()
    before = result["input_img"].copy()
    picture = draw_result(result["input_img"], result)
    np.testing.assert_array_equal(result["input_img"], before)
    assert picture.shape == before.shape
    assert picture.dtype == np.uint8
    assert (picture != before).any()


def test_labels_without_scores() -> None:
    mask = np.zeros((120, 300), bool)
    mask[60:100, 20:24] = True
    image = np.full((120, 300, 3), 90, np.uint8)
    result = Result(
        np.array([[20, 60, 24, 100]]),
        np.array([0.9]),
        np.array([0]),
        [PackedMask.from_dense(mask)],
        names=["thing"],
        orig_shape=(120, 300),
    )
    with_score, without = draw_result(image, result), draw_result(image, result, scores=False)
    # The label reaches beyond the box to the right, further with the score.
    reach = [
        int((picture != image).any(axis=2)[30:58].any(axis=0).nonzero()[0].max()) for picture in (with_score, without)
    ]
    assert reach[0] > reach[1] + 15


def test_blue_stays_blue(make_result: MakeResult) -> None:
    """PaddleX takes BGR for RGB here and saves a blue photo red."""
    empty = make_result([])
    image = np.zeros((60, 80, 3), np.uint8)
    image[:, :, 0] = 200
    np.testing.assert_array_equal(draw_result(image, empty), image)


def test_mask_is_filled_and_outside_is_untouched() -> None:
    mask = np.zeros((400, 400), bool)
    mask[150:250, 150:250] = True
    image, picture = drawn([(150, 150, 250, 250)], mask)
    blended = np.array(class_color(0)) * 0.45 + 90 * 0.55
    np.testing.assert_allclose(picture[200, 200], blended, atol=1)
    np.testing.assert_array_equal(picture[300:], image[300:])
    np.testing.assert_array_equal(picture[:, 300:], image[:, 300:])


def test_colours_are_fixed_and_neighbours_differ() -> None:
    colors = [class_color(index) for index in range(80)]
    assert len(set(colors)) == 80
    assert colors == [class_color(index) for index in range(80)]
    near = min(
        float(np.linalg.norm(np.subtract(colors[a], colors[b])))
        for a in range(80)
        for b in range(a + 1, min(a + 4, 80))
    )
    assert near > 60


@pytest.mark.parametrize("value", [0, 90, 255])
def test_label_text_stands_out_on_any_background(value: int) -> None:
    """Ink and label background differ much in brightness, wherever the label lies."""
    _, picture = drawn([(100, 100, 300, 300)], np.zeros((400, 400), bool), value=value)
    label = picture[75:99, 102:160].astype(float).mean(axis=2)
    assert label.max() - label.min() > 100


@pytest.mark.parametrize("box", [(0, 0, 40, 40), (360, 0, 400, 40), (0, 360, 40, 400), (360, 360, 500, 500)])
def test_labels_stay_inside(box: tuple[float, ...]) -> None:
    """A label at the border is moved, not cut: all of its background is there."""
    name = "a fairly long label"
    _, picture = drawn([box], np.zeros((400, 400), bool), name=name)
    label = render_text((f"{name} 0.90", ""), 12)
    background = (picture == class_color(0)).all(axis=2)
    inside = (label.outer_height * label.outer_width) - np.count_nonzero(label.coverage)
    assert np.count_nonzero(background) >= inside


def test_labels_of_equal_boxes_do_not_cover_each_other() -> None:
    _, one = drawn([(100, 100, 300, 300)], np.zeros((400, 400), bool))
    _, three = drawn([(100, 100, 300, 300)] * 3, np.zeros((400, 400), bool))

    def area(picture: np.ndarray) -> int:
        return int(np.count_nonzero((picture == class_color(0)).all(axis=2)))

    label = render_text(("thing 0.90", ""), 12)
    assert area(three) - area(one) > 1.5 * label.outer_height * label.outer_width * 0.6


@settings(max_examples=80, deadline=None)
@given(
    st.integers(1, 50),
    st.integers(1, 50),
    st.tuples(*[st.floats(width=32)] * 4),
)
def test_any_box_in_any_image(height: int, width: int, box: tuple[float, ...]) -> None:
    mask = np.random.default_rng(height).random((height, width)) < 0.5
    _, picture = drawn([box], mask)
    assert picture.shape == (height, width, 3)


def test_extreme_images() -> None:
    for shape in ((1, 1), (10, 20000), (20000, 10)):
        _, picture = drawn([(0, 0, *shape[::-1])], np.ones(shape, bool))
        assert picture.shape[:2] == shape


def no_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    text._system_font.cache_clear()
    render_text.cache_clear()


@pytest.fixture(autouse=True)
def fresh_fonts() -> None:
    text._system_font.cache_clear()
    render_text.cache_clear()


def test_accents_are_dropped_and_other_scripts_replaced_without_a_font(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    no_pillow(monkeypatch)
    plain, fallback = render_text(("cafe 0.90", "class 3: 0.90"), 20), render_text(("class 3: 0.90", ""), 20)
    np.testing.assert_array_equal(render_text(("café 0.90", "class 3: 0.90"), 20).coverage, plain.coverage)
    for name in ("猫 0.90", "кот 0.90", "bell\a 0.90"):
        np.testing.assert_array_equal(render_text((name, "class 3: 0.90"), 20).coverage, fallback.coverage)


def test_a_system_font_is_used_only_where_it_has_the_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    if text._system_font("кот") is None:
        pytest.skip("no system font with Cyrillic letters")
    fallback = render_text(("class 3: 0.90", ""), 20)
    cyrillic = render_text(("кот 0.90", "class 3: 0.90"), 20)
    assert cyrillic.coverage.shape != fallback.coverage.shape
    assert cyrillic.coverage.max() == 255
    # No font has this code point: it is not drawn as an empty box.
    unassigned = render_text(("\U0003fffd 0.90", "class 3: 0.90"), 20)
    np.testing.assert_array_equal(unassigned.coverage, fallback.coverage)


@pytest.mark.parametrize("height", [9, 12, 20, 48, 120])
def test_text_has_the_height_asked_for(height: int) -> None:
    image = render_text(("Big Hg 0.90", ""), height)
    assert image.height == height
    rows = np.flatnonzero(image.coverage.max(axis=1) > 100)
    assert 0.6 * height <= rows[-1] - rows[0] + 1 <= height
