"""The profile of the networks: what the layers of a stage take, by kind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

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


def test_layers_count_for_their_kind_and_as_often_as_they_run(tmp_path: Path) -> None:
    from network_profile import cells, profile_bundle

    file = tmp_path / "stage.onnx"
    write_graph(file)
    once = profile_bundle("M", [(file, {"x": (1, 8, 32, 32)})], "fp32", repeat=5)
    assert once.operations == {"convolutions": 2 * 16 * 30 * 30 * 8 * 9, "matrix products": 2 * 16 * 30 * 30 * 12}
    assert sum(once.kinds_ms.values()) == pytest.approx(once.networks_ms)
    assert sum(once.layers_ms.values()) == pytest.approx(once.networks_ms)
    assert all(name.startswith("stage: ") for name in once.layers_ms)
    assert any("conv" in name for name in once.layers_ms)
    runs = [(file, {"x": (2, 8, 32, 32)}), (file, {"x": (1, 8, 32, 32)}), (file, {"x": (2, 8, 32, 32)})]
    assert profile_bundle("M", runs, "fp32", repeat=1).operations["convolutions"] == 5 * 2 * 16 * 30 * 30 * 8 * 9
    row = cells(once)
    assert row[:2] == ("M", "fp32")
    assert len(row) == 8


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
