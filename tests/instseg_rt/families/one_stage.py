"""The decode of the families mask_rtdetr and solov2 in NumPy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .reference import Bundle, Detection, Floats, resize, sigmoid

SOLOV2_FEATURE_STRIDE = 4


def decode_mask_rtdetr(bundle: Bundle, image: NDArray[np.uint8]) -> list[Detection]:
    outputs = {name: value[0] for name, value in bundle.run("model", bundle.network_input(image).image).items()}
    height, width = image.shape[:2]
    logits = outputs["logits"].ravel()
    detections = []
    for pair in np.argsort(-logits, kind="stable")[: bundle.decode["keep_top_k"]]:
        query, class_id = divmod(int(pair), bundle.classes)
        score = float(sigmoid(logits[pair]))
        if score > bundle.decode["score_threshold"]:
            x, y, w, h = outputs["boxes"][query]
            box = np.array([x - w / 2, y - h / 2, x + w / 2, y + h / 2]) * [width, height, width, height]
            plane = np.tensordot(outputs["mask_embeddings"][query], outputs["mask_features"], 1)
            detections.append(Detection(class_id, score, box, sigmoid(resize(plane, height, width))))
    return detections


def _solov2_candidates(bundle: Bundle, outputs: dict[str, Floats]) -> list[tuple[float, int, Floats]]:
    """Score, class and probabilities of those that enter the matrix NMS, best first."""
    candidates = []
    cell = 0
    for grid, minimum_area in zip(bundle.decode["grid_sizes"], bundle.decode["minimum_areas"], strict=True):
        for _ in range(grid * grid):
            for class_id in np.flatnonzero(outputs["scores"][cell] > bundle.decode["score_threshold"]):
                probabilities = sigmoid(np.tensordot(outputs["kernels"][cell], outputs["mask_features"], 1))
                mask = probabilities > bundle.decode["mask_threshold"]
                if mask.sum() > minimum_area:
                    score = float(outputs["scores"][cell][class_id]) * float(probabilities[mask].mean())
                    candidates.append((score, int(class_id), probabilities))
            cell += 1
    order = np.argsort([-candidate[0] for candidate in candidates], kind="stable")
    return [candidates[i] for i in order[: bundle.decode["nms_top_k"]]]


def _decayed(scores: Floats, classes: NDArray[np.int64], masks: NDArray[np.bool_], sigma: float) -> Floats:
    count = len(scores)
    overlap = np.zeros((count, count))
    for j in range(count):
        for i in range(j):
            if classes[i] == classes[j]:
                overlap[i, j] = (masks[i] & masks[j]).sum() / (masks[i] | masks[j]).sum()
    most = overlap.max(axis=0, initial=0)
    decayed = np.array(scores, np.float64)
    for j in range(count):
        factors = np.exp(-sigma * overlap[:j, j] ** 2) / np.exp(-sigma * most[:j] ** 2)
        decayed[j] *= factors.min(initial=1)
    return decayed


def decode_solov2(bundle: Bundle, image: NDArray[np.uint8]) -> list[Detection]:
    network = bundle.network_input(image)
    outputs = {name: value[0] for name, value in bundle.run("model", network.image).items()}
    candidates = _solov2_candidates(bundle, outputs)
    if not candidates:
        return []
    decode = bundle.decode
    probabilities = np.array([candidate[2] for candidate in candidates])
    scores = _decayed(
        np.array([candidate[0] for candidate in candidates]),
        np.array([candidate[1] for candidate in candidates]),
        probabilities > decode["mask_threshold"],
        decode["nms_sigma"],
    )
    kept = [i for i in np.argsort(-scores, kind="stable") if scores[i] >= decode["update_threshold"]]
    detections = []
    for i in kept[: decode["keep_top_k"]]:
        rows, columns = (SOLOV2_FEATURE_STRIDE * size for size in probabilities[i].shape)
        visible = resize(probabilities[i], rows, columns)[: network.resized[0], : network.resized[1]]
        final = resize(visible, *image.shape[:2])
        y, x = np.nonzero(final > decode["mask_threshold"])
        box = np.array([x.min(), y.min(), x.max() + 1, y.max() + 1]) if len(x) else np.zeros(4)
        detections.append(Detection(candidates[i][1], float(scores[i]), box, final))
    return detections
