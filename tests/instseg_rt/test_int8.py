"""Running INT8 stages: what the runtime takes, and what it says of those that it cannot use."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import instseg_rt as rt
from instseg_rt import _core
from instseg_rt.cli import main

from ..int8_stage import add_int8_stage


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle, tmp_path / "my.bundle"))


def test_results_come_from_the_int8_stage(bundle: Path, colored_image: np.ndarray) -> None:
    add_int8_stage(bundle)
    with rt.Predictor(bundle) as exact, rt.Predictor(bundle, precision="int8") as rounded:
        assert rounded.precision == "int8"
        expected, found = exact(colored_image), rounded(colored_image)
        np.testing.assert_array_equal(found.class_ids, expected.class_ids)
        np.testing.assert_allclose(found.scores, expected.scores, atol=0.05)
        assert len(expected) and (found.scores != expected.scores).any()
        batch = list(rounded.predict([colored_image] * 3, 3))
        assert len(batch) == 3
        for result in batch:
            np.testing.assert_allclose(result.scores, found.scores, atol=1e-6)


def test_float32_does_not_look_at_it(bundle: Path, colored_image: np.ndarray) -> None:
    file = add_int8_stage(bundle)
    file.unlink()
    with rt.Predictor(bundle) as predictor:
        assert len(predictor(colored_image))


def test_a_bundle_without_says_how_to_make_one(bundle: Path) -> None:
    with pytest.raises(rt.UnsupportedError) as caught:
        rt.Predictor(bundle, precision="int8")
    text = str(caught.value)
    assert f"`instseg-export {bundle.resolve()} --precision int8 --calibration FOLDER`" in text
    assert "no INT8 form of stage 'model'" in text
    assert "\n" not in text


@pytest.mark.parametrize("suffix", [".xml", ".bin"])
def test_damaged_and_missing_files(bundle: Path, suffix: str) -> None:
    file = add_int8_stage(bundle).with_suffix(suffix)
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    with pytest.raises(rt.BadBundleError, match=rf"{file.name}: the file is damaged or was changed: .* make it again"):
        rt.Predictor(bundle, precision="int8")
    file.unlink()
    with pytest.raises(rt.BadBundleError, match=rf"{file.name}: the manifest names this file, but it is missing"):
        rt.Predictor(bundle, precision="int8")


def test_a_stage_that_was_exported_anew(bundle: Path) -> None:
    add_int8_stage(bundle, source_sha256="0" * 64)
    with pytest.raises(rt.BadBundleError, match="made from another graph than the bundle's stage 'model'"):
        rt.Predictor(bundle, precision="int8")


def test_weights_that_openvino_would_not_find(bundle: Path) -> None:
    add_int8_stage(bundle, weights_file="stages/other.bin")
    with pytest.raises(rt.BadBundleError, match=r"typed\[0\]\.weights_file.*suffix \.bin"):
        rt.Predictor(bundle)


def test_a_graph_that_is_not_quantised(bundle: Path) -> None:
    (stage,) = _core.load_bundle(bundle).stages
    changes = {"file": "stages/model.onnx", "sha256": stage.sha256}
    weights = {"weights_file": "stages/model.bin", "weights_sha256": stage.sha256}
    shutil.copyfile(stage.file, bundle / "stages" / "model.bin")
    add_int8_stage(bundle, **changes, **weights)
    with pytest.raises(rt.BadBundleError, match="not quantised"):
        rt.Predictor(bundle, precision="int8")


def test_onnxruntime_cannot(bundle: Path) -> None:
    pytest.importorskip("onnxruntime", reason="needs the [onnxruntime] extra")
    add_int8_stage(bundle)
    with pytest.raises(rt.UnsupportedError, match=r"'int8': INT8 stages are in OpenVINO's format.*backend='openvino'"):
        rt.Predictor(bundle, backend="onnxruntime", precision="int8")


def test_inspect_shows_it(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = add_int8_stage(bundle)
    (typed,) = _core.load_bundle(bundle).stages[0].typed
    assert (typed.precision, typed.file, typed.weights_file) == (
        "int8",
        file.resolve(),
        file.resolve().with_suffix(".bin"),
    )
    assert main(["inspect", str(bundle)]) == 0
    assert "int8  stages/model.int8.xml" in capsys.readouterr().out
    file.with_suffix(".bin").unlink()
    assert main(["inspect", str(bundle), "--json"]) == 0
    (shown,) = json.loads(capsys.readouterr().out)["stages"][0]["typed"]
    assert shown["problem"] == "model.int8.bin is missing"
