"""A tiny bundle and images for it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.tiny_bundle import SIDE, write_tiny_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_tiny_bundle(tmp_path / "tiny.bundle")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three images with areas of the colours that the tiny bundle finds, one a cell or more."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        image = np.full((SIDE, SIDE, 3), 20, np.uint8)
        image[0:16, 16 * number : 16 * number + 16] = (10, 10, 250)
        image[32:48, 48:64] = (10, 250, 10)
        cv2.imwrite(str(folder / f"{number}.png"), image)
    return folder
