"""Draw a Result into its image: translucent masks with a crisp outline, boxes, and labels one can read."""

from __future__ import annotations

import colorsys
from typing import TYPE_CHECKING

import cv2
import numpy as np

from instseg_rt.text import TextImage, render_text

if TYPE_CHECKING:
    from instseg_rt._core import PackedMask
    from instseg_rt.result import Result

Color = tuple[int, int, int]
Rectangle = tuple[int, int, int, int]

MASK_OPACITY = 0.45
# The golden ratio spreads hues so that classes with neighbouring ids look different, for any number of
# classes.
_HUE_STEP = 0.61803398875
_TEXT_HEIGHT = 12  # smallest size that is chosen
_MIN_TEXT_HEIGHT = 9  # smallest size that a narrow image may shrink it to
_SHIFT = 4  # fixed-point bits of the coordinates that OpenCV draws anti-aliased lines with


def class_color(class_id: int) -> Color:
    """The colour of a class, (blue, green, red): the same in every picture."""
    saturation, value = ((0.85, 1.0), (0.65, 0.95), (1.0, 0.8))[class_id // 8 % 3]
    red, green, blue = colorsys.hsv_to_rgb((0.02 + class_id * _HUE_STEP) % 1.0, saturation, value)
    return round(blue * 255), round(green * 255), round(red * 255)


def draw_result(image: np.ndarray, result: Result, *, scores: bool = True) -> np.ndarray:
    """A copy of `image`, (H, W, 3) uint8 BGR, with every instance of `result` drawn in.

    Large instances are drawn first, so that small ones in front of them stay visible. Line and text sizes
    follow the image. Labels stay inside the image and avoid each other; one that does not fit at a legible
    size is left out. `scores`: whether a label says the score.
    """
    canvas = image.copy()
    height, width = canvas.shape[:2]
    side = float(np.sqrt(height * width))
    thickness = max(1, round(side / 450))
    order = sorted(range(len(result)), key=lambda index: -result.packed_masks[index].area)
    for index in order:
        _fill(canvas, result.packed_masks[index], class_color(int(result.class_ids[index])))
    for index in order:
        _outline(canvas, result.packed_masks[index], class_color(int(result.class_ids[index])), thickness)
    for index in order:
        _box(canvas, result.boxes[index], class_color(int(result.class_ids[index])), thickness)
    taken: list[Rectangle] = []
    text_height = max(_TEXT_HEIGHT, round(side / 42))
    # The best detection chooses its place first.
    for index in np.argsort(-result.scores, kind="stable"):
        class_id = int(result.class_ids[index])
        score = f"{result.scores[index]:.2f}"
        text = f"{result.names[class_id]} {score}" if scores else result.names[class_id]
        fallback = f"class {class_id}: {score}" if scores else f"class {class_id}"
        label = _fitting_text((text, fallback), text_height, height, width)
        if label is not None and np.isfinite(result.boxes[index]).all():
            x, y = _place(result.boxes[index], label, (height, width), taken)
            _paint(canvas, label, x, y, class_color(class_id))
    return canvas


def _fill(canvas: np.ndarray, mask: PackedMask, color: Color) -> None:
    if mask.area == 0:
        return
    inside = mask.crop()
    region = canvas[mask.y : mask.y + mask.height, mask.x : mask.x + mask.width]
    tint = np.array(color, np.float32) * MASK_OPACITY
    region[inside] = (region[inside] * (1 - MASK_OPACITY) + tint + 0.5).astype(np.uint8)


def _outline(canvas: np.ndarray, mask: PackedMask, color: Color, thickness: int) -> None:
    if mask.area == 0:
        return
    contours, _ = cv2.findContours(
        mask.crop().astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE, offset=(mask.x, mask.y)
    )
    dark = tuple(channel // 4 for channel in color)
    # A dark rim under the bright line keeps the outline visible on a background of the same colour.
    cv2.drawContours(canvas, contours, -1, dark, thickness + 2, cv2.LINE_AA)
    cv2.drawContours(canvas, contours, -1, color, thickness, cv2.LINE_AA)


def _box(canvas: np.ndarray, box: np.ndarray, color: Color, thickness: int) -> None:
    height, width = canvas.shape[:2]
    if not np.isfinite(box).all():
        return
    x1, y1, x2, y2 = np.clip(box, -1, [width, height, width, height])
    # Pixel i is centred at i + 0.5 in boxes, at i for OpenCV.
    corners = [tuple(round((value - 0.5) * (1 << _SHIFT)) for value in corner) for corner in ((x1, y1), (x2, y2))]
    cv2.rectangle(canvas, corners[0], corners[1], color, thickness, cv2.LINE_AA, _SHIFT)


def _place(box: np.ndarray, label: TextImage, size: tuple[int, int], taken: list[Rectangle]) -> tuple[int, int]:
    """Top-left corner of a label at the first free place around its box; else the least covered.

    size: (height, width) of the image, which the label fits in. taken: the labels so far; this one is added.
    """
    height, width = size
    label_height, label_width = label.outer_height, label.outer_width
    x1, y1, x2, y2 = np.clip(box, 0, [width, height, width, height]).round().astype(int).tolist()
    places = [
        (x1, y1 - label_height),
        (x1, y1),
        (x1, y2),
        (x2 - label_width, y1 - label_height),
        (x2 - label_width, y2),
        (x1, y2 - label_height),
        (x2 - label_width, y1),
        *((x1, y1 + rows * label_height) for rows in (1, 2, 3)),
    ]
    # What the image border would cut is moved inside; a place that had to move far is tried last.
    inside = [(min(max(x, 0), width - label_width), min(max(y, 0), height - label_height)) for x, y in places]
    moved = [abs(x - a) + abs(y - b) for (x, y), (a, b) in zip(places, inside, strict=True)]
    candidates = [
        (x, y, x + label_width, y + label_height) for x, y in (inside[k] for k in np.argsort(moved, kind="stable"))
    ]
    chosen = min(candidates, key=lambda candidate: sum(_overlap(candidate, other) for other in taken))
    taken.append(chosen)
    return chosen[:2]


def _paint(canvas: np.ndarray, label: TextImage, x: int, y: int, color: Color) -> None:
    canvas[y : y + label.outer_height, x : x + label.outer_width] = color
    left, top = x + label.padding, y + label.padding
    inner = canvas[top : top + label.height, left : left + label.width]
    blue, green, red = color
    ink = 0 if 0.114 * blue + 0.587 * green + 0.299 * red > 140 else 255  # luma decides: dark on light or reverse
    coverage = label.coverage[:, :, None].astype(np.float32) / 255
    inner[:] = (inner * (1 - coverage) + ink * coverage + 0.5).astype(np.uint8)


def _fitting_text(texts: tuple[str, str], text_height: int, height: int, width: int) -> TextImage | None:
    """The text at the wanted height, smaller where the image is narrow; None below a legible size."""
    while text_height >= _MIN_TEXT_HEIGHT:
        text = render_text(texts, text_height)
        if text.outer_width <= width and text.outer_height <= height:
            return text
        text_height = text_height * 4 // 5
    return None


def _overlap(a: Rectangle, b: Rectangle) -> int:
    return max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
