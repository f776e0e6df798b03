"""From data to predictions through `main.py`: PaddleX's tutorial, command by command, on real photos."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

paddle = pytest.importorskip("paddle", reason="needs the [train] extra")
pytest.importorskip("paddle2onnx", reason="needs the [export] extra")

from instseg_rt import Predictor
from tests.long_tests import on_request, with_long_ones

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIG = "paddlex/configs/instance_segmentation/{}.yaml"
IMAGES = 2
SIZES = {"PP-YOLOE_seg-N": [64, 64], "Mask-RT-DETR-S": [128, 128]}
"""Of the network's input; the others keep the ratio."""
KEEP_RATIO = [96, 160]


def main_py(folder: Path, model: str, mode: str, *settings: str) -> str:
    """`python main.py -c CONFIG -o Global.mode=MODE -o SETTING …` in `folder`; its output."""
    command = [sys.executable, str(REPOSITORY / "main.py"), "-c", CONFIG.format(model), "-o", f"Global.mode={mode}"]
    for setting in settings:
        command += ["-o", setting]
    environment = os.environ | {"NO_COLOR": "1", "COLUMNS": "200"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def fewer_images(dataset: Path) -> None:
    """Leaves the first images of each part."""
    for part in ("train", "val"):
        file = dataset / "annotations" / f"instance_{part}.json"
        content = json.loads(file.read_text())
        content["images"] = content["images"][:IMAGES]
        kept = {image["id"] for image in content["images"]}
        content["annotations"] = [entry for entry in content["annotations"] if entry["image_id"] in kept]
        file.write_text(json.dumps(content))


def small_settings(model: str) -> list[str]:
    size = SIZES.get(model, KEEP_RATIO)
    resize = {"Resize": {"target_size": size, "keep_ratio": model not in SIZES}}
    return [
        f"Recipe.image_size={size}",
        f"Recipe.augmentation={json.dumps([resize])}",
        "Recipe.workers=1",
        "Train.epochs_iters=2",
        "Train.batch_size=2",
        "Train.warmup_steps=10",
        "Train.learning_rate=0.0001",
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    "model", with_long_ones(["PP-YOLOE_seg-N"], ["Mask-RT-DETR-S", "SOLOv2", "MaskRCNN-ResNet50-FPN"])
)
def test_train_evaluate_export_predict(model: str, shared: Path, tmp_path: Path) -> None:
    shutil.copytree(shared / "datasets" / "fruits_nuts", tmp_path / "dataset" / "fruits", copy_function=shutil.copyfile)
    dataset = tmp_path / "dataset" / "fruits"
    for folder in (dataset, dataset / "annotations"):
        folder.chmod(0o755)
    fewer_images(dataset)
    data, size = "Global.dataset_dir=./dataset/fruits", f"Recipe.image_size={SIZES.get(model, KEEP_RATIO)}"
    output = tmp_path / "output"

    assert "Check dataset passed !" in main_py(tmp_path, model, "check_dataset", data)
    main_py(tmp_path, model, "train", data, *small_settings(model))
    result = json.loads((output / "train_result.json").read_text())
    assert (result["done_flag"], result["best_epoch"] in (1, 2)) == (True, True)
    for key in ("train_log", "config", "label_dict"):
        assert (output / result[key]).stat().st_size > 0
    assert (output / "curves.png").stat().st_size > 0
    assert result["models"]["last_3"] == {}
    for entry in ("best", "last_1", "last_2"):
        files = result["models"][entry]
        for key in ("pdparams", "pdopt", "pdstates", "inference_config", "pdmodel", "pdiparams"):
            assert (output / files[key]).stat().st_size > 0, (entry, key)
        paddle.jit.load(str(output / Path(files["pdmodel"]).with_suffix("")))
        assert paddle.load(str(output / files["pdstates"]))["metric"] == files["score"]
    with Predictor(output / result["models"]["best"]["bundle"]) as predictor:
        assert list(predictor.info.labels) == ["date", "fig", "hazelnut"]

    main_py(tmp_path, model, "evaluate", data, size)
    evaluated = json.loads((output / "evaluate_result.json").read_text())
    assert evaluated["done_flag"] is True
    assert evaluated["metrics"]["AP"] == pytest.approx(result["best_ap"], abs=1e-4)

    weights = "Export.weight_path=./output/best_model/best_model.pdparams"
    main_py(tmp_path, model, "export", weights, "Global.output=./exported")
    exported = {path.name for path in (tmp_path / "exported").iterdir()}
    assert exported == {"inference.json", "inference.pdiparams", "inference.yml", "bundle"}

    photo = "Predict.input=./dataset/fruits/images/1.jpg"
    main_py(tmp_path, model, "predict", "Predict.model_dir=./output/best_model/inference", photo)
    main_py(tmp_path, model, "predict", "Predict.model_dir=./exported", photo, "Global.output=./found")
    first, second = (json.loads((tmp_path / name / "1_res.json").read_text()) for name in ("output", "found"))
    assert first["boxes"] == second["boxes"]
    assert (tmp_path / "found" / "1_res.jpg").stat().st_size > 0


@on_request
def test_tutorial_from_labelme(shared: Path, tmp_path: Path) -> None:
    """Conversion and division as the tutorial has them, then a training."""
    dataset = tmp_path / "dataset" / "labelme"
    shutil.copytree(shared / "datasets" / "fruits_nuts_labelme", dataset, copy_function=shutil.copyfile)
    dataset.chmod(0o755)
    data, model = "Global.dataset_dir=./dataset/labelme", "PP-YOLOE_seg-N"
    convert = ("CheckDataset.convert.enable=True", "CheckDataset.convert.src_dataset_type=LabelMe")
    assert "Check dataset passed !" in main_py(tmp_path, model, "check_dataset", data, *convert)
    split = (
        "CheckDataset.split.enable=True",
        "CheckDataset.split.train_percent=90",
        "CheckDataset.split.val_percent=10",
    )
    assert "Check dataset passed !" in main_py(tmp_path, model, "check_dataset", data, *split)
    checked = json.loads((tmp_path / "output" / "check_dataset_result.json").read_text())
    assert checked["check_pass"] is True
    samples = {part: checked["attributes"][f"{part}_samples"] for part in ("train", "val")}
    assert samples == {"train": 16, "val": 2}
    for path in checked["attributes"]["train_sample_paths"]:
        assert (tmp_path / "output" / path).stat().st_size > 0
    main_py(tmp_path, model, "train", data, *small_settings(model))
    main_py(tmp_path, model, "evaluate", data, "Recipe.image_size=[64, 64]")
    main_py(
        tmp_path,
        model,
        "predict",
        "Predict.model_dir=./output/best_model/inference",
        "Predict.input=./dataset/labelme/1.jpg",
    )
    assert (tmp_path / "output" / "1_res.json").is_file()
