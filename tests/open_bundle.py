"""Writes a bundle whose stages have open sizes, as detectors with regions have them; no family runs it.

Stage `features`: image (batch, 3, height, width) -> features (batch, 4, half_height, half_width): means over 2 x 2
pixels of the three channels, and the sum of the three.
Stage `box_head`: regions (rois, 4, 7, 7) -> means (rois, 4) over each region, and multiples (rois, 12) of the last one,
once to twelve times.
Stage `select`: values (batch, 5) -> indices (2, found), int64: image and position of the values that are not 0.

    python tests/open_bundle.py FOLDER
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import yaml
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Shape = Sequence[int | str]
_TYPES = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64}


class _Stage:
    """A graph and its entry in the manifest."""

    def __init__(self, name: str, nodes: Sequence[onnx.NodeProto], constants: dict[str, NDArray[Any]]) -> None:
        self.name = name
        self._nodes = nodes
        self._constants = constants
        self._tensors: dict[str, list[dict[str, Any]]] = {"inputs": [], "outputs": []}

    def add(self, kind: str, name: str, shape: Shape, dtype: str = "float32") -> _Stage:
        """kind: inputs | outputs."""
        self._tensors[kind].append({"name": name, "dtype": dtype, "shape": list(shape)})
        return self

    def write(self, folder: Path) -> dict[str, Any]:
        values = {
            kind: [helper.make_tensor_value_info(t["name"], _TYPES[t["dtype"]], t["shape"]) for t in tensors]
            for kind, tensors in self._tensors.items()
        }
        graph = helper.make_graph(
            list(self._nodes),
            self.name,
            values["inputs"],
            values["outputs"],
            [numpy_helper.from_array(value, name) for name, value in self._constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model)
        file = folder / "stages" / f"{self.name}.onnx"
        file.write_bytes(model.SerializeToString())
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        return {"name": self.name, "file": f"stages/{file.name}", "sha256": digest, **self._tensors}


def _stages() -> list[_Stage]:
    mixed = np.concatenate([np.eye(3), np.ones((1, 3))]).astype(np.float32).reshape(4, 3, 1, 1)
    multiples = np.zeros((4, 12), np.float32)
    multiples[3] = np.arange(1, 13)
    features = _Stage(
        "features",
        [
            helper.make_node("AveragePool", ["image"], ["means"], kernel_shape=[2, 2], strides=[2, 2]),
            helper.make_node("Conv", ["means", "mixed"], ["features"]),
        ],
        {"mixed": mixed},
    )
    box_head = _Stage(
        "box_head",
        [
            helper.make_node("ReduceMean", ["regions"], ["means"], axes=[2, 3], keepdims=0),
            helper.make_node("MatMul", ["means", "factors"], ["multiples"]),
        ],
        {"factors": multiples},
    )
    select = _Stage("select", [helper.make_node("NonZero", ["values"], ["indices"])], {})
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
    (folder / "stages").mkdir(parents=True, exist_ok=True)
    manifest = {
        "schema_version": 1,
        "model": "open",
        "family": "none",
        "labels": ["thing"],
        "category_ids": [1],
        "input": {
            "color": "rgb",
            "resize": "keep_ratio",
            "short_side": 32,
            "long_side": 64,
            "pad_stride": 16,
            "interpolation": "linear",
            "normalize_first": True,
            "scale": 1 / 255,
            "mean": [0.5, 0.5, 0.5],
            "std": [0.25, 0.25, 0.25],
        },
        "batch": {"min": 1, "opt": 1, "max": 2},
        "stages": [stage.write(folder) for stage in _stages()],
        "decode": {},
        "threshold": 0.5,
        "provenance": {"weights": "none: constants of tests/open_bundle.py"},
    }
    (folder / "manifest.yaml").write_text(yaml.safe_dump(manifest, sort_keys=False), encoding="utf-8")
    return folder


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: open_bundle.py FOLDER")
    print(write_open_bundle(Path(sys.argv[1])))
