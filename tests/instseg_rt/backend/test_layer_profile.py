"""INSTSEG_OPENVINO_PROFILE: what the layers of the networks that a predictor really runs take."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import instseg_rt as rt
from instseg_rt.scenes import render_scene

_VARIABLE = "INSTSEG_OPENVINO_PROFILE"
_CALLS = 4


def _profile(folder: Path, batch: int = 1) -> dict[str, Any]:
    image = render_scene(5).image[..., ::-1].copy()
    with rt.Predictor(rt.default_bundle(), precision="fp32") as predictor:
        for _ in range(_CALLS):
            list(predictor.predict([image] * batch, batch_size=batch))
        assert not list(folder.iterdir()), "written before the predictor ends"
    (file,) = folder.iterdir()
    assert (file.name.split("-")[0], file.suffix) == ("model", ".json")
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def test_layers_of_a_predictor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(_VARIABLE, str(tmp_path))
    monkeypatch.setenv("INSTSEG_WINOGRAD", "0")
    found = _profile(tmp_path)
    assert Path(found["file"]).is_file()
    assert (found["precision"], found["calls"], found["first_calls"]) == ("fp32", _CALLS - 1, 1)
    assert {layer["calls"] for layer in found["layers"]} == {_CALLS - 1}
    times = [layer["microseconds"] for layer in found["layers"]]
    assert times == sorted(times, reverse=True)
    assert times[-1] > 0
    types = {layer["type"] for layer in found["layers"]}
    assert "Convolution" in types
    assert "Reference" not in types
    assert all(layer["name"] and layer["implementation"] for layer in found["layers"])


def test_our_convolutions_have_their_own_type(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(_VARIABLE, str(tmp_path))
    flags = Path("/proc/cpuinfo")
    if not flags.is_file() or " avx2 " not in flags.read_text(encoding="utf-8"):
        pytest.skip("this processor has neither AVX2 nor AVX-512")
    assert "WinogradConvolution" in {layer["type"] for layer in _profile(tmp_path)["layers"]}


def test_images_of_a_batch_count_one_by_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(_VARIABLE, str(tmp_path))
    found = _profile(tmp_path, batch=3)
    assert found["calls"] + found["first_calls"] == 3 * _CALLS
    assert found["first_calls"] >= 1  # as many as networks were used


def test_a_folder_that_is_none_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(_VARIABLE, str(tmp_path / "absent"))
    with pytest.raises(rt.InvalidArgumentError) as caught:
        rt.Predictor(rt.default_bundle())
    message = str(caught.value)
    assert f"{_VARIABLE} is '{tmp_path / 'absent'}', expected a folder that can be written to" in message
    assert "\n" not in message
