"""Reading the reference kit: seeded weights, golden tensors and how to compare with them."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np

IMAGES = ("a", "b")
EXPORTED_MODELS = (
    "PP-YOLOE_seg-S",
    "Mask-RT-DETR-S",
    "SOLOv2",
    "MaskRCNN-ResNet50-FPN",
    "MaskRCNN-ResNet50",
    "Cascade-MaskRCNN-ResNet50-FPN",
)
"""One of each kind that is exported and run in tests; the others differ in their backbone and in widths."""


@dataclass
class ReferenceModel:
    """The manifest and goldens of one model."""

    folder: Path
    name: str
    manifest: list[dict[str, Any]]
    golden: dict[str, np.ndarray]
    seeded: ModuleType

    @classmethod
    def load(cls, shared: Path, name: str) -> ReferenceModel:
        folder = shared / "reference"
        spec = importlib.util.spec_from_file_location("seeded_weights", folder / "seeded_weights.py")
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        manifest = json.loads((folder / "models" / f"{name}.manifest.json").read_text())["state"]
        with np.load(folder / "models" / f"{name}.golden.npz") as file:
            golden = dict(file)
        return cls(folder, name, manifest, golden, module)

    def seeded_state(self) -> dict[str, np.ndarray]:
        return self.seeded.seeded_state(self.manifest)

    def training(self) -> dict[str, Any]:
        return json.loads((self.folder / "training" / f"{self.name}.json").read_text())

    def image_rgb(self, image: str) -> np.ndarray:
        return cv2.cvtColor(cv2.imread(str(self.folder / "images" / f"{image}.png")), cv2.COLOR_BGR2RGB)

    def tensor_names(self, image: str) -> list[str]:
        """Names of the intermediate tensors, without inputs and final outputs."""
        prefix = f"{image}/"
        return [
            key.removeprefix(prefix)
            for key in self.golden
            if key.startswith(prefix)
            and not key.endswith("@index")
            and not key.startswith((f"{prefix}input.", f"{prefix}out."))
        ]

    def relative_error(self, image: str, tensor: str, actual: np.ndarray) -> float:
        """Largest difference over the stored samples, relative to their mean |x| + std."""
        key = f"{image}/{tensor}"
        expected = self.golden[key].astype(np.float64).ravel()
        index = self.golden.get(f"{key}@index")
        values = actual.astype(np.float64).ravel()
        if index is None:
            assert values.size == expected.size, f"{key}: {values.size} values, the golden has {expected.size}"
        else:
            values = values[index]
        scale = np.abs(expected).mean() + expected.std()
        return float(np.abs(values - expected).max() / scale)

    def masks(self, image: str) -> np.ndarray:
        return self._unpacked(image, "out.mask")

    def detections(self, image: str) -> tuple[np.ndarray, np.ndarray]:
        """Rows [class, score, x1, y1, x2, y2] and masks (N, H, W), without made-up rows of score 0.

        The boxes of SOLOv2, which has none, are the tight bounds of the masks.
        """
        if f"{image}/out.bbox" in self.golden:
            rows, masks = self.golden[f"{image}/out.bbox"], self.masks(image)
        else:
            class_ids, scores = self.golden[f"{image}/out.cate_label"], self.golden[f"{image}/out.cate_score"]
            masks = self._unpacked(image, "out.segm")
            rows = np.column_stack([class_ids, scores, tight_boxes(masks)])
        return rows[rows[:, 1] > 0], masks[rows[:, 1] > 0]

    def _unpacked(self, image: str, name: str) -> np.ndarray:
        shape = self.golden[f"{image}/{name}.shape"]
        bits = np.unpackbits(self.golden[f"{image}/{name}.packed"], count=int(np.prod(shape)))
        return bits.reshape(shape).astype(bool)


def tight_boxes(masks: np.ndarray) -> np.ndarray:
    """(N, H, W) bool -> (N, 4) x1, y1, x2, y2, half-open; zeros for an empty mask."""
    rectangles = np.asarray([cv2.boundingRect(mask.astype(np.uint8)) for mask in masks]).reshape(-1, 4)
    return np.column_stack([rectangles[:, :2], rectangles[:, :2] + rectangles[:, 2:]])


def match_rows(expected: np.ndarray, class_ids: np.ndarray, scores: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """For each golden row [class, score, x1, y1, x2, y2] the index of the detection of its class with the nearest box
    and score, -1 for none.
    Every detection is used once."""
    taken = np.zeros(len(class_ids), bool)
    matches = np.full(len(expected), -1)
    for row, values in enumerate(expected):
        distance = np.abs(boxes - values[2:6]).max(axis=1) + 100 * np.abs(scores - values[1])
        distance[(class_ids != int(values[0])) | taken] = np.inf
        if len(distance) and np.isfinite(distance.min()):
            matches[row] = int(distance.argmin())
            taken[matches[row]] = True
    return matches


def mask_iou(a: np.ndarray, b: np.ndarray) -> float:
    """IoU of two bool masks; two empty masks are equal."""
    union = np.logical_or(a, b).sum()
    return float(np.logical_and(a, b).sum() / union) if union else 1.0
