"""PaddleX's program `main.py` and its modes, run as users run them, on two images of each part of a real data set."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pycocotools import mask as coco_mask

paddle = pytest.importorskip("paddle", reason="needs the [train] extra")

from instseg_rt import Predictor, default_bundle
from instseg_rt.cli import main, run_main_program
from instseg_rt.scenes.dataset import make_dataset
from instseg_trainer.commands import find_runnable
from instseg_trainer.config import Config, load_config
from instseg_trainer.engine.checkpoint import load_checkpoint
from instseg_trainer.engine.evaluate_subject import find_weights_in
from instseg_trainer.errors import ConfigError
from instseg_trainer.runtime import Devices, parse_devices
from instseg_trainer.weights import read_pdparams

REPOSITORY = Path(__file__).resolve().parents[2]
PATH_IN_PADDLEX = "paddlex/configs/instance_segmentation/PP-YOLOE_seg-N.yaml"
TINY = ["Recipe.image_size=[64, 64]", "Recipe.workers=0"]


def run_program(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`python main.py -c … arguments` in `folder`."""
    command = [sys.executable, str(REPOSITORY / "main.py"), "-c", PATH_IN_PADDLEX, *arguments]
    environment = os.environ | {"NO_COLOR": "1", "COLUMNS": "200"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def error_of(capsys: pytest.CaptureFixture[str], *overrides: str) -> str:
    """The one line that `main.py` ends with."""
    assert run_main_program(["-c", PATH_IN_PADDLEX, "-o", *overrides]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0].removeprefix("main.py: error: ")


@pytest.fixture(scope="module")
def fruits(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `data`: two images of the train part and two of the val part of fruits_nuts."""
    source = shared / "datasets" / "fruits_nuts"
    folder = tmp_path_factory.mktemp("fruits")
    (folder / "data" / "annotations").mkdir(parents=True)
    (folder / "data" / "images").symlink_to((source / "images").resolve())
    for part in ("train", "val"):
        name = f"annotations/instance_{part}.json"
        content = json.loads((source / name).read_text())
        content["images"] = content["images"][:2]
        kept = {image["id"] for image in content["images"]}
        content["annotations"] = [entry for entry in content["annotations"] if entry["image_id"] in kept]
        (folder / "data" / name).write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="module")
def trained(fruits: Path) -> Path:
    """The folder in which `main.py` has trained one epoch to `output`; keys given in both of PaddleX's ways."""
    settings = ["Train.epochs_iters=1", "Train.batch_size=2", *TINY]
    done = run_program(fruits, "-o", "Global.mode=train", "-o", "Global.dataset_dir=./data", "-o", *settings)
    assert done.returncode == 0, done.stderr
    return fruits


@pytest.mark.slow
def test_train_leaves_what_paddlex_does(trained: Path) -> None:
    output = trained / "output"
    result = json.loads((output / "train_result.json").read_text())
    assert (result["done_flag"], result["model_name"], result["visualdl_log"]) == (True, "PP-YOLOE_seg-N", None)
    for key in ("train_log", "config", "label_dict"):
        assert (output / result[key]).stat().st_size > 0
    assert load_config(str(output / result["config"])).Train.epochs_iters == 1
    models = result["models"]
    assert sorted(models) == ["best", "last_1", "last_2", "last_3", "last_4", "last_5"]
    assert models["last_2"] == {}
    for entry, name in ((models["best"], "best_model"), (models["last_1"], "epoch_1")):
        assert entry["score"] == result["best_ap"] >= 0
        files = {"inference_config": "inference.yml", "pdmodel": "inference.json", "pdiparams": "inference.pdiparams"}
        for key, file in files.items():
            assert entry[key] == f"{name}/inference/{file}"
            assert (output / entry[key]).stat().st_size > 0
        description = yaml.safe_load((output / entry["inference_config"]).read_text())
        assert description["label_list"] == ["date", "fig", "hazelnut"]
        graph = paddle.jit.load(str(output / name / "inference" / "inference"))
        sizes, image = paddle.full([1, 2], 64.0), paddle.zeros([1, 3, 64, 64])
        rows, count, masks = graph(sizes, image, paddle.ones([1, 2]))
        assert rows.shape[0] == masks.shape[0] == count.item()
        for suffix in ("pdparams", "pdema", "pdopt", "pdstates"):
            assert entry[suffix] == f"{name}/{name}.{suffix}"
            assert (output / entry[suffix]).read_bytes() == (output / f"epoch_1/epoch_1.{suffix}").read_bytes()
    assert not list(output.rglob("*.tmp"))


@pytest.mark.slow
def test_best_weights_are_the_averages_and_pdema_those_that_were_trained(trained: Path) -> None:
    """As PaddleX writes them; a checkpoint to resume from has the names the other way round."""
    best = json.loads((trained / "output" / "train_result.json").read_text())["models"]["best"]
    checkpoint = load_checkpoint(trained / "output")
    assert checkpoint.ema is not None
    for suffix, expected in (("pdparams", checkpoint.ema), ("pdema", checkpoint.model)):
        arrays = read_pdparams(trained / "output" / best[suffix])
        assert arrays.keys() == expected.keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(array, expected[name])
    assert any((checkpoint.ema[name] != array).any() for name, array in checkpoint.model.items())
    assert paddle.load(str(trained / "output" / best["pdstates"])) == {"metric": best["score"], "epoch": 1}
    optimizer = paddle.load(str(trained / "output" / best["pdopt"]))
    assert optimizer["last_epoch"] == 1
    assert len(optimizer) > len(checkpoint.model) / 2


@pytest.mark.slow
def test_train_leaves_the_bundle_of_the_best_weights(trained: Path) -> None:
    pytest.importorskip("paddle2onnx", reason="needs the [export] extra")
    result = json.loads((trained / "output" / "train_result.json").read_text())
    with Predictor(trained / "output" / result["models"]["best"]["bundle"]) as predictor:
        assert predictor.info.model == "PP-YOLOE_seg-N"
        assert list(predictor.info.labels) == ["date", "fig", "hazelnut"]
        manifest = yaml.safe_load((predictor.info.path / "manifest.yaml").read_text())
    assert (manifest["input"]["height"], manifest["input"]["width"]) == (64, 64)


@pytest.mark.slow
def test_evaluate_weights(trained: Path) -> None:
    done = run_program(trained, "-o", "Global.mode=evaluate", "Global.dataset_dir=data", "Global.output=eval", *TINY)
    assert done.returncode == 0, done.stderr
    result = json.loads((trained / "eval" / "evaluate_result.json").read_text())
    assert (result["done_flag"], result["images"]) == (True, 2)
    assert result["subject"] == "output/best_model/best_model.pdparams"
    assert result["metrics"] == {"AP": result["mask"]["ap"]}
    assert "mask: AP" in done.stdout


def test_evaluate_detections(fruits: Path, tmp_path: Path) -> None:
    """The annotations themselves, given as detections, are perfect."""
    content = json.loads((fruits / "data" / "annotations" / "instance_val.json").read_text())
    sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
    entries = []
    for entry in content["annotations"]:
        parts = coco_mask.frPyObjects(entry["segmentation"], *sizes[entry["image_id"]])
        rle = coco_mask.merge(parts)
        detection = {key: entry[key] for key in ("image_id", "category_id", "bbox")}
        entries.append({**detection, "score": 0.9, "segmentation": {**rle, "counts": rle["counts"].decode()}})
    (tmp_path / "detections.json").write_text(json.dumps(entries))
    metrics = evaluated(fruits / "data", tmp_path, tmp_path / "detections.json")
    assert (metrics["mask"]["ap"], metrics["box"]["ap"]) == (pytest.approx(1), pytest.approx(1))


@pytest.mark.slow
def test_evaluate_a_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_dataset(tmp_path / "scenes", 6, seed=5, height=320, width=320, val_fraction=0.5, workers=1)
    metrics = evaluated(tmp_path / "scenes", tmp_path, default_bundle(), "Evaluate.log_interval=2")
    assert metrics["metrics"]["AP"] == metrics["mask"]["ap"] > 0.3
    assert [line for line in capsys.readouterr().err.splitlines() if "evaluated" in line] == ["evaluated 2 of 3 images"]


@pytest.mark.parametrize(
    ("there", "given", "expected"),
    [
        ("output/best_model/best_model.pdparams", "output", "output/best_model/best_model.pdparams"),
        ("output/best_model/best_model.pdparams", "output/best_model", "output/best_model/best_model.pdparams"),
        ("output/epoch_1/epoch_1.pdparams", "output/epoch_1/epoch_1.pdparams", "output/epoch_1/epoch_1.pdparams"),
        ("bundle/manifest.yaml", "bundle", "bundle"),
        ("bundle/manifest.yaml", "official", "official"),
    ],
)
def test_where_evaluate_finds_weights(there: str, given: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / there).parent.mkdir(parents=True)
    (tmp_path / there).touch()
    assert find_weights_in(tmp_path / given) == tmp_path / expected


def evaluated(data: Path, output: Path, subject: Path, *overrides: str) -> dict[str, Any]:
    settings = [f"Global.dataset_dir={data}", f"Global.output={output}", f"Evaluate.weight_path={subject}", *overrides]
    assert main(["evaluate", "-c", "PP-YOLOE_seg-N", "-o", *settings]) == 0
    result = json.loads((output / "evaluate_result.json").read_text())
    assert isinstance(result, dict)
    return result


@pytest.mark.slow
def test_export_then_predict(trained: Path) -> None:
    pytest.importorskip("paddle2onnx", reason="needs the [export] extra")
    weights = "Export.weight_path=./output/best_model/best_model.pdparams"
    done = run_program(trained, "-o", "Global.mode=export", "-o", weights, "-o", "Global.output=exported")
    assert done.returncode == 0, done.stderr
    settings = ["Predict.model_dir=exported", "Predict.input=data/images/1.jpg", "Global.output=found"]
    done = run_program(trained, "-o", "Global.mode=predict", "-o", *settings)
    assert done.returncode == 0, done.stderr
    assert "exported/bundle" in done.stderr
    for file in ("inference.json", "inference.pdiparams", "inference.yml"):
        ours, trainings = (trained / folder / file for folder in ("exported", "output/best_model/inference"))
        # Of the same weights, at the size that they were trained at; the parameters' names count on.
        assert file == "inference.json" or ours.read_bytes() == trainings.read_bytes(), file
    assert sorted(path.name for path in (trained / "found").iterdir()) == ["1_res.jpg", "1_res.json"]


@pytest.mark.slow
def test_predict_takes_the_bundle_where_paddlex_has_its_inference_model(trained: Path) -> None:
    pytest.importorskip("paddle2onnx", reason="needs the [export] extra")
    settings = ["Predict.model_dir=./output/best_model/inference", "-o", "Predict.input=data/images/11.jpg"]
    done = run_program(trained, "-o", "Global.mode=predict", "-o", *settings)
    assert done.returncode == 0, done.stderr
    assert "output/best_model/inference: runs output/best_model/bundle" in done.stderr
    assert (trained / "output" / "11_res.json").is_file()


def test_predict_writes_what_it_finds(tmp_path: Path) -> None:
    make_dataset(tmp_path / "scenes", 2, seed=5, height=320, width=320, val_fraction=0.5, workers=1)
    settings = [f"Predict.input={tmp_path / 'scenes' / 'images'}", f"Predict.model_dir={default_bundle()}"]
    command = ["predict", "-c", "PP-YOLOE_seg-N", "-o", *settings, "-o", f"Global.output={tmp_path / 'found'}"]
    assert main([*command, "Predict.batch_size=2"]) == 0
    results = [json.loads(path.read_text()) for path in (tmp_path / "found").glob("*_res.json")]
    assert len(results) == 2
    assert all(box["score"] > 0.5 for result in results for box in result["boxes"])
    assert sum(len(result["boxes"]) for result in results) > 1


@pytest.mark.parametrize(
    ("there", "given", "expected"),
    [
        (["b/manifest.yaml"], "b", "b"),
        (["out/best_model/bundle/manifest.yaml", "out/bundle/manifest.yaml"], "out", "out/best_model/bundle"),
        (["out/best_model/best_model.pdparams", "out/bundle/manifest.yaml"], "out", "out"),
        (["out/bundle/manifest.yaml"], "out", "out/bundle"),
        (["best_model/bundle/manifest.yaml"], "best_model", "best_model/bundle"),
        (["best_model/bundle/manifest.yaml"], "best_model/inference", "best_model/bundle"),
        (["best_model/best_model.pdparams"], "best_model/inference", "best_model"),
        (["best_model/best_model.pdparams"], "best_model/bundle", "best_model"),
        (
            ["best_model/inference/inference.yml", "best_model/bundle/manifest.yaml"],
            "best_model/inference",
            "best_model/bundle",
        ),
        (["inference/inference.yml", "best_model.pdparams"], "inference", "inference"),
        (["bundle/manifest.yaml"], "other", "other"),
    ],
)
def test_what_model_dir_means(
    there: list[str], given: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in there:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    assert find_runnable(Path(given)) == Path(expected)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["Global.mode=training"], "Global.mode: expected check_dataset or train or evaluate or export or predict"),
        (["Global.mod=train"], "unknown key Global.mod; did you mean Global.mode?"),
        (["Train.batch_size=a"], "Train.batch_size: expected int, found 'a'"),
        (["Global.model=SOLO"], "unknown model 'SOLO'; did you mean SOLOv2?"),
        (["Global.mode=train"], "Global.dataset_dir: expected the data set's folder"),
        (["Global.mode=evaluate"], "Global.dataset_dir: expected the data set's folder"),
        (["Global.mode=train", "Global.device=npu:0"], "Global.device: expected cpu, gpu, gpu:0 or gpu:0,1"),
        (["Global.mode=train", "Global.device=gpu:0,1"], "python -m paddle.distributed.launch --devices 0,1 main.py"),
        (["Global.mode=export", "Global.device=gpu:a"], "Global.device: expected cpu, gpu, gpu:0 or gpu:0,1"),
        (["Global.mode=predict"], "Predict.input: expected an image, folder, pattern or address"),
        (
            ["Global.mode=predict", "Predict.input=a.png", "Predict.kernel_option.run_mode=trt_fp32"],
            "Predict.kernel_option.run_mode: trt_fp32: only paddle is taken here",
        ),
        (["Global.mode=predict", "Predict.input=a.png", "Predict.model_dir=nowhere"], "there is no such folder"),
        (["Global.mode=predict", "Predict.input=a.png", "Predict.batch_size=0"], "batch_size"),
    ],
)
def test_errors_are_one_line(overrides: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert message in error_of(capsys, *overrides)


def test_export_without_official_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("paddle2onnx", reason="needs the [export] extra")
    assert "no official weights" in error_of(capsys, "Global.mode=export", f"Global.output={tmp_path}")
    assert main(["export", "-c", "PP-YOLOE_seg-N", "-o", f"Global.output={tmp_path}"]) == 1
    assert "no official weights" in capsys.readouterr().err


def test_a_program_that_fails_says_so_in_one_line(tmp_path: Path) -> None:
    done = run_program(tmp_path, "-o", "Global.mode=predict")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].startswith("main.py: error: Predict.input")


def test_main_without_the_package() -> None:
    command = [sys.executable, "-I", "-S", str(REPOSITORY / "main.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "instseg_rt is not installed" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_check_dataset_is_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[Config] = []

    def find_problems(config: Config) -> int:
        checked.append(config)
        return 1

    monkeypatch.setattr("instseg_trainer.dataset_tools.check_dataset", find_problems)
    arguments = ["-c", PATH_IN_PADDLEX, "-o", "Global.mode=check_dataset", "-o", "Global.dataset_dir=fruits"]
    assert run_main_program(arguments) == 1
    assert [config.Global.dataset_dir for config in checked] == ["fruits"]


@pytest.mark.parametrize(
    ("text", "expected", "first"),
    [
        ("cpu", Devices("cpu"), "cpu"),
        ("gpu", Devices("gpu"), "gpu"),
        ("gpu:2", Devices("gpu", (2,)), "gpu:2"),
        ("gpu:3,1", Devices("gpu", (3, 1)), "gpu:3"),
    ],
)
def test_device_strings(text: str, expected: Devices, first: str) -> None:
    assert parse_devices(text) == expected
    assert parse_devices(text).first == first


@pytest.mark.parametrize("text", ["", "cpu:0", "gpu:", "gpu:0,", "gpu:0,0", "gpu:-1", "gpu:0:1", "cuda", "GPU 0"])
def test_wrong_device_strings(text: str) -> None:
    with pytest.raises(ConfigError, match=r"Global\.device: expected cpu, gpu, gpu:0 or gpu:0,1"):
        parse_devices(text)
