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
# The golden ratio spreads hues so that classes with neighbouring ids look different, for any number of classes.
_HUE_STEP = 0.61803398875
_MIN_TEXT_HEIGHT = 9
_SHIFT = 4  # fixed-point bits of the coordinates that OpenCV draws anti-aliased lines with


def class_color(class_id: int) -> Color:
    """The colour of a class, (blue, green, red): the same in every picture."""
    saturation, value = ((0.85, 1.0), (0.65, 0.95), (1.0, 0.8))[class_id // 8 % 3]
    red, green, blue = colorsys.hsv_to_rgb((0.02 + class_id * _HUE_STEP) % 1.0, saturation, value)
    return round(blue * 255), round(green * 255), round(red * 255)


def draw_result(image: np.ndarray, result: Result) -> np.ndarray:
    """A copy of `image`, (H, W, 3) uint8 BGR, with every instance of `result` drawn in.

    Large instances are drawn first, so that small ones in front of them stay visible. Line and text sizes follow the
    image. Labels stay inside the image and avoid each other; one that does not fit at a legible size is left out.
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
    text_height = max(_MIN_TEXT_HEIGHT, round(side / 42))
    # The best detection chooses its place first.
    for index in np.argsort(-result.scores, kind="stable"):
        class_id = int(result.class_ids[index])
        text = f"{result.names[class_id]} {result.scores[index]:.2f}"
        fallback = f"class {class_id} {result.scores[index]:.2f}"
        _label(canvas, result.boxes[index], (text, fallback), class_color(class_id), text_height, taken)
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


def _label(
    canvas: np.ndarray,
    box: np.ndarray,
    texts: tuple[str, str],
    color: Color,
    text_height: int,
    taken: list[Rectangle],
) -> None:
    """Put the label at the first free place around the box; over another label where all are taken."""
    height, width = canvas.shape[:2]
    if not np.isfinite(box).all():
        return
    text = _fitting_text(texts, text_height, height, width)
    if text is None:
        return
    label_height, label_width = text.height + 2 * text.padding, text.width + 2 * text.padding
    x1, y1, x2, y2 = np.clip(box, 0, [width, height, width, height]).round().astype(int)
    places = [
        (x1, y1 - label_height),
        (x1, y1),
        (x1, y2),
        (x2 - label_width, y1 - label_height),
        (x2 - label_width, y2),
        (x1, y2 - label_height),
        (x2 - label_width, y1),
    ]
    # What the image border would cut is moved inside; a place that had to move far is tried last.
    inside = [
        (min(max(x, 0), width - label_width), min(max(y, 0), height - label_height)) for x, y in places
    ]
    moved = [abs(x - a) + abs(y - b) for (x, y), (a, b) in zip(places, inside, strict=True)]
    candidates = [inside[index] for index in np.argsort(moved, kind="stable")]
    step = label_height + 1
    candidates += [(x, y + k * step) for x, y in inside[:1] for k in (1, 2, 3) if y + (k + 1) * step < height]
    overlaps = [sum(_overlap((x, y, x + label_width, y + label_height), other) for other in taken) for x, y in candidates]
    x, y = candidates[int(np.argmin(overlaps))]
    taken.append((x, y, x + label_width, y + label_height))
    background = canvas[y : y + label_height, x : x + label_width]
    background[:] = color
    inner = background[text.padding : text.padding + text.height, text.padding : text.padding + text.width]
    blue, green, red = color
    ink = 0 if 0.114 * blue + 0.587 * green + 0.299 * red > 140 else 255
    coverage = text.coverage[:, :, None].astype(np.float32) / 255
    inner[:] = (inner * (1 - coverage) + ink * coverage + 0.5).astype(np.uint8)


def _fitting_text(texts: tuple[str, str], text_height: int, height: int, width: int) -> TextImage | None:
    """The text at the wanted height, smaller where the image is narrow; None below a legible size."""
    while text_height >= _MIN_TEXT_HEIGHT:
        text = render_text(texts, text_height)
        if text.width + 2 * text.padding <= width and text.height + 2 * text.padding <= height:
            return text
        text_height = text_height * 4 // 5
    return None


def _overlap(a: Rectangle, b: Rectangle) -> int:
    return max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
