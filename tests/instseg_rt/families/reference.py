"""What the families do, in NumPy: dense, image by image, as the documentation of the bundle says it.

Stages are run by ONNX's own evaluator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from instseg_rt.result import Result

Floats = NDArray[np.floating]


@dataclass
class Detection:
    class_id: int
    score: float
    box: Floats  # (4,) pixels of the original image
    probabilities: Floats  # (height, width) of the original image


@dataclass
class NetworkInput:
    image: NDArray[np.float32]  # (1, 3, height, width)
    resized: tuple[int, int]  # height and width of the part that shows the image
    scale: tuple[float, float]  # along y and x: resized / original


class Bundle:
    """The manifest and the graphs of a bundle."""

    def __init__(self, folder: Path) -> None:
        self.manifest: dict[str, Any] = yaml.safe_load((folder / "manifest.yaml").read_text(encoding="utf-8"))
        self.decode: dict[str, Any] = self.manifest["decode"]
        self.classes = len(self.manifest["labels"])
        self._graphs = {
            stage["name"]: ReferenceEvaluator(str(folder / stage["file"])) for stage in self.manifest["stages"]
        }
        self.stages = list(self._graphs)

    def run(self, stage: str, values: NDArray[np.float32]) -> dict[str, Floats]:
        graph = self._graphs[stage]
        outputs = graph.run(None, {graph.input_names[0]: values})
        return dict(zip(graph.output_names, outputs, strict=True))

    def network_input(self, image: NDArray[np.uint8]) -> NetworkInput:
        """image: (height, width, 3) BGR."""
        spec = self.manifest["input"]
        height, width = image.shape[:2]
        if spec["resize"] == "stretch":
            resized = padded = (spec["height"], spec["width"])
        else:
            factor = min(spec["short_side"] / min(height, width), spec["long_side"] / max(height, width))
            resized = (max(1, int(height * factor + 0.5)), max(1, int(width * factor + 0.5)))
            stride = spec["pad_stride"]
            padded = (-(-resized[0] // stride) * stride, -(-resized[1] // stride) * stride)
        pixels = cv2.resize(image[:, :, ::-1], resized[::-1], interpolation=cv2.INTER_LINEAR)
        network = np.zeros((1, 3, *padded), np.float32)
        normalised = (pixels * spec["scale"] - spec["mean"]) / spec["std"]
        network[0, :, : resized[0], : resized[1]] = normalised.transpose(2, 0, 1)
        return NetworkInput(network, resized, (resized[0] / height, resized[1] / width))


def sigmoid(values: Floats) -> Floats:
    return 1 / (1 + np.exp(-values.astype(np.float64)))


def resize_weights(source: int, target: int) -> Floats:
    """(target, source): bilinear, pixel centres at +0.5, edges clamped."""
    positions = np.maximum((np.arange(target) + 0.5) * source / target - 0.5, 0)
    first = np.minimum(positions.astype(int), source - 1)
    second = np.minimum(first + 1, source - 1)
    weights = np.zeros((target, source))
    np.add.at(weights, (np.arange(target), first), 1 - (positions - first))
    np.add.at(weights, (np.arange(target), second), positions - first)
    return weights


def resize(plane: Floats, height: int, width: int) -> Floats:
    return resize_weights(plane.shape[0], height) @ plane @ resize_weights(plane.shape[1], width).T


def assert_equal(result: Result, expected: Sequence[Detection], mask_threshold: float) -> None:
    """Same detections in the same order; pixels that are not within rounding of the threshold are equal."""
    assert list(result.class_ids) == [detection.class_id for detection in expected]
    np.testing.assert_allclose(result.scores, [detection.score for detection in expected], atol=2e-5)
    boxes = np.array([detection.box for detection in expected]).reshape(-1, 4)
    np.testing.assert_allclose(result.boxes, boxes, atol=2e-2, rtol=1e-4)
    for mask, detection in zip(result.masks, expected, strict=True):
        clear = np.abs(detection.probabilities - mask_threshold) > 1e-4
        assert np.array_equal(mask[clear], (detection.probabilities > mask_threshold)[clear])
        assert np.count_nonzero(clear) > 0.99 * clear.size
