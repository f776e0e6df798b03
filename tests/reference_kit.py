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
from pycocotools import mask as coco_mask

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
OTHER_MODELS = (
    *(f"Mask-RT-DETR-{size}" for size in "MLXH"),
    "MaskRCNN-ResNet50-vd-FPN",
    "MaskRCNN-ResNet101-FPN",
    "MaskRCNN-ResNet101-vd-FPN",
    "MaskRCNN-ResNeXt101-vd-FPN",
    "Cascade-MaskRCNN-ResNet50-vd-SSLDv2-FPN",
)


@dataclass
class TrainingBatch:
    """The two images of the training goldens, resized to a square, and their objects; N of the one that has most.

    images (2, 3, S, S) uint8 RGB; boxes (2, N, 4) float32 x1, y1, x2, y2; class_ids (2, N, 1) int64; pad_mask
    (2, N, 1) float32, 1 for an object; polygons: per image and object (P, 2) x, y. All in pixels of the square.
    """

    images: np.ndarray
    boxes: np.ndarray
    class_ids: np.ndarray
    pad_mask: np.ndarray
    polygons: list[list[np.ndarray]]

    def masks(self) -> np.ndarray:
        """(2, N, S, S) uint8, the polygons as COCO draws them."""
        size = self.images.shape[-1]
        masks = np.zeros((*self.boxes.shape[:2], size, size), np.uint8)
        for row, shapes in enumerate(self.polygons):
            for column, polygon in enumerate(shapes):
                parts = coco_mask.frPyObjects([polygon.ravel().tolist()], size, size)
                masks[row, column] = coco_mask.decode(coco_mask.merge(parts))
        return masks


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

    def training_batch(self) -> TrainingBatch:
        """What `training`'s numbers were taken of."""
        size = self.training()["size"]
        ground_truth = json.loads((self.folder / "training" / "ground_truth.json").read_text())
        scale = size / ground_truth["canvas"][0]
        samples = ground_truth["samples"]
        shape = (len(samples), max(len(sample["objects"]) for sample in samples))
        images = [
            cv2.resize(self.image_rgb(sample["image"]), (size, size), interpolation=cv2.INTER_LINEAR)
            for sample in samples
        ]
        batch = TrainingBatch(
            np.ascontiguousarray(np.stack(images).transpose(0, 3, 1, 2)),
            np.zeros((*shape, 4), np.float32),
            np.zeros((*shape, 1), np.int64),
            np.zeros((*shape, 1), np.float32),
            [],
        )
        for row, sample in enumerate(samples):
            for column, item in enumerate(sample["objects"]):
                batch.boxes[row, column] = np.asarray(item["bbox_xyxy"]) * scale
                batch.class_ids[row, column] = item["class"]
                batch.pad_mask[row, column] = 1
            batch.polygons.append([np.reshape(item["polygon"], (-1, 2)) * scale for item in sample["objects"]])
        return batch

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
        expected, found = self._samples(image, tensor, actual)
        scale = np.abs(expected).mean() + expected.std()
        return float(np.abs(found - expected).max() / scale)

    def absolute_error(self, image: str, tensor: str, actual: np.ndarray) -> float:
        """Largest difference over the stored samples: for scores, of which nearly all are nearly 0."""
        expected, found = self._samples(image, tensor, actual)
        return float(np.abs(found - expected).max())

    def _samples(self, image: str, tensor: str, actual: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The stored ones and those of `actual` at the same places, float64."""
        key = f"{image}/{tensor}"
        expected = self.golden[key].astype(np.float64).ravel()
        index = self.golden.get(f"{key}@index")
        values = actual.astype(np.float64).ravel()
        if index is None:
            assert values.size == expected.size, f"{key}: {values.size} values, the golden has {expected.size}"
            return expected, values
        return expected, values[index]

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
