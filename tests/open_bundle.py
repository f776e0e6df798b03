"""Writes a bundle whose stages have open sizes, as detectors with regions have them; no family runs it.

Stage `features`: image (batch, 3, height, width) -> features (batch, 4, half_height, half_width): means over 2 x 2
pixels of the three channels, and the sum of the three.
Stage `box_head`: regions (rois, 4, 7, 7) -> means (rois, 4) over each region, and multiples (rois, 12) of the last one,
once to twelve times.
Stage `select`: values (batch, 5) -> indices (2, found), int64: image and position of the values that are not 0.

    python -m tests.open_bundle FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from onnx import helper

from .onnx_stage import Stage, write_bundle


def _stages() -> list[Stage]:
    mixed = np.concatenate([np.eye(3), np.ones((1, 3))]).astype(np.float32).reshape(4, 3, 1, 1)
    multiples = np.zeros((4, 12), np.float32)
    multiples[3] = np.arange(1, 13)
    features = Stage(
        "features",
        [
            helper.make_node("AveragePool", ["image"], ["means"], kernel_shape=[2, 2], strides=[2, 2]),
            helper.make_node("Conv", ["means", "mixed"], ["features"]),
        ],
        {"mixed": mixed},
    )
    box_head = Stage(
        "box_head",
        [
            helper.make_node("ReduceMean", ["regions"], ["means"], axes=[2, 3], keepdims=0),
            helper.make_node("MatMul", ["means", "factors"], ["multiples"]),
        ],
        {"factors": multiples},
    )
    select = Stage("select", [helper.make_node("NonZero", ["values"], ["indices"])], {})
    return [
        features.add("inputs", "image", ["batch", 3, "height", "width"]).add(
            "outputs", "features", ["batch", 4, "half_height", "half_width"]
        ),
        box_head.add("inputs", "regions", ["rois", 4, 7, 7])
        .add("outputs", "means", ["rois", 4])
        .add("outputs", "multiples", ["rois", 12]),
        select.add("inputs", "values", ["batch", 5]).add("outputs", "indices", [2, "found"], "int64"),
    ]


def write_open_bundle(folder: Path) -> Path:
    """Writes the bundle into `folder`, which is created, and returns it."""
    return write_bundle(
        folder,
        _stages(),
        family="none",
        labels=["thing"],
        network_input={
            "resize": "keep_ratio",
            "short_side": 32,
            "long_side": 64,
            "pad_stride": 16,
            "normalize_first": True,
            "mean": [0.5, 0.5, 0.5],
            "std": [0.25, 0.25, 0.25],
        },
        decode={},
        max_batch=2,
    )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m tests.open_bundle FOLDER")
    print(write_open_bundle(Path(sys.argv[1])))
