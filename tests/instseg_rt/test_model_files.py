"""What a model's name and folder mean."""

from __future__ import annotations

from pathlib import Path

import pytest

import instseg_rt as rt
from instseg_rt.converted import PaddleWeights
from instseg_rt.model_files import find_model_files

MODEL = "PP-YOLOE_seg-S"


def touch(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_files_of_a_bundle_and_of_trainings(tmp_path: Path, tiny_bundle: Path) -> None:
    assert find_model_files("tiny", tiny_bundle) == tiny_bundle
    assert find_model_files("PP-YOLOE_seg-N", None) == rt.default_bundle()
    assert find_model_files(MODEL, None) == PaddleWeights(MODEL)
    best = touch(tmp_path / "output/best_model/best_model.pdparams")
    description = touch(tmp_path / "output/best_model/inference/inference.yml")
    touch(tmp_path / "output/best_model/inference/inference.pdiparams")
    copy = touch(tmp_path / "output/best_model/best_model/model.pdparams")
    for folder in (best.parents[1], best.parent, best, description.parent):
        assert find_model_files(MODEL, folder) == PaddleWeights(MODEL, best)
        assert find_model_files(MODEL, str(folder)) == PaddleWeights(MODEL, best)
    assert find_model_files(MODEL, copy.parent) == PaddleWeights(MODEL, copy, description)
    plain = touch(tmp_path / "plain/model.pdparams")
    assert find_model_files(MODEL, plain.parent) == PaddleWeights(MODEL, plain)
    beside = touch(tmp_path / "plain/inference.yml")
    assert find_model_files(MODEL, plain.parent) == PaddleWeights(MODEL, plain, beside)


def test_an_inference_model_that_was_moved_within_its_training(tmp_path: Path) -> None:
    best = touch(tmp_path / "best_model.pdparams")
    description = touch(tmp_path / "exported/inference.yml")
    touch(tmp_path / "exported/inference.json")
    touch(tmp_path / "exported/inference.pdiparams")
    assert find_model_files(MODEL, tmp_path / "exported") == PaddleWeights(MODEL, best, description)


@pytest.mark.parametrize("name", ["inference.pdiparams", "inference.onnx"])
def test_an_inference_model_alone(tmp_path: Path, name: str) -> None:
    touch(tmp_path / "inference" / name)
    with pytest.raises(rt.UnsupportedError, match=r"cannot be mapped back to the layers .* exactly; give .*official"):
        find_model_files(MODEL, tmp_path / "inference")


def test_folders_with_nothing(tmp_path: Path) -> None:
    with pytest.raises(rt.InvalidArgumentError, match=r"expected a bundle \(manifest.yaml\) or trained weights"):
        find_model_files(MODEL, tmp_path)
    with pytest.raises(rt.IoError, match="there is no such folder"):
        find_model_files(MODEL, tmp_path / "none")
    with pytest.raises(rt.IoError, match="found another file"):
        find_model_files(MODEL, touch(tmp_path / "a.txt"))


def test_unknown_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(rt.InvalidArgumentError, match=r"unknown model 'PP-YOLO_seg-S'; did you mean PP-YOLOE_seg-S\?"):
        find_model_files("PP-YOLO_seg-S", None)
    with pytest.raises(rt.InvalidArgumentError, match="is a folder, which model_dir takes"):
        find_model_files(str(tmp_path), None)
    with pytest.raises(rt.InvalidArgumentError, match="model_name: expected a name, found 3"):
        find_model_files(3, None)  # type: ignore[arg-type]
    monkeypatch.chdir(tmp_path)
    (tmp_path / MODEL).mkdir()
    assert find_model_files(MODEL, None) == PaddleWeights(MODEL)
