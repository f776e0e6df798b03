"""The command `instseg`, run as users run it: exit codes, output, files."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from instseg_rt import cli, embedded
from instseg_rt.cli import COMMANDS, main
from instseg_rt.cli.inspect import input_text
from instseg_rt.models import model_rows

from .conftest import Run


@pytest.fixture
def photos(tmp_path: Path, colored_image: np.ndarray) -> Path:
    """A folder with a.png, b.png and sub/a.png."""
    for name in ("a.png", "b.png", "sub/a.png"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / "photos" / name), colored_image)
    return tmp_path / "photos"


def test_help_and_version(run: Run) -> None:
    code, out, _ = run("--help")
    assert code == 0
    for command in COMMANDS:
        assert command.name in out
        assert command.help.split()[0] in out
    assert "examples:" in out
    assert run("--version")[1].startswith("instseg-rt 0.")


@pytest.mark.parametrize("command", ["predict", "demo", "inspect", "models"])
def test_help_of_a_command_has_examples(run: Run, command: str) -> None:
    code, out, _ = run(command, "--help")
    assert code == 0
    assert f"instseg {command}" in out.split("examples:")[1]


def test_usage_errors(run: Run, tiny_bundle: Path) -> None:
    for arguments in (
        [],
        ["nothing"],
        ["predict"],
        ["predict", tiny_bundle],
        ["predict", tiny_bundle, "a.png", "--threshold", "high"],
        ["predict", tiny_bundle, "a.png", "--mask-format", "png"],
    ):
        code, _, err = run(*arguments)
        assert code == 2
        assert "usage: instseg" in err


def test_predict_prints_a_line_per_image(run: Run, tiny_bundle: Path, photos: Path) -> None:
    code, out, err = run("predict", tiny_bundle, photos / "a.png", photos / "b.png")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"{photos / 'a.png'}: ")
    assert "red" in lines[0]
    assert "ms" in lines[0]


def test_predict_writes_files_for_images_of_one_name(run: Run, tiny_bundle: Path, photos: Path, tmp_path: Path) -> None:
    code, _, _ = run("predict", tiny_bundle, photos, "--save-path", tmp_path / "out", "--batch-size", 2)
    assert code == 0
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == sorted(f"{stem}_res.{kind}" for stem in ("a", "a-2", "b") for kind in ("json", "png"))
    saved = json.loads((tmp_path / "out" / "a-2_res.json").read_text())
    assert saved["input_path"] == str(photos / "sub" / "a.png")
    assert {box["label"] for box in saved["boxes"]} == {"red", "blue"}


def test_predict_writes_coco(run: Run, tiny_bundle: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, _, _ = run(
        "predict", tiny_bundle, photos, "--save-path", out, "--format", "coco,json", "--mask-format", "rle"
    )
    assert code == 0
    entries = json.loads((out / "coco_results.json").read_text())
    images = json.loads((out / "coco_images.json").read_text())["images"]
    assert [image["id"] for image in images] == [1, 2, 3]
    assert {entry["image_id"] for entry in entries} == {1, 2, 3}
    assert coco_mask.decode(entries[0]["segmentation"]).shape == (128, 192)
    assert not list(out.glob("*.png"))
    assert set(json.loads((out / "a_res.json").read_text())["masks"][0]) == {"size", "counts"}


def test_predict_takes_image_ids_from_annotations(run: Run, tiny_bundle: Path, photos: Path, tmp_path: Path) -> None:
    annotations = tmp_path / "ann.json"
    annotations.write_text(json.dumps({"images": [{"file_name": "a.png", "id": 7}, {"file_name": "b.png", "id": 9}]}))
    options = ("--save-path", tmp_path / "out", "--format", "coco", "--image-ids", annotations)
    assert run("predict", tiny_bundle, photos / "b.png", *options)[0] == 0
    entries = json.loads((tmp_path / "out" / "coco_results.json").read_text())
    assert {entry["image_id"] for entry in entries} == {9}
    annotations.write_text(json.dumps({"images": []}))
    code, _, err = run("predict", tiny_bundle, photos / "b.png", *options)
    assert code == 1
    assert "has no image of that file name" in err
    annotations.write_text("{}")
    assert "expected COCO annotations" in run("predict", tiny_bundle, photos / "b.png", *options)[2]


def one_line(err: str) -> str:
    assert err.startswith("instseg: error: ")
    assert err.count("\n") == 1
    return err


def test_errors_are_one_line(run: Run, tiny_bundle: Path, photos: Path, tmp_path: Path) -> None:
    code, _, err = run("predict", tmp_path / "no.bundle", "a.png")
    assert code == 1
    assert "no such bundle directory" in one_line(err)
    code, out, err = run("predict", tiny_bundle, photos / "a.png", tmp_path / "no.png")
    assert code == 1
    assert "no.png: cannot be read" in one_line(err)
    assert out.startswith(str(photos / "a.png"))  # the image before it has its line
    for arguments, message in (
        (["--device", "gpu"], "no plug-in for a GPU"),
        (["--device", "tpu"], "device: expected"),
        (["--threshold", "2"], "threshold: expected"),
        (["--batch-size", "0"], "batch_size: expected"),
        (["--format", "json"], "need --save-path"),
        (["--mask-format", "rle"], "need --save-path"),
        (["--save-path", photos / "a.png"], "a.png is a file, expected a folder"),
        (["--save-path", tmp_path, "--format", "coco", "--image-ids", photos / "a.png"], "not a valid JSON file"),
        (["--save-path", tmp_path, "--format", "png"], "--format: expected a list of"),
        (["--save-path", tmp_path, "--image-ids", "x.json"], "--image-ids is for --format coco"),
        (["--precision", "int3"], "int3"),
    ):
        code, _, err = run("predict", tiny_bundle, photos / "a.png", *arguments)
        assert code == 1
        assert message in one_line(err)
    assert "expected camera:<index>" in one_line(run("predict", tiny_bundle, "camera:x")[2])


def test_inspect(run: Run, tiny_bundle: Path, tmp_path: Path) -> None:
    code, out, _ = run("inspect", tiny_bundle)
    assert code == 0
    for text in (
        "ppyoloe_seg",
        "3: red, green, blue",
        "64 x 64 rgb",
        "score > 0.5",
        "stages/model.onnx",
        "[batch, 3, 64, 64]",
    ):
        assert text in out
    code, out, _ = run("inspect", tiny_bundle, "--json")
    data = json.loads(out)
    assert data["labels"] == ["red", "green", "blue"]
    sizes = {key: data["input"][key] for key in ("resize", "height", "width", "normalize_first")}
    assert sizes == {"resize": "stretch", "height": 64, "width": 64, "normalize_first": False}
    assert data["stages"][0]["outputs"][1] == {
        "name": "scores",
        "dtype": "float32",
        "shape": ["batch", 3, 16],
    }
    code, _, err = run("inspect", tmp_path)
    assert code == 1
    assert "manifest.yaml" in one_line(err)


def test_inspect_names_the_kind_of_resize() -> None:
    spec = SimpleNamespace(
        resize="keep_ratio",
        short_side=800,
        long_side=1333,
        pad_stride=32,
        color="rgb",
        interpolation="linear",
        normalize_first=True,
    )
    assert input_text(spec) == (
        "rgb, aspect ratio kept: short side 800, long side at most 1333, "
        "resized with linear interpolation after the normalisation, padded to multiples of 32"
    )
    spec.pad_stride, spec.normalize_first = 1, False
    assert input_text(spec).endswith("resized with linear interpolation")


def test_models(run: Run) -> None:
    code, out, _ = run("models")
    assert code == 0
    for row in model_rows():
        assert row.model in out
    assert "32.5" in out
    assert max(map(len, out.splitlines())) <= 100
    models = json.loads(run("models", "--json")[1])["models"]
    assert [model["model"] for model in models] == [row.model for row in model_rows()]


def test_one_model(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INSTSEG_CACHE", str(tmp_path))
    code, out, err = run("models", "PP-YOLOE_seg-S")
    assert (code, err) == (0, "")
    place = tmp_path / "weights" / "PP-YOLOE_seg-S_pretrained.pdparams"
    for text in ("8,995,715", "arXiv:2203.16250", "train, export, run", "Apache-2.0", f"its place is {place}"):
        assert text in out
    place.parent.mkdir()
    place.with_name(f".{place.name}.part").write_bytes(bytes(1_500_000))
    assert f"1.5 MB of an unfinished download to {place}" in run("models", "PP-YOLOE_seg-S")[1]
    place.write_bytes(bytes(2_500_000))
    assert f"{place} (2.5 MB)" in run("models", "PP-YOLOE_seg-S")[1]
    found = json.loads(run("models", "PP-YOLOE_seg-S", "--json")[1])
    assert found["cached"]["size"] == 2_500_000
    assert found["papers"][0]["arxiv"] == "2203.16250"
    code, out, _ = run("models", "SOLOv2")
    assert code == 0
    assert "short side 800, long side at most 1333" in out
    assert "none published" in run("models", "PP-YOLOE_seg-N")[1]


def test_one_model_that_is_unknown(run: Run) -> None:
    code, out, err = run("models", "SOLO-v2")
    assert (code, out) == (1, "")
    assert "unknown model 'SOLO-v2'; did you mean SOLOv2?" in one_line(err)


def test_demo_on_an_image(run: Run, tiny_bundle: Path, photos: Path, tmp_path: Path) -> None:
    code, out, _ = run("demo", photos / "a.png", "--bundle", tiny_bundle, "--output", tmp_path / "demo")
    assert code == 0
    for text in ("red", "blue", "inference", "decode", str(tmp_path / "demo" / "a_res.png")):
        assert text in out
    assert (tmp_path / "demo" / "a_res.json").is_file()
    assert cv2.imread(str(tmp_path / "demo" / "a_res.png")) is not None


def test_demo_on_a_rendered_scene(run: Run, tiny_bundle: Path, tmp_path: Path) -> None:
    code, out, _ = run("demo", "--bundle", tiny_bundle, "--output", tmp_path, "--seed", 3, "--threshold", 0.02)
    assert code == 0
    assert "rendered scene 3" in out
    saved = json.loads((tmp_path / "scene_3_res.json").read_text())
    assert saved["boxes"]
    assert cv2.imread(str(tmp_path / "scene_3_res.png")).shape == (640, 640, 3)


def test_demo_that_finds_nothing(run: Run, tiny_bundle: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((32, 32, 3), 127, np.uint8))
    code, out, _ = run("demo", tmp_path / "grey.png", "--bundle", tiny_bundle, "--output", tmp_path / "demo")
    assert code == 0
    assert "Nothing found with score > 0.5. tiny knows these classes: red, green, blue." in out
    assert "--threshold" in out
    assert "COCO" not in out  # that hint is for the embedded model


def test_demo_takes_no_folder(run: Run, tmp_path: Path) -> None:
    code, _, err = run("demo", tmp_path)
    assert code == 1
    assert f"{tmp_path}: a folder, expected one image; `instseg predict` takes folders" in one_line(err)


def test_demo_takes_no_negative_seed(run: Run) -> None:
    code, _, err = run("demo", "--seed", -1)
    assert code == 1
    assert "--seed: expected a whole number from 0, found -1" in one_line(err)


def test_demo_without_embedded_bundle(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded.default_bundle, "__defaults__", (tmp_path,))
    code, _, err = run("demo")
    assert code == 1
    assert "no bundle is embedded" in one_line(err)


def test_missing_extra(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "instseg_trainer.cli", None)
    code, _, err = run("train")
    assert code == 1
    assert "pip install 'instseg-rt[train]'" in one_line(err)


def test_errors_of_the_other_packages_are_one_line(run: Run, tmp_path: Path) -> None:
    """No traceback for the trainer's and the exporter's own errors, which are other classes than ours."""
    if importlib.util.find_spec("paddle") is None:
        pytest.skip("the training extra is not installed")
    code, _, err = run("train", "-c", tmp_path / "no.yaml")
    assert code == 1
    assert "no.yaml" in one_line(err.splitlines(keepends=True)[-1])  # Paddle's import may warn before it


def test_every_command_has_help(run: Run) -> None:
    for command in COMMANDS:
        code, out, err = run(command.name, "--help")
        assert (code, err) == (0, "")
        assert f"usage: instseg {command.name}" in out


def test_a_fault_of_the_program_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("instseg_rt.cli.models.model_rows", fail)
    with pytest.raises(ZeroDivisionError):
        main(["models"])


def start(*arguments: object, **options: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "instseg_rt", *map(str, arguments)]
    return subprocess.Popen(  # type: ignore[call-overload, no-any-return]
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def test_interrupt(tiny_bundle: Path, tmp_path: Path, photos: Path) -> None:
    """Ctrl-C while a server that never answers is waited for: 130, no traceback."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/a.png"
        process = start(
            "predict",
            tiny_bundle,
            photos / "a.png",
            url,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            # Tests that run in the background of a shell have SIGINT ignored, and so would their children.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        assert process.stdout is not None
        assert process.stdout.readline().startswith(str(photos / "a.png"))
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err == ""


def test_reader_of_stdout_that_goes_away(tiny_bundle: Path, photos: Path) -> None:
    process = start("predict", tiny_bundle, *[photos / "a.png"] * 2000, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    err = process.stderr.read()
    assert process.wait(timeout=60) == 1
    assert err == ""


def test_noisy_libraries_stay_silent(tiny_bundle: Path, tmp_path: Path, photos: Path) -> None:
    """One line on stderr, though OpenCV, libpng and libjpeg have comments of their own on damaged files."""
    data = (photos / "a.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(data[: len(data) // 2])
    jpeg = cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))[1].tobytes()
    (tmp_path / "cut.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    tiff = cv2.imencode(".tiff", np.zeros((64, 64, 3), np.uint8))[1].tobytes()
    (tmp_path / "cut.tiff").write_bytes(tiff[: len(tiff) // 2])
    (tmp_path / "text.bmp").write_text("BM not really")
    for name in ("cut.png", "cut.jpg", "cut.tiff", "text.bmp"):
        process = start("predict", tiny_bundle, tmp_path / name)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 1
        assert name in one_line(err)


def test_import_is_light() -> None:
    """`import instseg_rt` loads no OpenCV, no rich, no trainer."""
    code = "import sys, instseg_rt; print([n for n in ('cv2', 'rich', 'numpy', 'paddle') if n in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_commands_name_modules_of_this_project() -> None:
    assert len({command.name for command in COMMANDS}) == len(COMMANDS)
    assert {command.module.split(".")[0] for command in COMMANDS} == {
        "instseg_rt",
        "instseg_trainer",
        "instseg_export",
    }
    assert cli.EXIT_INTERRUPTED == 130
