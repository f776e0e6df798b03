"""What the layers of the OpenVINO plug-in's networks take, on request of an environment variable."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import instseg_rt as rt

_VARIABLE = "INSTSEG_OPENVINO_PROFILE"


def test_one_file_of_a_stage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(_VARIABLE, str(tmp_path))
    with rt.Predictor(rt.default_bundle(), precision="fp32") as predictor:
        for _ in range(3):
            predictor(np.zeros((32, 48, 3), np.uint8))
    (file,) = tmp_path.iterdir()
    profile = json.loads(file.read_text(encoding="utf-8"))
    assert file.name.startswith(Path(profile["stage"]).stem + "-")
    assert (profile["precision"], profile["runs"]) == ("fp32", 3)
    assert all(len(layer["microseconds"]) == 3 for layer in profile["layers"])
    types = {layer["type"] for layer in profile["layers"]}
    assert "Convolution" in types
    assert "Reference" not in types, "an operation of ours without its name"
    assert sum(sum(layer["microseconds"]) for layer in profile["layers"]) > 0


def test_a_folder_that_is_none_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(_VARIABLE, str(tmp_path / "none"))
    with pytest.raises(rt.InvalidArgumentError, match=rf"{_VARIABLE} is '.*none', which is no folder"):
        rt.Predictor(rt.default_bundle(), precision="fp32")
