"""PP-YOLOE_seg in NumPy: multiclass NMS, and each mask through the two resizes of the reference at full size."""

from __future__ import annotations

import cv2
import numpy as np

from instseg_rt._core import BundleInfo
from instseg_rt.benchmark.peers.decode_values import number
from instseg_rt.benchmark.peers.found import Found
from instseg_rt.benchmark.peers.preprocess import Geometry
from instseg_rt.benchmark.peers.sessions import Outputs


def decode(outputs: Outputs, geometry: Geometry, bundle: BundleInfo, threshold: float) -> Found:
    """The detections with score > threshold."""
    names = ("boxes", "scores", "mask_coefficients", "prototypes")
    boxes, scores, coefficients, prototypes = (outputs[name][0] for name in names)
    class_ids, anchors = _nms(boxes, scores, bundle, max(threshold, number(bundle, "score_threshold")))
    mask_threshold = number(bundle, "mask_threshold")
    masks = [_mask(coefficients[:, i], prototypes, boxes[i], geometry, mask_threshold) for i in anchors]
    factors = np.array([geometry.network[1] / geometry.image[1], geometry.network[0] / geometry.image[0]] * 2)
    return Found(class_ids, scores[class_ids, anchors], (boxes[anchors] / factors).astype(np.float32), masks)


def _nms(boxes: np.ndarray, scores: np.ndarray, bundle: BundleInfo, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Class ids and anchors of what is kept: by class, by falling score in a class."""
    limit, top = number(bundle, "nms_iou_threshold"), int(number(bundle, "nms_top_k"))
    kept: list[tuple[float, int, int]] = []
    for class_id in np.flatnonzero((scores > threshold).any(axis=1)):
        anchors = np.flatnonzero(scores[class_id] > threshold)
        order = np.argsort(-scores[class_id, anchors], kind="stable")
        anchors = anchors[order[:top] if top >= 0 else order]
        while len(anchors):
            best, rest = anchors[0], anchors[1:]
            kept.append((float(scores[class_id, best]), int(class_id), int(best)))
            anchors = rest[_iou(boxes[best], boxes[rest]) <= limit]
    keep = int(number(bundle, "keep_top_k"))
    if 0 <= keep < len(kept):
        kept = sorted(kept, key=lambda item: -item[0])[:keep]
    kept.sort(key=lambda item: (item[1], -item[0]))
    class_ids = np.array([class_id for _, class_id, _ in kept], np.int64)
    return class_ids, np.array([anchor for _, _, anchor in kept], np.int64)


def _mask(
    coefficients: np.ndarray, prototypes: np.ndarray, box: np.ndarray, geometry: Geometry, threshold: float
) -> np.ndarray:
    probabilities = 1 / (1 + np.exp(-np.tensordot(coefficients, prototypes, axes=1)))
    (network_height, network_width), (height, width) = geometry.network, geometry.image
    full = cv2.resize(probabilities, (network_width, network_height), interpolation=cv2.INTER_LINEAR)
    size = np.array([network_width, network_height] * 2)
    left, top, right, bottom = np.clip(np.ceil(box), 0, size).astype(int)
    cut = np.zeros_like(full)
    cut[top:bottom, left:right] = full[top:bottom, left:right]
    return np.asarray(cv2.resize(cut, (width, height), interpolation=cv2.INTER_LINEAR) > threshold, bool)


def _iou(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """IoU of one box (4,) with others (N, 4)."""
    corner = np.maximum(box[:2], others[:, :2])
    sides = np.clip(np.minimum(box[2:], others[:, 2:]) - corner, 0, None)
    inside = sides[:, 0] * sides[:, 1]
    area = (box[2] - box[0]) * (box[3] - box[1])
    areas = (others[:, 2] - others[:, 0]) * (others[:, 3] - others[:, 1])
    return inside / np.maximum(area + areas - inside, np.finfo(np.float32).tiny)
