"""What `instseg doctor` says about GPUs and the cache."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from instseg_rt import _core
from instseg_rt.cli import main


def plugin(name: str, error: str | None = None) -> dict[str, Any]:
    version = None if error else "10.13.3.9"
    return {"name": name, "path": f"/{name}.so", "available": error is None, "version": version, "error": error}


@pytest.fixture
def report(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    def make(*plugins: dict[str, Any]) -> dict[str, Any]:
        monkeypatch.setattr(_core, "backends", lambda: list(plugins))
        main(["doctor", "--json"])
        return json.loads(capsys.readouterr().out)

    return make


def test_no_plugin_for_a_gpu(report: Any) -> None:
    assert "TENSORRT_ROOT" in report(plugin("openvino"))["GPU"]["GPU backends"]


def test_a_gpu(report: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    device = {"name": "Tesla T4", "sm": 75, "memory_bytes": 15 << 30, "driver": "13.0", "runtime": "12.9"}
    monkeypatch.setattr(_core, "describe_device", lambda _name, _device: device)
    rows = report(plugin("openvino"), plugin("tensorrt"))["GPU"]
    assert rows["tensorrt on gpu:0"] == "Tesla T4, sm_75, 15.0 GiB, driver for CUDA 13.0, plug-in built with 12.9"
    assert list(rows) == ["NVIDIA driver", "tensorrt on gpu:0", "CUDA ops"]


def test_the_reason_why_a_gpu_cannot_be_used(report: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, device: str) -> None:
        raise _core.UnsupportedError(f"backend {name!r} cannot use device {device!r}: no NVIDIA driver is loaded")

    monkeypatch.setattr(_core, "describe_device", refuse)
    rows = report(plugin("tensorrt", "it needs libnvinfer.so.10"), plugin("tensorrt_rtx"))["GPU"]
    assert rows["tensorrt on gpu:0"] == "cannot be used: it needs libnvinfer.so.10"
    assert "no NVIDIA driver is loaded" in rows["tensorrt_rtx on gpu:0"]


def test_the_cuda_ops(report: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("INSTSEG_CUDA_LIBRARY", str(tmp_path / "libinstseg_cuda.so"))
    row = report(plugin("openvino"))["GPU"]["CUDA ops"]
    assert row.startswith("cannot be used, other work than networks is the CPU's: cannot load the CUDA ops from")
    assert str(tmp_path) in row
    monkeypatch.setattr(_core, "cuda_ops", lambda: {"path": "/ops.so", "available": True, "error": None})
    assert report(plugin("openvino"))["GPU"]["CUDA ops"] == "/ops.so"


def test_the_cache(report: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("INSTSEG_CACHE", str(tmp_path))
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "a.pdparams").write_bytes(bytes(2_500_000))
    rows = report(plugin("openvino"))["Cache"]
    assert rows["folder"].startswith(str(tmp_path))
    assert rows["weights"] == "1 files, 2.5 MB"
    assert rows["bundles"] == "0 files, 0.0 MB"
