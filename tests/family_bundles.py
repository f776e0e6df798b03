"""Writes small bundles of the families mask_rtdetr, solov2 and mask_rcnn, whose constants are random numbers.

What the networks say depends on the image alone, not on the padding around it: convolutions have strides as large as
their kernels and no offset, and what looks at a whole image takes the share of each colour in it.

    python -m tests.family_bundles FOLDER
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, helper

from .onnx_stage import Stage, write_bundle

MAX_BATCH = 4
RTDETR_INPUT = (64, 96)  # network pixels: height, width
SOLOV2_GRIDS = (4, 3, 2)
Changes = Mapping[str, Any]
Floats = NDArray[np.float32]


def _normal(random: np.random.Generator, *shape: int, scale: float = 1.0) -> Floats:
    return (random.standard_normal(shape) * scale).astype(np.float32)


def _patches(image: str, weights: str, output: str, size: int) -> NodeProto:
    """A convolution whose kernels, size x size, do not overlap."""
    return helper.make_node("Conv", [image, weights], [output], kernel_shape=[size, size], strides=[size, size])


def _patch_weights(random: np.random.Generator, channels: int, size: int, scale: float) -> Floats:
    """Of a convolution: each channel looks at a mixture of the colours' means, and a bit at the details."""
    weights = _normal(random, channels, 3, 1, 1) + _normal(random, channels, 3, size, size, scale=0.5)
    return weights * np.float32(scale / size**2)


def _linear(values: str, name: str, output: str) -> list[NodeProto]:
    return [
        helper.make_node("MatMul", [values, f"{name}_weights"], [f"{output}_products"]),
        helper.make_node("Add", [f"{output}_products", f"{name}_offsets"], [output]),
    ]


def _keep_ratio(short_side: int, long_side: int) -> dict[str, Any]:
    return {
        "resize": "keep_ratio",
        "short_side": short_side,
        "long_side": long_side,
        "pad_stride": 16,
        "mean": [0.0, 0.0, 0.0],
        "std": [1.0, 1.0, 1.0],
    }


def write_mask_rtdetr(folder: Path, **decode: Any) -> Path:
    """A query looks at one of 4 x 6 cells of 16 x 16 pixels. decode: other values of keys, as for all bundles here."""
    random = np.random.default_rng(1)
    height, width = RTDETR_INPUT
    queries, classes, prototypes = height // 16 * width // 16, 4, 5
    constants = {
        "sequence": np.array([0, 3, -1], np.int64),
        "logits_weights": _normal(random, 3, classes, scale=5),
        "logits_offsets": _normal(random, queries, classes, scale=0.5) - 3,
        "boxes_weights": _normal(random, 3, 4),
        "boxes_offsets": _normal(random, queries, 4),
        "embeddings_weights": _normal(random, 3, prototypes, scale=4),
        "embeddings_offsets": _normal(random, queries, prototypes),
        "features_weights": _patch_weights(random, prototypes, 4, 3),
    }
    nodes = [
        helper.make_node("AveragePool", ["image"], ["cells"], kernel_shape=[16, 16], strides=[16, 16]),
        helper.make_node("Reshape", ["cells", "sequence"], ["cell_columns"]),
        helper.make_node("Transpose", ["cell_columns"], ["cell_rows"], perm=[0, 2, 1]),
        *_linear("cell_rows", "logits", "logits"),
        *_linear("cell_rows", "boxes", "box_logits"),
        helper.make_node("Sigmoid", ["box_logits"], ["boxes"]),
        *_linear("cell_rows", "embeddings", "mask_embeddings"),
        _patches("image", "features_weights", "mask_features", 4),
    ]
    stage = Stage("model", nodes, constants).add("inputs", "image", ["batch", 3, height, width])
    # Not in the order of the documentation: a family finds outputs by their names.
    stage.add("outputs", "mask_features", ["batch", prototypes, height // 4, width // 4])
    stage.add("outputs", "logits", ["batch", queries, classes])
    stage.add("outputs", "mask_embeddings", ["batch", queries, prototypes])
    stage.add("outputs", "boxes", ["batch", queries, 4])
    return write_bundle(
        folder,
        [stage],
        family="mask_rtdetr",
        labels=["a", "b", "c", "d"],
        network_input={
            "resize": "stretch",
            "height": height,
            "width": width,
            "mean": [0.1, 0.0, 0.0],
            "std": [1.0, 1.0, 2.0],
        },
        decode={"score_threshold": 0.0, "keep_top_k": 30, "mask_threshold": 0.5, **decode},
        max_batch=MAX_BATCH,
    )


def write_solov2(folder: Path, *, feature_stride: int = 4, **decode: Any) -> Path:
    """Scores and kernels follow from the share of each colour in the image. feature_stride: 4 is right."""
    random = np.random.default_rng(2)
    classes, channels = 3, 5
    cells = sum(grid * grid for grid in SOLOV2_GRIDS)
    constants = {
        "pixel_axes": np.array([2, 3], np.int64),
        "channel_axis": np.array([1], np.int64),
        "little": np.array(1e-6, np.float32),
        "scores_shape": np.array([0, cells, classes], np.int64),
        "kernels_shape": np.array([0, cells, channels], np.int64),
        "scores_weights": _normal(random, 3, cells * classes, scale=8),
        "scores_offsets": np.full(cells * classes, -3, np.float32),
        "kernels_weights": _normal(random, 3, cells * channels, scale=3),
        "kernels_offsets": _normal(random, cells * channels),
        "features_weights": _patch_weights(random, channels, feature_stride, 2),
    }
    nodes = [
        helper.make_node("ReduceSum", ["image", "pixel_axes"], ["sums"], keepdims=0),
        helper.make_node("ReduceSum", ["sums", "channel_axis"], ["total"], keepdims=1),
        helper.make_node("Add", ["total", "little"], ["divisor"]),
        helper.make_node("Div", ["sums", "divisor"], ["shares"]),
        *_linear("shares", "scores", "score_logits"),
        helper.make_node("Reshape", ["score_logits", "scores_shape"], ["cell_logits"]),
        helper.make_node("Sigmoid", ["cell_logits"], ["scores"]),
        *_linear("shares", "kernels", "all_kernels"),
        helper.make_node("Reshape", ["all_kernels", "kernels_shape"], ["kernels"]),
        _patches("image", "features_weights", "mask_features", feature_stride),
    ]
    stage = Stage("model", nodes, constants).add("inputs", "image", ["batch", 3, "height", "width"])
    stage.add("outputs", "kernels", ["batch", cells, channels])
    stage.add("outputs", "mask_features", ["batch", channels, "feature_height", "feature_width"])
    stage.add("outputs", "scores", ["batch", cells, classes])
    return write_bundle(
        folder,
        [stage],
        family="solov2",
        labels=["a", "b", "c"],
        network_input=_keep_ratio(40, 72),
        decode={
            "score_threshold": 0.1,
            "mask_threshold": 0.5,
            "grid_sizes": list(SOLOV2_GRIDS),
            "minimum_areas": [2, 10, 60],
            "nms_top_k": 40,
            "nms_sigma": 2.0,
            "update_threshold": 0.05,
            "keep_top_k": 12,
            **decode,
        },
        max_batch=MAX_BATCH,
    )


class _Rcnn:
    """The stages of a Mask R-CNN; feature maps and maps with anchors may differ in number."""

    CLASSES = 3
    REDUCED = 6  # channels in the heads

    def __init__(self, seed: int, channels: int, feature_strides: list[int], anchor_strides: list[int]) -> None:
        self.random = np.random.default_rng(seed)
        self.channels = channels
        self.feature_strides = feature_strides
        self.anchor_strides = anchor_strides

    def features(self, cell_anchors: int) -> Stage:
        nodes: list[NodeProto] = []
        constants: dict[str, Floats] = {}
        outputs: list[tuple[str, int, str]] = []

        def add(name: str, kind: str, index: int, weights: Floats) -> None:
            constants[f"{name}_weights"] = weights
            nodes.append(_patches("image", f"{name}_weights", name, weights.shape[-1]))
            outputs.append((name, weights.shape[0], f"{kind}_{index}"))

        for i, size in enumerate(self.anchor_strides):
            # The brighter, the better: padding has the lowest logits.
            bright = np.abs(_normal(self.random, cell_anchors, 3, size, size, scale=8 / size**2))
            add(f"rpn_logits_{i}", "rpn", i, bright)
            add(f"rpn_deltas_{i}", "rpn", i, _patch_weights(self.random, 4 * cell_anchors, size, 0.5))
        for i, size in enumerate(self.feature_strides):
            add(f"feature_{i}", "feature", i, _patch_weights(self.random, self.channels, size, 3))
        stage = Stage("features", nodes, constants).add("inputs", "image", ["batch", 3, "height", "width"])
        for name, depth, axes in outputs:
            stage.add("outputs", name, ["batch", depth, f"{axes}_height", f"{axes}_width"])
        return stage

    def box_head(self, name: str, bins: int, deltas: int) -> Stage:
        values = self.REDUCED * bins * bins
        offsets = np.zeros(self.CLASSES + 1, np.float32)
        offsets[-1] = 1  # nothing there: background
        constants = {
            "reduced": _normal(self.random, self.REDUCED, self.channels, 1, 1, scale=self.channels**-0.5),
            "logits_weights": _normal(self.random, values, self.CLASSES + 1, scale=2 * values**-0.5),
            "logits_offsets": offsets,
            "deltas_weights": _normal(self.random, values, deltas, scale=values**-0.5),
            "deltas_offsets": np.zeros(deltas, np.float32),
        }
        nodes = [
            helper.make_node("Conv", ["roi_features", "reduced"], ["values"]),
            helper.make_node("Flatten", ["values"], ["rows"]),
            *_linear("rows", "deltas", "deltas"),
            *_linear("rows", "logits", "logits"),
        ]
        stage = Stage(name, nodes, constants).add("inputs", "roi_features", ["rois", self.channels, bins, bins])
        stage.add("outputs", "deltas", ["rois", deltas])
        return stage.add("outputs", "logits", ["rois", self.CLASSES + 1])

    def mask_head(self, bins: int) -> Stage:
        constants = {
            "weights": _normal(self.random, self.channels, self.CLASSES, 2, 2, scale=3 * self.channels**-0.5),
        }
        nodes = [
            helper.make_node("ConvTranspose", ["roi_features", "weights"], ["mask_logits"], strides=[2, 2]),
        ]
        stage = Stage("mask_head", nodes, constants).add("inputs", "roi_features", ["rois", self.channels, bins, bins])
        return stage.add("outputs", "mask_logits", ["rois", self.CLASSES, 2 * bins, 2 * bins])

    def write(self, folder: Path, stages: list[Stage], anchor_sizes: list[int], changes: Changes) -> Path:
        return write_bundle(
            folder,
            stages,
            family="mask_rcnn",
            labels=["a", "b", "c"],
            network_input=_keep_ratio(120, 216),
            decode={
                "rpn_pre_nms_top_n": 60,
                "rpn_post_nms_top_n": 40,
                "rpn_nms_iou_threshold": 0.7,
                "rpn_min_size": 0.0,
                "score_threshold": 0.05,
                "nms_iou_threshold": 0.5,
                "keep_top_k": 15,
                "mask_threshold": 0.5,
                "anchor_strides": self.anchor_strides,
                "anchor_sizes": anchor_sizes,
                "anchor_aspect_ratios": [0.5, 1.0, 2.0],
                "feature_strides": self.feature_strides,
                "delta_weights": [10.0, 10.0, 5.0, 5.0],
                "roi_aligned": False,
                **changes,
            },
            max_batch=MAX_BATCH,
        )


def write_mask_rcnn(folder: Path, **decode: Any) -> Path:
    """A pyramid of two maps, proposals from three; a box for each class."""
    model = _Rcnn(3, 6, [4, 8], [4, 8, 16])
    stages = [model.features(3), model.box_head("box_head", 3, 4 * model.CLASSES), model.mask_head(5)]
    return model.write(folder, stages, [32, 64, 140], decode)


def write_cascade(folder: Path, **decode: Any) -> Path:
    """Three box heads, each with one box for all classes."""
    model = _Rcnn(4, 6, [4, 8], [8, 16])
    heads = [model.box_head(f"box_head_{i}", 3, 4) for i in range(3)]
    weights = [float(factor * weight) for factor in (1, 2, 3) for weight in (10, 10, 5, 5)]
    stages = [model.features(3), *heads, model.mask_head(5)]
    return model.write(folder, stages, [48, 120], {"delta_weights": weights, **decode})


def write_c4(folder: Path, **decode: Any) -> Path:
    """One map with anchors of all sizes, so many channels that the RoIs of two images do not fit into one run."""
    model = _Rcnn(5, 512, [16], [16])
    stages = [model.features(9), model.box_head("box_head", 14, 4 * model.CLASSES), model.mask_head(14)]
    return model.write(folder, stages, [32, 64, 120], {"roi_aligned": True, **decode})


WRITERS: dict[str, Callable[..., Path]] = {
    "mask_rtdetr": write_mask_rtdetr,
    "solov2": write_solov2,
    "mask_rcnn": write_mask_rcnn,
    "cascade": write_cascade,
    "c4": write_c4,
}


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m tests.family_bundles FOLDER")
    for _name, _write in WRITERS.items():
        print(_write(Path(sys.argv[1]) / f"{_name}.bundle"))
