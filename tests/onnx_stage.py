"""Writes the parts of a test bundle: ONNX graphs made by hand, and the manifest around them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import yaml
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Shape = Sequence[int | str]
_TYPES = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64}


class Stage:
    """A graph and its entry in the manifest."""

    def __init__(self, name: str, nodes: Sequence[onnx.NodeProto], constants: Mapping[str, NDArray[Any]]) -> None:
        self.name = name
        self._nodes = nodes
        self._constants = constants
        self._tensors: dict[str, list[dict[str, Any]]] = {"inputs": [], "outputs": []}

    def add(self, kind: str, name: str, shape: Shape, dtype: str = "float32") -> Stage:
        """kind: inputs | outputs."""
        self._tensors[kind].append({"name": name, "dtype": dtype, "shape": list(shape)})
        return self

    def write(self, folder: Path) -> dict[str, Any]:
        """Writes the graph into the bundle and returns the manifest's entry."""
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


def write_bundle(
    folder: Path,
    stages: Sequence[Stage],
    *,
    family: str,
    labels: Sequence[str],
    network_input: Mapping[str, Any],
    decode: Mapping[str, Any],
    max_batch: int,
) -> Path:
    """Writes a bundle into `folder`, which is created, and returns it.

    network_input: keys of the manifest's `input`; those that all test bundles share are added.
    """
    (folder / "stages").mkdir(parents=True, exist_ok=True)
    manifest = {
        "schema_version": 1,
        "model": folder.stem,
        "family": family,
        "labels": list(labels),
        "category_ids": list(range(1, len(labels) + 1)),
        "input": {"color": "rgb", "interpolation": "linear", "scale": 1 / 255, **network_input},
        "batch": {"min": 1, "opt": 1, "max": max_batch},
        "stages": [stage.write(folder) for stage in stages],
        "decode": dict(decode),
        "threshold": 0.5,
        "provenance": {"weights": "none: constants of a test"},
    }
    (folder / "manifest.yaml").write_text(yaml.safe_dump(manifest, sort_keys=False), encoding="utf-8")
    return folder
