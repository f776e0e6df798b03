"""Parts of a bundle's manifest, and what is written into the stages' own metadata."""

from __future__ import annotations

import importlib.metadata
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import onnx

from instseg_rt.files import file_sha256
from instseg_trainer.input_spec import InputSpec

from .input_section import input_section
from .labels import Labels
from .paddle_to_onnx import tensor_shape

SCHEMA_VERSION = 1
DEFAULT_THRESHOLD = 0.5


def stage_entry(file: Path, graph: onnx.GraphProto) -> dict[str, Any]:
    """Of a stage in `stages/`, named as its file; graph: what the file holds."""

    def tensors(values: Any) -> list[dict[str, Any]]:
        return [{"name": v.name, "dtype": "float32", "shape": tensor_shape(v)} for v in values]

    return {
        "name": file.stem,
        "file": f"stages/{file.name}",
        "sha256": file_sha256(file),
        "inputs": tensors(graph.input),
        "outputs": tensors(graph.output),
    }


def provenance(weights: Path, opset: int, half_weights: bool) -> dict[str, Any]:
    return {
        "weights": weights.name,
        "weights_sha256": file_sha256(weights),
        "tools": tool_versions(opset),
        "weights_stored_as": "float16" if half_weights else "float32",
        "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def tool_versions(opset: int) -> dict[str, Any]:
    packages = ("instseg-rt", "paddlepaddle", "paddle2onnx", "onnx", "onnxslim", "onnxruntime")
    return {**{name: _version(name) for name in packages}, "opset": opset}


def add_metadata(graph: onnx.ModelProto, model: str, labels: Labels, spec: InputSpec) -> None:
    """What readers of a lone ONNX file look for: our own key, and the keys that Ultralytics' readers know."""
    names = dict(enumerate(labels.names))
    values = {
        "instseg": json.dumps(
            {"schema": SCHEMA_VERSION, "model": model, "input": input_section(spec), "labels": labels.names}
        ),
        "names": repr(names),
        "imgsz": repr([spec.height, spec.width]),
        "task": "segment",
    }
    del graph.metadata_props[:]
    for key, value in values.items():
        graph.metadata_props.add(key=key, value=value)
    graph.producer_name, graph.producer_version = "instseg-export", _version("instseg-rt")


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed as a package"
