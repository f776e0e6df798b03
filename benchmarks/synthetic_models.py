"""The families' synthetic models: objects of `synthetic_outputs` as the outputs of their stages."""

from __future__ import annotations

import numpy as np

from instseg_rt.backend import TensorInfo
from synthetic_outputs import (
    CLASSES,
    LONG_SIDE,
    NETWORK_SIDE,
    PAD_STRIDE,
    SHORT_SIDE,
    STEEPNESS,
    Array,
    Objects,
    Stage,
    SyntheticModel,
    planes,
)

_STRETCH = {"height": NETWORK_SIDE, "width": NETWORK_SIDE, "resize": "stretch"}
_KEEP_RATIO = {
    "resize": "keep_ratio",
    "short_side": SHORT_SIDE,
    "long_side": LONG_SIDE,
    "pad_stride": PAD_STRIDE,
}
_SCORE = 0.9
_MAP = NETWORK_SIDE // 4  # rows and columns of the prototypes


def ppyoloe_seg(objects: Objects) -> SyntheticModel:
    count, anchors = len(objects.centres), 8400
    boxes, scores = np.zeros((1, anchors, 4), np.float32), np.zeros((1, CLASSES, anchors), np.float32)
    coefficients = np.zeros((1, 32, anchors), np.float32)
    boxes[0, :count] = objects.boxes() * NETWORK_SIDE
    scores[0, np.arange(count) % CLASSES, np.arange(count)] = _SCORE
    coefficients[0, :, :count] = objects.weights(32).T
    outputs = {
        "boxes": boxes,
        "scores": scores,
        "mask_coefficients": coefficients,
        "prototypes": planes(32, _MAP, _MAP, _MAP, _MAP)[None],
    }
    decode = {
        "score_threshold": 0.01,
        "nms_iou_threshold": 0.7,
        "nms_top_k": 1000,
        "keep_top_k": 300,
        "mask_threshold": 0.5,
    }
    return SyntheticModel("ppyoloe_seg", _STRETCH, decode, (_stretched_stage(outputs),))


def mask_rtdetr(objects: Objects, prototypes: int) -> SyntheticModel:
    count, queries = len(objects.centres), 300
    logits = np.full((1, queries, CLASSES), -8, np.float32)
    logits[0, np.arange(count), np.arange(count) % CLASSES] = np.log(_SCORE / (1 - _SCORE))
    boxes = np.full((1, queries, 4), 0.5, np.float32)
    boxes[0, :count] = np.concatenate([objects.centres, 2 * objects.radii], axis=1)
    embeddings = np.zeros((1, queries, prototypes), np.float32)
    embeddings[0, :count] = objects.weights(prototypes)
    outputs = {
        "logits": logits,
        "boxes": boxes,
        "mask_embeddings": embeddings,
        "mask_features": planes(prototypes, _MAP, _MAP, _MAP, _MAP)[None],
    }
    decode = {"score_threshold": 0.0, "keep_top_k": 100, "mask_threshold": 0.5}
    return SyntheticModel("mask_rtdetr", _STRETCH, decode, (_stretched_stage(outputs),))


def solov2(objects: Objects, height: int, width: int) -> SyntheticModel:
    """height, width: of the image."""
    grids, channels, count = (40, 36, 24, 16, 12), 256, len(objects.centres)
    cells = sum(grid * grid for grid in grids)
    scores, kernels = np.zeros((1, cells, CLASSES), np.float32), np.zeros((1, cells, channels), np.float32)
    # Anywhere: what a cell says does not depend on where it is.
    rows = np.linspace(0, cells - 1, count).astype(int)
    scores[0, rows, np.arange(count) % CLASSES] = _SCORE
    kernels[0, rows] = objects.weights(channels)
    shown, padded = _network_size(height, width)
    features = planes(channels, padded[0] // 4, padded[1] // 4, shown[0] / 4, shown[1] / 4)[None]
    outputs = {"scores": scores, "kernels": kernels, "mask_features": features}
    decode = {
        "score_threshold": 0.1,
        "mask_threshold": 0.5,
        "grid_sizes": list(grids),
        "minimum_areas": [8, 8, 16, 32, 32],
        "nms_top_k": 500,
        "nms_sigma": 2.0,
        "update_threshold": 0.05,
        "keep_top_k": 100,
    }
    axes = {
        "scores": ("batch", cells, CLASSES),
        "kernels": ("batch", cells, channels),
        "mask_features": ("batch", channels, "feature_height", "feature_width"),
    }
    return SyntheticModel("solov2", _KEEP_RATIO, decode, (_image_stage("model", outputs, axes),))


def mask_rcnn(objects: Objects, height: int, width: int) -> SyntheticModel:
    """height, width: of the image. The first proposals are the objects; all thousand go through the box head."""
    strides, channels, count = (4, 8, 16, 32, 64), 256, len(objects.centres)
    padded = _network_size(height, width)[1]
    rng = np.random.default_rng(2)
    outputs: dict[str, Array] = {}
    axes: dict[str, tuple[str | int, ...]] = {}
    sizes = [(padded[0] // stride, padded[1] // stride) for stride in strides]
    for level, size in enumerate(sizes[:-1]):
        outputs[f"feature_{level}"] = rng.standard_normal((1, channels, *size), np.float32)
        axes[f"feature_{level}"] = ("batch", channels, f"feature_{level}_height", f"feature_{level}_width")
    for name, per_anchor in (("rpn_logits", 1), ("rpn_deltas", 4)):
        for level, size in enumerate(sizes):
            values = rng.standard_normal((1, 3 * per_anchor, *size), np.float32)
            outputs[f"{name}_{level}"] = values if name == "rpn_logits" else 0.1 * values
            axes[f"{name}_{level}"] = ("batch", 3 * per_anchor, f"rpn_{level}_height", f"rpn_{level}_width")
    # One class for each of the first RoIs, so that none suppresses another; their boxes stay.
    logits = np.zeros((1000, CLASSES + 1), np.float32)
    logits[:, -1] = 9
    logits[np.arange(count), -1] = 0
    logits[np.arange(count), np.arange(count) % CLASSES] = 9
    u = (np.arange(28) + 0.5) / 14 - 1
    ellipse = STEEPNESS * (1 - u[:, None] ** 2 - u**2)
    heads = (
        _roi_stage("box_head", 7, {"logits": logits, "deltas": np.zeros((1000, 4 * CLASSES), np.float32)}),
        _roi_stage("mask_head", 14, {"mask_logits": _repeated(ellipse.astype(np.float32), count)}),
    )
    decode = {
        "rpn_pre_nms_top_n": 1000,
        "rpn_post_nms_top_n": 1000,
        "rpn_nms_iou_threshold": 0.7,
        "rpn_min_size": 0.0,
        "score_threshold": 0.05,
        "nms_iou_threshold": 0.5,
        "keep_top_k": 100,
        "mask_threshold": 0.5,
        "anchor_strides": list(strides),
        "anchor_sizes": [32, 64, 128, 256, 512],
        "anchor_aspect_ratios": [0.5, 1.0, 2.0],
        "feature_strides": list(strides[:-1]),
        "delta_weights": [10.0, 10.0, 5.0, 5.0],
        "roi_aligned": False,
    }
    return SyntheticModel("mask_rcnn", _KEEP_RATIO, decode, (_image_stage("features", outputs, axes), *heads))


def _repeated(ellipse: Array, count: int) -> Array:
    return np.ascontiguousarray(np.broadcast_to(ellipse, (count, CLASSES, *ellipse.shape)))


def _network_size(height: int, width: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """(height, width) of the resized image and of the padded network input."""
    scale = min(SHORT_SIDE / min(height, width), LONG_SIDE / max(height, width))
    shown = int(scale * height + 0.5), int(scale * width + 0.5)
    return shown, (-(-shown[0] // PAD_STRIDE) * PAD_STRIDE, -(-shown[1] // PAD_STRIDE) * PAD_STRIDE)


def _stretched_stage(outputs: dict[str, Array]) -> Stage:
    shape = (3, NETWORK_SIDE, NETWORK_SIDE)
    axes: dict[str, tuple[str | int, ...]] = {name: ("batch", *array.shape[1:]) for name, array in outputs.items()}
    return Stage("model", TensorInfo("image", "float32", (None, *shape)), outputs, axes, ("batch", *shape))


def _image_stage(name: str, outputs: dict[str, Array], axes: dict[str, tuple[str | int, ...]]) -> Stage:
    image = TensorInfo("image", "float32", (None, 3, None, None))
    return Stage(name, image, outputs, axes, ("batch", 3, "height", "width"))


def _roi_stage(name: str, bins: int, outputs: dict[str, Array]) -> Stage:
    shape = (256, bins, bins)
    axes: dict[str, tuple[str | int, ...]] = {key: ("rois", *array.shape[1:]) for key, array in outputs.items()}
    return Stage(name, TensorInfo("roi_features", "float32", (None, *shape)), outputs, axes, ("rois", *shape))
