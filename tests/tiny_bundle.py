"""Writes a small bundle that really detects: red, green and blue areas in a grid of cells.

The network looks at 64 x 64 pixels. It has 16 anchors, one per cell of 16 x 16 pixels, with the cell as its box. The
score of class c (red, green, blue) is high where the mean of channel c in the cell stands out from the other two. The
mask of an anchor is where its channel stands out, at a quarter of the resolution. The graph has a dynamic batch, and
the outputs of family ppyoloe_seg.

    python tests/tiny_bundle.py FOLDER
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np
import onnx
import yaml
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

SIDE = 64  # network input, pixels
CELL = 16  # pixels
PROTOTYPE_STRIDE = 4  # pixels
LABELS = ["red", "green", "blue"]
ANCHORS = (SIDE // CELL) ** 2

OUTPUT_SHAPES: dict[str, list[int]] = {
    "boxes": [ANCHORS, 4],
    "scores": [len(LABELS), ANCHORS],
    "mask_coefficients": [len(LABELS), ANCHORS],
    "prototypes": [len(LABELS), SIDE // PROTOTYPE_STRIDE, SIDE // PROTOTYPE_STRIDE],
}


def cell_boxes() -> NDArray[np.float32]:
    """(16, 4) boxes of the anchors, network pixels, row by row."""
    corners = np.arange(0, SIDE, CELL, dtype=np.float32)
    x, y = np.meshgrid(corners, corners)
    return np.stack([x.ravel(), y.ravel(), x.ravel() + CELL, y.ravel() + CELL], axis=1)


def build_graph() -> onnx.ModelProto:
    """The network: image (batch, 3, 64, 64), RGB in [0, 1] -> the four outputs of family ppyoloe_seg."""
    # Channel c against the mean of the other two, in [-1, 1].
    contrast = (1.5 * np.eye(3) - 0.5).astype(np.float32).reshape(3, 3, 1, 1)
    constants = {
        "contrast": contrast,
        "gain": np.float32(10.0),
        "offset": np.float32(0.5),
        "flat": np.array([0, 3, -1], dtype=np.int64),
        "first_channel": np.array([0], dtype=np.int64),
        "second_channel": np.array([1], dtype=np.int64),
        "channel_axis": np.array([1], dtype=np.int64),
        "column": np.array([0, -1, 1], dtype=np.int64),
        "nothing": np.float32(0.0),
        "cells": cell_boxes()[None],
    }
    nodes = [
        helper.make_node("AveragePool", ["image"], ["cell_means"], kernel_shape=[CELL, CELL], strides=[CELL, CELL]),
        helper.make_node("Conv", ["cell_means", "contrast"], ["cell_contrast"]),
        helper.make_node("Reshape", ["cell_contrast", "flat"], ["cell_contrast_flat"]),
        helper.make_node("Sub", ["cell_contrast_flat", "offset"], ["cell_evidence"]),
        helper.make_node("Mul", ["cell_evidence", "gain"], ["score_logits"]),
        helper.make_node("Sigmoid", ["score_logits"], ["scores"]),
        # The mask of an anchor: its channels' prototypes, weighted by how much they stand out.
        helper.make_node("Relu", ["cell_contrast_flat"], ["mask_coefficients"]),
        helper.make_node(
            "AveragePool",
            ["image"],
            ["stride_means"],
            kernel_shape=[PROTOTYPE_STRIDE, PROTOTYPE_STRIDE],
            strides=[PROTOTYPE_STRIDE, PROTOTYPE_STRIDE],
        ),
        helper.make_node("Conv", ["stride_means", "contrast"], ["stride_contrast"]),
        helper.make_node("Sub", ["stride_contrast", "offset"], ["stride_evidence"]),
        helper.make_node("Mul", ["stride_evidence", "gain"], ["prototypes"]),
        # The constant boxes, once per image of the batch.
        helper.make_node(
            "Slice",
            ["cell_contrast_flat", "first_channel", "second_channel", "channel_axis"],
            ["one_channel"],
        ),
        helper.make_node("Reshape", ["one_channel", "column"], ["one_column"]),
        helper.make_node("Mul", ["one_column", "nothing"], ["zeros"]),
        helper.make_node("Add", ["zeros", "cells"], ["boxes"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape])
            for name, shape in OUTPUT_SHAPES.items()
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def write_tiny_bundle(folder: Path, **input_changes: object) -> Path:
    """Writes the bundle into `folder`, which is created, and returns it.

    input_changes: keys of the manifest's `input` with other values; None leaves a key out.
    """
    stage = folder / "stages" / "model.onnx"
    stage.parent.mkdir(parents=True, exist_ok=True)
    stage.write_bytes(build_graph().SerializeToString())
    outputs = [{"name": name, "dtype": "float32", "shape": ["batch", *shape]} for name, shape in OUTPUT_SHAPES.items()]
    network_input = {
        "height": SIDE,
        "width": SIDE,
        "color": "rgb",
        "resize": "stretch",
        "interpolation": "linear",
        "scale": 1 / 255,
        "mean": [0.0, 0.0, 0.0],
        "std": [1.0, 1.0, 1.0],
        **input_changes,
    }
    manifest = {
        "schema_version": 1,
        "model": "tiny",
        "family": "ppyoloe_seg",
        "labels": LABELS,
        "category_ids": [1, 2, 3],
        "input": {key: value for key, value in network_input.items() if value is not None},
        "batch": {"min": 1, "opt": 1, "max": 4},
        "stages": [
            {
                "name": "model",
                "file": "stages/model.onnx",
                "sha256": hashlib.sha256(stage.read_bytes()).hexdigest(),
                "inputs": [{"name": "image", "dtype": "float32", "shape": ["batch", 3, SIDE, SIDE]}],
                "outputs": outputs,
            }
        ],
        "decode": {
            "score_threshold": 0.01,
            "nms_iou_threshold": 0.7,
            "nms_top_k": 1000,
            "keep_top_k": 300,
            "mask_threshold": 0.5,
        },
        "threshold": 0.5,
        "provenance": {"weights": "none: constants of tests/tiny_bundle.py"},
    }
    (folder / "manifest.yaml").write_text(yaml.safe_dump(manifest, sort_keys=False), encoding="utf-8")
    return folder


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: tiny_bundle.py FOLDER")
    print(write_tiny_bundle(Path(sys.argv[1])))
