"""The pictures that the check writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from instseg_rt.drawing import class_color
from instseg_trainer.dataset_tools.histogram import draw_histogram

Run = Callable[..., tuple[int, dict[str, Any]]]
TRAIN, VAL = (178, 108, 40), (60, 150, 245)


def bar_lengths(chart: np.ndarray, color: tuple[int, int, int]) -> list[int]:
    """Lengths of the bars of one colour from top to bottom, the header's key aside."""
    lengths = (chart == color).all(axis=2).sum(axis=1)[50:]
    changes = np.flatnonzero(np.diff(np.concatenate([[0], lengths])))
    return [int(lengths[row]) for row in changes if lengths[row]]


@pytest.mark.parametrize("labels", [["date", "fig"], ["яблоко", "μήλο"], ["苹果", "ぶどう"], ["a\nb", "\t"]])
def test_two_classes(labels: list[str]) -> None:
    rows = [(labels[0], 1, 100, 50), (labels[1], 2, 20, 0)]
    chart = draw_histogram(rows, {"train": 120, "val": 50})
    height, width, _ = chart.shape
    assert 100 < height < 200
    assert 500 < width < 800
    first, second = bar_lengths(chart, TRAIN)
    assert first == pytest.approx(5 * second, abs=3)
    assert bar_lengths(chart, VAL) == [pytest.approx(first / 2, abs=1)]
    # Both labels are drawn, left of the bars.
    left = int((chart[50:] == TRAIN).all(axis=2).any(axis=0).argmax())
    for row in (50, 85):
        assert (chart[row : row + 26, : left - 2] < 120).all(axis=2).sum() > 20


@pytest.mark.parametrize(("classes", "columns", "largest"), [(80, 2, 1700), (1203, 9, 7000), (5000, 12, 10_000)])
def test_many_classes(classes: int, columns: int, largest: int) -> None:
    rows = [(f"a label {'that is long ' * (index % 7)}{index}", index, classes - index, 1) for index in range(classes)]
    chart = draw_histogram(rows, {"train": 1, "val": 2})
    assert max(chart.shape) < largest
    assert 0.5 < chart.shape[0] / chart.shape[1] < 2
    bars = (chart[50:70] == TRAIN).all(axis=2).any(axis=0)
    assert np.count_nonzero(np.diff(bars.astype(int)) == 1) == columns


def test_nothing_annotated_with_a_class() -> None:
    chart = draw_histogram([("a", 1, 0, 0)], {"train": 0, "val": 0})
    assert bar_lengths(chart, TRAIN) == []


def test_samples_show_the_annotations(two_parts: Path, tmp_path: Path, run: Run) -> None:
    (two_parts / "images/sub").mkdir()
    (two_parts / "images/000.png").rename(two_parts / "images/sub/000.png")
    path = two_parts / "annotations/instance_train.json"
    document = json.loads(path.read_text())
    document["images"][0]["file_name"] = "sub/000.png"
    path.write_text(json.dumps(document))
    code, result = run(two_parts)
    assert code == 0
    paths = result["attributes"]["train_sample_paths"]
    assert paths[0] == "check_dataset/demo_img/sub/000.png"
    before = cv2.imread(str(two_parts / "images/sub/000.png"))
    after = cv2.imread(str(tmp_path / "output" / paths[0]))
    inside = (before != (30, 30, 30)).any(axis=2)
    changed = (before != after).any(axis=2)
    assert changed[inside].mean() > 0.99
    assert 0.02 < changed[~inside].mean() < 0.6
    # Categories 3 and 7 are the classes 0 and 1.
    for class_id in (0, 1):
        assert (after == class_color(class_id)).all(axis=2).sum() > 50
