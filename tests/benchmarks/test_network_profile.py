"""The profile of the networks: what the layers of a stage take, by kind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from ..tiny_bundle import write_tiny_bundle
from .conftest import BENCHMARKS


def stage(microseconds: dict[str, list[int]], runs: int) -> dict[str, object]:
    layers = [
        {"name": name, "type": name, "implementation": "jit", "microseconds": samples}
        for name, samples in microseconds.items()
    ]
    return {"stage": "/bundle/stages/head.onnx", "precision": "fp32", "runs": runs, "layers": layers}


def test_runs_of_a_call_count_together_and_the_first_call_not() -> None:
    from network_profile import Profile, _add_stage, cells

    profile = Profile("M", "fp32", operations={"convolutions": 6_000_000, "matrix products": 0})
    times = {
        "SplitConvolution": [900, 900, 1000, 2000, 1500, 3500, 500, 1500],
        "SplitProduct": [9, 9, 100, 200, 100, 200, 100, 200],
        "Subgraph": [9, 9, 40, 10, 40, 10, 40, 10],
        "Reorder": [9, 9, 0, 50, 0, 50, 0, 50],
        "Result": [0] * 8,
    }
    _add_stage(profile, stage(times, runs=8), repeat=3)
    expected = {"convolutions": 3.0, "matrix products": 0.3, "fused": 0.05, "rest": 0.05}
    assert profile.kinds_ms == pytest.approx(expected)
    assert profile.networks_ms == pytest.approx(3.4)
    assert profile.layers_ms["head: SplitConvolution (SplitConvolution, jit)"] == pytest.approx(3.0)
    assert len(profile.layers_ms) == 4
    assert cells(profile) == ("M", "fp32", "3", "3 ms, 88%", "2", "0 ms, 9%", "0 ms, 1%", "0 ms, 1%")
    _add_stage(profile, stage({"Convolution": []}, runs=0), repeat=3)  # of a head that had nothing to do
    assert profile.networks_ms == pytest.approx(3.4)


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
