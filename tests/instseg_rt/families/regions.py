"""The decode of family mask_rcnn in NumPy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .reference import Bundle, Detection, Floats, NetworkInput, sigmoid

_MAX_LOG_SCALE = np.log(1000 / 16)


def _clip(boxes: Floats, height: float, width: float) -> Floats:
    return np.clip(boxes, 0, [width, height, width, height])


def _apply_deltas(boxes: Floats, deltas: Floats, weights: Sequence[float]) -> Floats:
    sizes = boxes[:, 2:] - boxes[:, :2]
    centres = boxes[:, :2] + sizes / 2 + deltas[:, :2] / weights[:2] * sizes
    half = sizes / 2 * np.exp(np.minimum(deltas[:, 2:] / weights[2:], _MAX_LOG_SCALE))
    return np.concatenate([centres - half, centres + half], axis=1)


def _suppress(boxes: Floats, iou_threshold: float) -> list[int]:
    """boxes: best first."""
    kept: list[int] = []
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    for i in range(len(boxes)):
        low = np.maximum(boxes[kept, :2], boxes[i, :2])
        high = np.minimum(boxes[kept, 2:], boxes[i, 2:])
        common = np.prod(np.maximum(high - low, 0), axis=1)
        if np.all(common / (area[kept] + area[i] - common) <= iou_threshold):
            kept.append(i)
    return kept


def _proposals(bundle: Bundle, outputs: dict[str, Floats], resized: tuple[int, int]) -> Floats:
    decode = bundle.decode
    strides = decode["anchor_strides"]
    sizes = np.array(decode["anchor_sizes"]).reshape(len(strides), -1)
    boxes, scores = [], []
    for i, stride in enumerate(strides):
        logits, deltas = outputs[f"rpn_logits_{i}"], outputs[f"rpn_deltas_{i}"]
        anchors = []
        for row in range(logits.shape[1]):
            for column in range(logits.shape[2]):
                for size in sizes[i]:
                    for ratio in decode["anchor_aspect_ratios"]:
                        half = np.array([size / ratio**0.5, size * ratio**0.5]) / 2
                        corner = np.array([column, row]) * stride
                        anchors.append(np.concatenate([corner - half, corner + half]))
        flat_logits = logits.transpose(1, 2, 0).ravel()
        flat_deltas = deltas.reshape(-1, 4, *deltas.shape[1:]).transpose(2, 3, 0, 1).reshape(-1, 4)
        order = np.argsort(-flat_logits, kind="stable")[: decode["rpn_pre_nms_top_n"]]
        level = _clip(_apply_deltas(np.array(anchors)[order], flat_deltas[order], np.ones(4)), *resized)
        large = np.all(level[:, 2:] - level[:, :2] >= max(decode["rpn_min_size"], 1), axis=1)
        level, order = level[large], order[large]
        kept = _suppress(level, decode["rpn_nms_iou_threshold"])[: decode["rpn_post_nms_top_n"]]
        boxes.append(level[kept])
        scores.append(flat_logits[order[kept]])
    all_boxes, all_scores = np.concatenate(boxes), np.concatenate(scores)
    if len(all_boxes) > decode["rpn_post_nms_top_n"]:
        all_boxes = all_boxes[np.argsort(-all_scores, kind="stable")[: decode["rpn_post_nms_top_n"]]]
    return all_boxes


def _bin_weights(low: float, high: float, stride: int, cells: int, bins: int, aligned: bool) -> Floats:
    """(bins, cells): one axis of RoIAlign; sampling is separable."""
    offset = 0.5 if aligned else 0.0
    begin, end = np.float32(low / stride - offset), np.float32(high / stride - offset)
    size = end - begin if aligned else max(end - begin, np.float32(1))
    samples = int(np.ceil(size / bins))
    weights = np.zeros((bins, cells))
    for bin_ in range(bins):
        for i in range(samples):
            position = begin + (bin_ + (i + 0.5) / samples) * size / bins
            if -1 <= position <= cells:
                position = min(max(position, 0), cells - 1)
                first = int(position)
                second = min(first + 1, cells - 1)
                weights[bin_, first] += (1 - (position - first)) / samples
                weights[bin_, second] += (position - first) / samples
    return weights


def _roi_align(bundle: Bundle, outputs: dict[str, Floats], boxes: Floats, bins: int) -> NDArray[np.float32]:
    strides = bundle.decode["feature_strides"]
    rois = []
    for x1, y1, x2, y2 in boxes:
        level = int(np.floor(4 + np.log2(np.sqrt((x2 - x1) * (y2 - y1)) / 224 + 1e-6)) - np.log2(strides[0]))
        level = min(max(level, 0), len(strides) - 1)
        feature = outputs[f"feature_{level}"].astype(np.float64)
        aligned = bundle.decode["roi_aligned"]
        rows = _bin_weights(y1, y2, strides[level], feature.shape[1], bins, aligned)
        columns = _bin_weights(x1, x2, strides[level], feature.shape[2], bins, aligned)
        rois.append(rows @ feature @ columns.T)
    return np.array(rois, np.float32)


def _find_boxes(
    bundle: Bundle, outputs: dict[str, Floats], rois: Floats, resized: tuple[int, int]
) -> list[tuple[int, float, Floats]]:
    """Class, score and box in network pixels, by class and falling score."""
    decode = bundle.decode
    heads = [stage for stage in bundle.stages if stage.startswith("box_head")]
    weights = np.array(decode["delta_weights"]).reshape(-1, 4)
    probabilities: Floats = np.zeros(())
    for i, head in enumerate(heads):
        bins = _bins(bundle, head)
        rows = bundle.run(head, _roi_align(bundle, outputs, rois, bins))
        exponentials = np.exp(rows["logits"] - rows["logits"].max(axis=1, keepdims=True))
        probabilities = probabilities + exponentials / exponentials.sum(axis=1, keepdims=True) / len(heads)
        if i + 1 < len(heads):
            rois = _clip(_apply_deltas(rois, rows["deltas"], weights[i]), *resized)
    found = []
    for class_id in range(bundle.classes):
        own = rows["deltas"] if rows["deltas"].shape[1] == 4 else rows["deltas"][:, 4 * class_id : 4 * class_id + 4]
        boxes = _clip(_apply_deltas(rois, own, weights[-1]), *resized)
        scores = probabilities[:, class_id]
        order = np.argsort(-scores, kind="stable")
        order = order[scores[order] > decode["score_threshold"]]
        for k in _suppress(boxes[order], decode["nms_iou_threshold"]):
            found.append((class_id, float(scores[order[k]]), boxes[order[k]]))
    best = sorted(found, key=lambda box: -box[1])[: decode["keep_top_k"]]
    return sorted(best, key=lambda box: (box[0], -box[1]))


def _bins(bundle: Bundle, stage: str) -> int:
    entry = next(entry for entry in bundle.manifest["stages"] if entry["name"] == stage)
    return int(entry["inputs"][0]["shape"][3])


def _paste_axis(low: float, high: float, cells: int, pixels: int) -> Floats:
    """(pixels, cells): bilinear at pixel centres, zero outside the map."""
    positions = (np.arange(pixels) + 0.5 - low) / (high - low) * cells - 0.5
    weights = np.maximum(0, 1 - np.abs(positions[:, None] - np.arange(cells)))
    return np.asarray(weights)


def decode_mask_rcnn(bundle: Bundle, image: NDArray[np.uint8]) -> list[Detection]:
    network: NetworkInput = bundle.network_input(image)
    outputs = {name: value[0] for name, value in bundle.run("features", network.image).items()}
    rois = _proposals(bundle, outputs, network.resized)
    if len(rois) == 0:
        return []
    height, width = image.shape[:2]
    detections = []
    for class_id, score, network_box in _find_boxes(bundle, outputs, rois, network.resized):
        scale_y, scale_x = network.scale
        box = _clip(network_box / [scale_x, scale_y, scale_x, scale_y], height, width)
        if np.any(box[2:] <= box[:2]):
            continue
        features = _roi_align(bundle, outputs, network_box[None], _bins(bundle, "mask_head"))
        map_ = sigmoid(bundle.run("mask_head", features)["mask_logits"][0, class_id])
        rows = _paste_axis(box[1], box[3], map_.shape[0], height)
        columns = _paste_axis(box[0], box[2], map_.shape[1], width)
        detections.append(Detection(class_id, score, box, rows @ map_ @ columns.T))
    return detections
