"""`instseg doctor`: what it says of this installation, and of others."""

from __future__ import annotations

import importlib.metadata
import json

import numpy as np
import pytest

from instseg_rt import _core

from .conftest import Run


def test_doctor(run: Run) -> None:
    code, out, _ = run("doctor")
    assert code == 0
    for text in (
        "Python",
        "numpy",
        "backend openvino",
        "backend onnxruntime",
        "bundles can be run here",
        "Result.to_supervision",
    ):
        assert text in out
    report = json.loads(run("doctor", "--json")[1])
    assert report["usable"] is True
    extras = importlib.metadata.metadata("instseg-rt").get_all("Provides-Extra") or []
    assert {*extras} - {"dev"} <= {*report["Optional"]}
    assert report["Packages"]["numpy"] == np.__version__


@pytest.mark.parametrize(
    ("wishes", "runtime", "expected"),
    [
        ({}, "avx512", "the plug-in's own, with avx512"),
        ({}, "avx512 amx", "the plug-in's own, with avx512 and amx"),
        ({"INSTSEG_WINOGRAD": "1"}, "avx2", "the plug-in's own, with avx2 (INSTSEG_WINOGRAD=1)"),
        ({"INSTSEG_AMX": "0"}, "avx512 amx", "the plug-in's own, with avx512 (INSTSEG_AMX=0)"),
        ({"INSTSEG_WINOGRAD": "0"}, "avx512 amx", "OpenVINO's own (INSTSEG_WINOGRAD=0)"),
        ({}, "", "OpenVINO's own: this processor has neither AVX2 nor AVX-512"),
        (
            {"INSTSEG_WINOGRAD": "off"},
            "avx2",
            "cannot be run: the environment variable INSTSEG_WINOGRAD is 'off', expected 0 or 1",
        ),
        (
            {"INSTSEG_QUERIES": "2"},
            "avx2",
            "cannot be run: the environment variable INSTSEG_QUERIES is '2', expected 0 or 1",
        ),
        ({"INSTSEG_AMX": ""}, "avx2", "cannot be run: the environment variable INSTSEG_AMX is '', expected 0 or 1"),
    ],
)
def test_doctor_on_convolutions(
    run: Run, monkeypatch: pytest.MonkeyPatch, wishes: dict[str, str], runtime: str, expected: str
) -> None:
    for name in ("INSTSEG_WINOGRAD", "INSTSEG_AMX", "INSTSEG_QUERIES"):
        monkeypatch.delenv(name, raising=False)
    for name, wish in wishes.items():
        monkeypatch.setenv(name, wish)
    monkeypatch.setattr("instseg_rt._core.describe_device", lambda _name, _device: {"runtime": runtime})
    report = json.loads(run("doctor", "--json")[1])
    assert report["Runtime"]["convolutions in fp32"] == expected


def test_doctor_asks_the_plugin_for_its_instructions(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("INSTSEG_WINOGRAD", "INSTSEG_AMX", "INSTSEG_QUERIES"):
        monkeypatch.delenv(name, raising=False)
    row = json.loads(run("doctor", "--json")[1])["Runtime"]["convolutions in fp32"]
    described = _core.describe_device("openvino", "cpu")
    assert described["name"]
    assert (described["sm"], described["memory_bytes"], described["driver"]) == (0, 0, "")
    assert described["runtime"] in ("avx512 amx", "avx512", "avx2", "")
    named = described["runtime"].replace(" ", " and ")
    assert row.endswith(f"with {named}" if named else "neither AVX2 nor AVX-512")


def test_doctor_without_backends(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = {
        "name": "openvino",
        "path": "/x.so",
        "available": False,
        "version": None,
        "error": "libopenvino.so missing",
    }
    monkeypatch.setattr("instseg_rt._core.backends", lambda: [broken])
    monkeypatch.setattr("instseg_rt.backend._prepared", set())
    code, out, _ = run("doctor")
    assert code == 1
    assert "cannot be used: libopenvino.so missing" in out
    assert "bundles can be run here with --backend onnxruntime only" in out
    monkeypatch.setattr("instseg_rt.backend.onnxruntime.installed_version", lambda: None)
    code, out, _ = run("doctor")
    assert code == 1
    assert "cannot be used: not installed: pip install 'instseg-rt[onnxruntime]' (in Python" in out
    assert "bundles cannot be run here" in out
