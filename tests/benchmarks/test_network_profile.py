"""The profile of the networks: what the layers that a predictor runs take, by kind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from ..tiny_bundle import write_tiny_bundle
from .conftest import BENCHMARKS


def write_graph(file: Path) -> None:
    """A convolution of 8 to 16 channels, and a product of its output with a matrix."""
    generator = np.random.default_rng(0)
    constants = {
        "w": generator.standard_normal((16, 8, 3, 3)).astype(np.float32),
        "m": generator.standard_normal((30, 12)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["y"], name="conv"),
        helper.make_node("MatMul", ["y", "m"], ["z"], name="product"),
    ]
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 8, 32, 32])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)],
        initializer=[onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), file)


def test_operations_count_as_often_as_they_run(tmp_path: Path) -> None:
    from network_profile import count_operations

    file = tmp_path / "stage.onnx"
    write_graph(file)
    once = {"convolutions": 2 * 16 * 30 * 30 * 8 * 9, "matrix products": 2 * 16 * 30 * 30 * 12}
    assert count_operations([(file, {"x": (1, 8, 32, 32)})]) == once
    runs = [(file, {"x": (2, 8, 32, 32)}), (file, {"x": (1, 8, 32, 32)}), (file, {"x": (2, 8, 32, 32)})]
    assert count_operations(runs) == {kind: 5 * operations for kind, operations in once.items()}


@pytest.mark.parametrize(
    ("layer_type", "expected"),
    [
        ("Convolution", "convolutions"),
        ("GroupConvolutionBackpropData", "convolutions"),
        ("WinogradConvolution", "convolutions"),
        ("FullyConnected", "matrix products"),
        ("SplitConvolution", "convolutions"),
        ("SplitProduct", "matrix products"),
        ("MaskExtents", "matrix products"),
        ("Subgraph", "fused"),
        ("Softmax", "rest"),
    ],
)
def test_kinds(layer_type: str, expected: str) -> None:
    from network_profile import kind

    assert kind(layer_type) == expected


def stage(name: str, calls: int, first_calls: int, **layers: int) -> dict[str, Any]:
    """As the plug-in writes it. layers: microseconds by type."""
    described = [
        {"name": "l", "type": layer, "implementation": "i", "calls": calls, "microseconds": microseconds}
        for layer, microseconds in layers.items()
    ]
    content = {"file": f"/b/{name}.onnx", "precision": "fp32", "calls": calls, "first_calls": first_calls}
    return {**content, "layers": described}


def test_times_are_for_one_image() -> None:
    from network_profile import cells, make_profile

    stages = [
        stage("features", 4, 1, WinogradConvolution=8000, Reorder=2000),
        stage("head", 14, 1, FullyConnected=14000),  # three times for an image
        stage("masks", 0, 0),
    ]
    operations = {"convolutions": 4_000_000, "matrix products": 1}
    found = make_profile("M", "fp32", stages, 5, operations)
    assert found.kinds_ms == pytest.approx({"convolutions": 2.0, "matrix products": 3.0, "fused": 0.0, "rest": 0.5})
    assert found.networks_ms == pytest.approx(5.5)
    assert found.layers_ms["head: l (FullyConnected, i)"] == pytest.approx(3.0)
    assert cells(found) == ("M", "fp32", "6", "2 ms, 36%", "2", "3 ms, 55%", "0 ms, 0%", "0 ms, 9%")


def profile(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCHMARKS / "network_profile.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_table_and_report(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="records shapes with ONNX Runtime: needs the [export] extra")
    write_tiny_bundle(tmp_path / "bundles" / "PP-YOLOE_seg-N.bundle")
    photo = tmp_path / "photo.png"
    cv2.imwrite(str(photo), np.zeros((64, 64, 3), np.uint8))
    report, table = tmp_path / "report.json", tmp_path / "table.md"
    options = ("--image", photo, "--layers", 3, "--repeat", 2, "--report", report, "--markdown", table)
    done = profile(tmp_path / "bundles", *options)
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(report.read_text(encoding="utf-8"))["results"]
    assert found["networks_ms"] > 0
    assert sum(found["kinds_ms"].values()) == pytest.approx(found["networks_ms"])
    assert len(table.read_text(encoding="utf-8").splitlines()) == 3
    done = profile(tmp_path / "bundles", "--image", photo, "--only", "SOLOv2", "--report", report)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "no bundle of SOLOv2" in done.stderr
