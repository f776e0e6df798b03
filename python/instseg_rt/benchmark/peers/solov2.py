"""SOLOv2 in NumPy: dynamic convolutions as one matrix product, matrix NMS, masks resized to the image one by one."""

from __future__ import annotations

import cv2
import numpy as np

from instseg_rt._core import BundleInfo
from instseg_rt.benchmark.peers.decode_values import number, number_list
from instseg_rt.benchmark.peers.found import Found
from instseg_rt.benchmark.peers.preprocess import Geometry
from instseg_rt.benchmark.peers.sessions import Outputs


def decode(outputs: Outputs, geometry: Geometry, bundle: BundleInfo, threshold: float) -> Found:
    """The detections with score > threshold, by falling score; it gives no boxes but the masks' bounds."""
    scores, kernels, features = (outputs[name][0] for name in ("scores", "kernels", "mask_features"))
    mask_threshold = number(bundle, "mask_threshold")
    cells, class_ids = np.nonzero(scores > number(bundle, "score_threshold"))
    values = scores[cells, class_ids]
    probabilities = 1 / (1 + np.exp(-np.tensordot(kernels[cells], features, axes=1)))
    masks = probabilities > mask_threshold
    areas = masks.sum(axis=(1, 2))
    large = np.flatnonzero(areas > _minimum_areas(bundle)[cells])
    class_ids, probabilities, masks, areas = class_ids[large], probabilities[large], masks[large], areas[large]
    values = values[large] * (probabilities * masks).sum(axis=(1, 2)) / areas
    order = np.argsort(-values, kind="stable")[: int(number(bundle, "nms_top_k"))]
    decayed = values[order] * _decay(masks[order], class_ids[order], number(bundle, "nms_sigma"))
    best = np.argsort(-decayed, kind="stable")
    best = best[decayed[best] >= number(bundle, "update_threshold")][: int(number(bundle, "keep_top_k"))]
    best = best[decayed[best] > threshold]
    kept = order[best]
    full = [_full_size(probabilities[i], geometry) > mask_threshold for i in kept]
    return Found(class_ids[kept], decayed[best].astype(np.float32), None, full)


def _minimum_areas(bundle: BundleInfo) -> np.ndarray:
    """For each cell of all grids."""
    cells = [int(side) ** 2 for side in number_list(bundle, "grid_sizes")]
    return np.repeat(number_list(bundle, "minimum_areas"), cells)


def _decay(masks: np.ndarray, class_ids: np.ndarray, sigma: float) -> np.ndarray:
    """(N,): what matrix NMS multiplies the scores of masks (N, H, W), by falling score, with."""
    count = len(masks)
    if count == 0:
        return np.ones(0, np.float32)
    flat = masks.reshape(count, -1).astype(np.float32)
    inside = flat @ flat.T
    areas = flat.sum(axis=1)
    overlap = inside / (areas[:, None] + areas - inside)
    # Of a better one (row) of the same class with a worse one (column).
    overlap = np.triu(overlap * (class_ids[:, None] == class_ids), k=1)
    most = overlap.max(axis=0)
    return np.exp(-sigma * (overlap**2 - most[:, None] ** 2)).min(
        axis=0, where=np.triu(np.ones_like(overlap), 1) > 0, initial=1
    )


def _full_size(probabilities: np.ndarray, geometry: Geometry) -> np.ndarray:
    height, width = geometry.network
    network = cv2.resize(probabilities, (width, height), interpolation=cv2.INTER_LINEAR)
    shown = network[: geometry.shown[0], : geometry.shown[1]]
    return cv2.resize(shown, geometry.image[::-1], interpolation=cv2.INTER_LINEAR)
