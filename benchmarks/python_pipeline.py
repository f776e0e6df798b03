"""The straightforward Python pipeline on the ONNX file of a bundle: what one writes without this project.

OpenCV decodes and resizes, numpy normalises, OpenVINO's Python API runs the network, numpy does the NMS, and each mask
goes through the two resizes of the reference at full size.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from report import BenchmarkError

if TYPE_CHECKING:
    from instseg_rt._core import BundleInfo

_INTERPOLATION = {"linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC}


@dataclass(frozen=True)
class PipelineResult:
    """N instances: class_ids (N,) int64, scores (N,) float32, boxes (N, 4) float32 xyxy in pixels of the image, masks
    N times (H, W) bool. milliseconds: per stage."""

    class_ids: np.ndarray
    scores: np.ndarray
    boxes: np.ndarray
    masks: list[np.ndarray]
    milliseconds: dict[str, float]


class PythonPipeline:
    """`PythonPipeline(bundle)(encoded)`, on the CPU in float32; threads None: all cores."""

    def __init__(self, bundle: BundleInfo, threshold: float, threads: int | None) -> None:
        import openvino as ov

        options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        if threads:
            options["INFERENCE_NUM_THREADS"] = threads
            cv2.setNumThreads(threads)
        if bundle.input.height is None or bundle.input.width is None:
            raise BenchmarkError(f"{bundle.model}: the Python pipeline knows models that stretch images only")
        self._size = bundle.input.width, bundle.input.height
        core = ov.Core()
        model = core.read_model(bundle.stages[0].file)
        model.reshape({model.inputs[0]: [1, 3, bundle.input.height, bundle.input.width]})
        self._request = core.compile_model(model, "CPU", options).create_infer_request()
        self._input = bundle.input
        self._decode = bundle.decode
        self._threshold = max(threshold, float(self._number("score_threshold")))

    def __call__(self, image_file: Path) -> PipelineResult:
        """Predict on an encoded image."""
        times = [time.perf_counter()]
        image = cv2.imdecode(np.fromfile(image_file, np.uint8), cv2.IMREAD_COLOR)
        if image is None:
            raise OSError(f"{image_file}: not an image that OpenCV reads")
        times.append(time.perf_counter())
        tensor = self._preprocess(image)
        times.append(time.perf_counter())
        outputs = self._request.infer([tensor])
        boxes, scores, coefficients, prototypes = (outputs[index][0] for index in range(4))
        times.append(time.perf_counter())
        class_ids, anchors = self._nms(boxes, scores)
        masks = [
            self._mask(coefficients[:, anchor], prototypes, boxes[anchor], image.shape[0], image.shape[1])
            for anchor in anchors
        ]
        factors = np.array([self._size[0] / image.shape[1], self._size[1] / image.shape[0]] * 2, np.float32)
        found = (class_ids, scores[class_ids, anchors], boxes[anchors] / factors)
        times.append(time.perf_counter())
        names = ("decode", "preprocess", "inference", "postprocess")
        milliseconds = {name: (times[i + 1] - times[i]) * 1e3 for i, name in enumerate(names)}
        return PipelineResult(*found, masks, milliseconds)

    def _preprocess(self, image: np.ndarray) -> np.ndarray:
        spec = self._input
        resized = cv2.resize(image, self._size, interpolation=_INTERPOLATION[spec.interpolation])
        if spec.color == "rgb":
            resized = cv2.cvtColor(resized, cv2.COLOR_BGR2RGB)
        mean, std = np.asarray(spec.mean, np.float32), np.asarray(spec.std, np.float32)
        values = (resized.astype(np.float32) * np.float32(spec.scale) - mean) / std
        return np.ascontiguousarray(values.transpose(2, 0, 1)[None])

    def _nms(self, boxes: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Class ids and anchors of what is kept: by class, by falling score in a class."""
        limit, top = float(self._number("nms_iou_threshold")), int(self._number("nms_top_k"))
        kept: list[tuple[float, int, int]] = []
        for class_id in np.flatnonzero((scores > self._threshold).any(axis=1)):
            anchors = np.flatnonzero(scores[class_id] > self._threshold)
            order = np.argsort(-scores[class_id, anchors], kind="stable")
            anchors = anchors[order[:top] if top >= 0 else order]
            while len(anchors):
                best, rest = anchors[0], anchors[1:]
                kept.append((float(scores[class_id, best]), int(class_id), int(best)))
                anchors = rest[_iou(boxes[best], boxes[rest]) <= limit]
        keep = int(self._number("keep_top_k"))
        if 0 <= keep < len(kept):
            kept = sorted(kept, key=lambda item: -item[0])[:keep]
        kept.sort(key=lambda item: (item[1], -item[0]))
        class_ids = np.array([class_id for _, class_id, _ in kept], np.int64)
        return class_ids, np.array([anchor for _, _, anchor in kept], np.int64)

    def _mask(
        self, coefficients: np.ndarray, prototypes: np.ndarray, box: np.ndarray, height: int, width: int
    ) -> np.ndarray:
        logits = np.tensordot(coefficients, prototypes, axes=1)
        probabilities = 1 / (1 + np.exp(-logits))
        full = cv2.resize(probabilities, self._size, interpolation=cv2.INTER_LINEAR)
        size = np.array([*self._size, *self._size])
        left, top, right, bottom = np.clip(np.ceil(box), 0, size).astype(int)
        cut = np.zeros_like(full)
        cut[top:bottom, left:right] = full[top:bottom, left:right]
        mask = cv2.resize(cut, (width, height), interpolation=cv2.INTER_LINEAR) > self._number("mask_threshold")
        return np.asarray(mask, bool)

    def _number(self, key: str) -> float:
        value = self._decode[key]
        if not isinstance(value, int | float):
            raise ValueError(f"decode.{key}: expected a number, found {value!r}")
        return value


def _iou(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """IoU of one box (4,) with others (N, 4)."""
    corner = np.maximum(box[:2], others[:, :2])
    sides = np.clip(np.minimum(box[2:], others[:, 2:]) - corner, 0, None)
    inside = sides[:, 0] * sides[:, 1]
    area = (box[2] - box[0]) * (box[3] - box[1])
    areas = (others[:, 2] - others[:, 0]) * (others[:, 3] - others[:, 1])
    return inside / np.maximum(area + areas - inside, np.finfo(np.float32).tiny)
