"""The copies of a data set that precision_noise.py makes, and what it says of them."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from precision_noise import BenchmarkError, Row, copy_with_noise

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = tmp_path / "set"
    (folder / "annotations").mkdir(parents=True)
    (folder / "images").mkdir()
    cv2.imwrite(str(folder / "images" / "photo.bmp"), PIXELS)
    image = {"id": 7, "file_name": "photo.bmp", "width": 60, "height": 40}
    description = {"images": [image], "annotations": [], "categories": [{"id": 1, "name": "nut"}]}
    (folder / "annotations" / "instance_val.json").write_text(json.dumps(description))
    return folder


def pixels_of(copy: Path) -> np.ndarray:
    description = json.loads((copy / "annotations" / "instance_val.json").read_text())
    pixels = cv2.imread(str(copy / "images" / description["images"][0]["file_name"]))
    assert pixels is not None
    return pixels


def test_the_first_copy_is_the_data_set_and_others_differ_by_one_level(dataset: Path, tmp_path: Path) -> None:
    for seed in (0, 1, 2):
        copy_with_noise(dataset, tmp_path / str(seed), seed)
    first, *others = (pixels_of(tmp_path / str(seed)).astype(int) for seed in (0, 1, 2))
    np.testing.assert_array_equal(first, PIXELS)
    for other in others:
        assert set(np.unique(other - first)) == {-1, 0, 1}
    assert not np.array_equal(*others)


def test_an_image_that_cannot_be_read(dataset: Path, tmp_path: Path) -> None:
    (dataset / "images" / "photo.bmp").write_bytes(b"no image")
    with pytest.raises(BenchmarkError, match=r"photo\.bmp: not an image"):
        copy_with_noise(dataset, tmp_path / "copy", 1)


def test_row() -> None:
    row = Row("my.bundle", fp32=[0.5, 0.6], lower=[0.4, 0.6])
    assert row.losses() == pytest.approx([0.1, 0.0])
    assert str(row) == "| my.bundle | 0.5500 (0.0707) | 0.5000 (0.1414) | +0.0500 +- 0.0500 |"
