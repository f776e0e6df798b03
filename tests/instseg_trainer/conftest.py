"""A small synthetic COCO data set whose pixels tell which instance they belong to."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

BACKGROUND = (30, 30, 30)


def colour_of(index: int) -> tuple[int, int, int]:
    """RGB of the index-th instance of an image, far from the background and from each other."""
    return (250, 60 + 40 * (index % 5), 60 + 40 * (index // 5))


def make_star(centre: tuple[float, float], radius: float, points: int, rng: np.random.Generator) -> np.ndarray:
    """A concave polygon (2 * points, 2) around a centre."""
    angles = np.linspace(0, 2 * np.pi, 2 * points, endpoint=False) + rng.uniform(0, 1)
    radii = np.where(np.arange(2 * points) % 2, 0.5, 1.0) * radius
    return np.stack([centre[0] + radii * np.cos(angles), centre[1] + radii * np.sin(angles)], axis=1)


def make_dataset(folder: Path, images: int = 6, seed: int = 0, split: str = "train") -> Path:
    """Write `images` PNG files of 200x160 pixels with 4 instances each that do not overlap.

    Of every image's instances one is an uncompressed RLE, one has two parts; the colours are `colour_of`.
    """
    rng = np.random.default_rng(seed)
    height, width = 160, 200
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "annotations").mkdir(exist_ok=True)
    document: dict[str, list[dict[str, Any]]] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": 7, "name": "disc"}, {"id": 3, "name": "star"}],
    }
    for image_id in range(images):
        picture = np.full((height, width, 3), BACKGROUND, dtype=np.uint8)
        for index, (x, y) in enumerate(((50, 40), (150, 40), (50, 120), (150, 120))):
            centre = (x + rng.uniform(-8, 8), y + rng.uniform(-5, 5))
            parts = [make_star(centre, rng.uniform(14, 26), 5, rng).clip(0, [width, height])]
            if index == 1:
                parts = [parts[0] + (-8, 0), make_star((centre[0] + 24, centre[1]), 9, 4, rng)]
            mask = coco_mask.decode(
                coco_mask.merge(coco_mask.frPyObjects([part.ravel() for part in parts], height, width))
            )
            picture[mask.astype(bool)] = colour_of(index)
            points = np.concatenate(parts)
            low, high = points.min(axis=0), points.max(axis=0)
            segmentation: Any = [part.ravel().tolist() for part in parts]
            if index == 2:
                flat = mask.T.ravel()
                edges = np.flatnonzero(np.diff(np.concatenate([[0], flat, [1 - flat[-1]]])))
                counts = np.diff(np.concatenate([[0], edges])).tolist()
                segmentation = {"size": [height, width], "counts": counts}
            document["annotations"].append(
                {
                    "id": len(document["annotations"]) + 1,
                    "image_id": image_id,
                    "category_id": (3, 7)[index % 2],
                    "bbox": [*low.tolist(), *(high - low).tolist()],
                    "area": float(mask.sum()),
                    "iscrowd": 0,
                    "segmentation": segmentation,
                }
            )
        name = f"{image_id:03}.png"
        cv2.imwrite(str(folder / "images" / name), picture[..., ::-1])
        document["images"].append({"id": image_id, "file_name": name, "height": height, "width": width})
    (folder / "annotations" / f"instance_{split}.json").write_text(json.dumps(document))
    return folder


@pytest.fixture(scope="session")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a synthetic data set; read only."""
    return make_dataset(tmp_path_factory.mktemp("synthetic"))


@pytest.fixture
def editable(tmp_path: Path) -> Path:
    """Folder of a synthetic data set of two images that a test may spoil."""
    return make_dataset(tmp_path, images=2)


@pytest.fixture(scope="session")
def star() -> Callable[..., np.ndarray]:
    """`make_star`."""
    return make_star


@pytest.fixture(scope="session")
def instance_colour() -> Callable[[int], tuple[int, int, int]]:
    """`colour_of`."""
    return colour_of


@pytest.fixture(scope="session")
def write_dataset() -> Callable[..., Path]:
    """`make_dataset`."""
    return make_dataset
