"""A chart of the instances of each class in train and val."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from instseg_rt.files import write_atomically
from instseg_rt.text import TextImage, render_text
from instseg_trainer.dataset_tools.coco_set import CocoSet
from instseg_trainer.dataset_tools.report import PICTURE_FOLDER

_COLORS = {"train": (178, 108, 40), "val": (60, 150, 245)}  # blue, green, red
_INK, _PALE, _BACKGROUND = (40, 40, 40), (222, 222, 222), (255, 255, 255)
_TEXT, _BAR, _GAP, _MARGIN = 14, 13, 9, 18  # pixels
_ROW = 2 * _BAR + _GAP
_BAR_LENGTH = 420  # of the largest count
_MAXIMUM_LABEL = 260  # a longer label is cut to this width
# Rows of one column of the chart: as many as make it about as high as wide, and at least so many.
_MINIMUM_ROWS, _ROWS_OF_SQUARE = 40, 15
_MAXIMUM_CLASSES = 2000  # the most frequent ones are shown

# (label, category id, instances in train, instances in val)
_Row = tuple[str, int, int, int]


def write_histogram(train: CocoSet, val: CocoSet, output: Path) -> str:
    """Writes histogram.png; returns its path relative to `output`. Classes by falling count in train."""
    counts = {part.part: part.instances_per_category() for part in (train, val)}
    rows = [
        (label, category_id, counts["train"][category_id], counts["val"][category_id])
        for category_id, label in train.categories.items()
    ]
    rows.sort(key=lambda row: (-row[2], -row[3], row[1]))
    path = f"{PICTURE_FOLDER}/histogram.png"
    _, encoded = cv2.imencode(".png", draw_histogram(rows, {part: counts[part].total() for part in counts}))
    write_atomically(output / path, encoded.tobytes())
    return path


def draw_histogram(rows: list[_Row], totals: Mapping[str, int]) -> np.ndarray:
    """The chart as (H, W, 3) uint8 BGR; each row is a class with its two counts, written beside its bars."""
    shown = rows[:_MAXIMUM_CLASSES]
    height = max(_MINIMUM_ROWS, math.isqrt(_ROWS_OF_SQUARE * len(shown)))
    columns = [shown[k : k + height] for k in range(0, len(shown), height)]
    largest = max(1, *(count for row in rows for count in row[2:]))
    title = _text(f"instances by class ({len(rows)})" + (f", the first {len(shown)}" if len(shown) < len(rows) else ""))
    chart = np.hstack(_even_heights([_column(column, largest) for column in columns]))
    header = _header(title, totals, chart.shape[1])
    if header.shape[1] > chart.shape[1]:
        chart = _widened(chart, header.shape[1])
    return np.vstack([header, chart])


def _header(title: TextImage, totals: Mapping[str, int], width: int) -> np.ndarray:
    keys = [(part, _text(f"{part}: {total}")) for part, total in totals.items()]
    needed = 2 * _MARGIN + title.width + sum(3 * _TEXT + text.width for _, text in keys)
    header = np.full((2 * _MARGIN + _TEXT, max(width, needed), 3), _BACKGROUND, np.uint8)
    x = _MARGIN
    _draw(header, title, x, _MARGIN)
    x += title.width + 2 * _TEXT
    for part, text in keys:
        header[_MARGIN : _MARGIN + _TEXT, x : x + _TEXT] = _COLORS[part]
        _draw(header, text, x + _TEXT + 6, _MARGIN)
        x += text.width + 3 * _TEXT
    return header


def _column(rows: list[_Row], largest: int) -> np.ndarray:
    labels = [_label(label, category_id) for label, category_id, _, _ in rows]
    left = _MARGIN + max(label.width for label in labels) + _GAP
    width = left + _BAR_LENGTH + _text(str(largest)).width + _GAP + _MARGIN
    canvas = np.full((len(rows) * _ROW + _MARGIN, width, 3), _BACKGROUND, np.uint8)
    canvas[: len(rows) * _ROW - _GAP, left - 1] = _PALE
    for index, (label, row) in enumerate(zip(labels, rows, strict=True)):
        top = index * _ROW
        _draw(canvas, label, left - _GAP - label.width, top + _BAR - label.height // 2)
        for offset, part, count in ((0, "train", row[2]), (_BAR, "val", row[3])):
            # A class with few instances beside one with many still has a bar.
            length = max(round(_BAR_LENGTH * count / largest), 1 if count else 0)
            canvas[top + offset : top + offset + _BAR - 1, left : left + length] = _COLORS[part]
            _draw(canvas, render_text((str(count), ""), _BAR - 1), left + length + 4, top + offset)
    return canvas


def _label(label: str, category_id: int) -> TextImage:
    """The label, cut where it is long; the category id where no font of this machine has its characters."""
    fallback = f"category {category_id}"
    text = render_text((label, fallback), _TEXT)
    length = len(label)
    while text.width > _MAXIMUM_LABEL:
        length = min(length - 1, length * _MAXIMUM_LABEL // text.width)
        text = render_text((f"{label[:length].rstrip()}...", fallback), _TEXT)
    return text


def _text(text: str) -> TextImage:
    return render_text((text, ""), _TEXT)


def _draw(canvas: np.ndarray, text: TextImage, x: int, y: int) -> None:
    y = max(y, 0)
    inner = canvas[y : y + text.height, x : x + text.width]
    coverage = text.coverage[: inner.shape[0], : inner.shape[1], None].astype(np.float32) / 255
    inner[:] = (inner * (1 - coverage) + np.array(_INK, np.float32) * coverage + 0.5).astype(np.uint8)


def _even_heights(columns: list[np.ndarray]) -> list[np.ndarray]:
    height = max(column.shape[0] for column in columns)
    return [
        cv2.copyMakeBorder(column, 0, height - column.shape[0], 0, 0, cv2.BORDER_CONSTANT, value=_BACKGROUND)
        for column in columns
    ]


def _widened(chart: np.ndarray, width: int) -> np.ndarray:
    return cv2.copyMakeBorder(chart, 0, 0, 0, width - chart.shape[1], cv2.BORDER_CONSTANT, value=_BACKGROUND)
