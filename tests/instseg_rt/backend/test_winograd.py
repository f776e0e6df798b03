"""3x3 convolutions by Winograd's method in the OpenVINO plug-in, and the switch that turns them off."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import instseg_rt as rt
from instseg_rt.scenes import render_scene

_VARIABLE = "INSTSEG_WINOGRAD"


def _predict(image: np.ndarray) -> rt.Result:
    with rt.Predictor(rt.default_bundle(), precision="fp32", threshold=0.05) as predictor:
        return predictor(image)


def _has_avx2() -> bool:
    try:
        return " avx2 " in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False


def test_finds_what_openvino_finds_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    image = render_scene(5).image[..., ::-1].copy()
    monkeypatch.setenv(_VARIABLE, "0")
    alone = _predict(image)
    monkeypatch.setenv(_VARIABLE, "1")
    found = _predict(image)
    monkeypatch.delenv(_VARIABLE)
    by_default = _predict(image)

    assert len(alone) > 3
    np.testing.assert_array_equal(found.class_ids, alone.class_ids)
    np.testing.assert_allclose(found.scores, alone.scores, atol=1e-4)
    np.testing.assert_allclose(found.boxes, alone.boxes, atol=0.02)
    assert (found.masks != alone.masks).mean() < 1e-4
    np.testing.assert_array_equal(by_default.scores, found.scores)
    if _has_avx2():
        assert (found.scores != alone.scores).any(), "the same sums: the switch changes nothing"


@pytest.mark.parametrize("variable", [_VARIABLE, "INSTSEG_AMX", "INSTSEG_QUERIES"])
@pytest.mark.parametrize("wish", ["", "off", "2"])
def test_a_wish_that_is_not_understood_is_an_error(monkeypatch: pytest.MonkeyPatch, variable: str, wish: str) -> None:
    monkeypatch.setenv(variable, wish)
    with pytest.raises(rt.InvalidArgumentError, match=rf"{variable} is '{wish}', expected 0 or 1"):
        rt.Predictor(rt.default_bundle(), precision="fp32")
