"""The folders that trainings leave, ours and PaddleX's."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from instseg_export.coco_labels import COCO_CATEGORY_IDS, COCO_LABELS
from instseg_export.errors import ExportError
from instseg_export.trained import TrainedWeights, find_trained, read_inference

INFERENCE = {
    "mode": "paddle",
    "arch": "YOLO",
    "Global": {"model_name": "PP-YOLOE_seg-S"},
    "Preprocess": [
        {"type": "Resize", "interp": 2, "keep_ratio": False, "target_size": [480, 640]},
        {"type": "NormalizeImage", "mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0], "norm_type": "none"},
        {"type": "Permute"},
    ],
    "label_list": ["apple", "pear"],
}


def touch(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_our_training(tmp_path: Path) -> None:
    best = touch(tmp_path / "best_model" / "best_model.pdparams")
    config = touch(tmp_path / "config.yaml", "Global:\n  model: PP-YOLOE_seg-S\nRecipe: {}\n")
    categories = touch(tmp_path / "categories.json")
    for path in (tmp_path, tmp_path / "best_model", best):
        assert find_trained(path) == TrainedWeights(best, config, categories)


def test_a_training_of_paddlex(tmp_path: Path) -> None:
    best = touch(tmp_path / "best_model" / "best_model.pdparams")
    # PaddleX saves the best weights a second time, in a folder inside.
    touch(tmp_path / "best_model" / "best_model" / "model.pdparams")
    inference = touch(tmp_path / "best_model" / "inference" / "inference.yml", yaml.safe_dump(INFERENCE))
    touch(tmp_path / "config.yaml", "architecture: PPYOLOE\nTrainDataset: !COCODataSet {dataset_dir: x}\n")
    for path in (tmp_path, tmp_path / "best_model", best):
        assert find_trained(path) == TrainedWeights(best, inference=inference)


def test_best_weights_without_a_folder_of_their_own(tmp_path: Path) -> None:
    touch(tmp_path / "config.yaml", "Recipe:\n")  # of something else
    best = touch(tmp_path / "output" / "best_model.pdparams")
    touch(tmp_path / "output" / "best_model" / "model.pdparams")
    assert find_trained(tmp_path / "output") == find_trained(best) == TrainedWeights(best)


def test_relative_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "best_model" / "best_model.pdparams")
    categories = touch(tmp_path / "categories.json")
    monkeypatch.chdir(tmp_path / "best_model")
    found = find_trained(Path("best_model.pdparams"))
    assert found == TrainedWeights(Path("best_model.pdparams"), categories=categories)


def test_a_folder_without_best_weights(tmp_path: Path) -> None:
    touch(tmp_path / "model_final" / "model_final.pdparams")
    with pytest.raises(ExportError, match=r"without best_model/best_model\.pdparams"):
        find_trained(tmp_path)


def test_labels_and_size_of_an_inference_file(tmp_path: Path) -> None:
    path = touch(tmp_path / "inference.yml", yaml.safe_dump(INFERENCE))
    labels, size = read_inference(path, "PP-YOLOE_seg-S")
    assert (labels.names, labels.category_ids) == (("apple", "pear"), (1, 2))
    assert size == (480, 640)
    with pytest.raises(ExportError, match="the weights are of PP-YOLOE_seg-S, not of SOLOv2"):
        read_inference(path, "SOLOv2")


def test_cocos_labels_get_cocos_ids(tmp_path: Path) -> None:
    path = touch(tmp_path / "inference.yml", yaml.safe_dump({"label_list": list(COCO_LABELS)}))
    labels, size = read_inference(path, "PP-YOLOE_seg-S")
    assert (labels.names, labels.category_ids, size) == (COCO_LABELS, COCO_CATEGORY_IDS, None)


def test_size_is_of_the_resize_that_the_model_has(tmp_path: Path) -> None:
    steps = [{"type": "Resize", "keep_ratio": True, "target_size": [400, 666]}]
    path = touch(tmp_path / "inference.yml", yaml.safe_dump({"label_list": ["a"], "Preprocess": steps}))
    assert read_inference(path, "SOLOv2")[1] == (400, 666)
    assert read_inference(path, "PP-YOLOE_seg-S")[1] is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("label_list: []", "label_list: expected names"),
        ("- 1", "expected keys and values, found list"),
        ("a: !!python/object:os.system {}", "not valid YAML"),
        ("label_list: [a]\nPreprocess: [Resize]", "Preprocess: expected steps"),
        (
            "label_list: [a]\nPreprocess: [{type: Resize, keep_ratio: false, target_size: 640}]",
            "Preprocess: expected steps",
        ),
    ],
)
def test_inference_files_that_are_none(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ExportError, match=message):
        read_inference(touch(tmp_path / "inference.yml", text), "PP-YOLOE_seg-S")
