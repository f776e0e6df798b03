"""`instseg-export BUNDLE --precision fp16`."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
import yaml
from onnx import helper

onnxruntime = pytest.importorskip("onnxruntime", reason="needs the [export] extra")

import instseg_rt
from instseg_export.cli import main
from instseg_export.errors import ExportError
from instseg_export.precision import islands
from instseg_export.precision.comparison import ComparedStage
from instseg_export.precision.detections import agreement
from instseg_export.precision.typed_entry import typed_entry
from instseg_export.precision.typed_fp16 import to_typed_fp16
from instseg_export.precision.typed_stages import write_typed_stages
from tests.instseg_export.precision.graphs import graph
from tests.long_tests import with_long_ones
from tests.reference_kit import EXPORTED_MODELS, IMAGES
from tests.tiny_bundle import SIDE


def stage_of(bundle: Path) -> dict[str, Any]:
    return yaml.safe_load((bundle / "manifest.yaml").read_text())["stages"][0]


def test_the_stage_its_entry_and_the_verdict(bundle: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = stage_of(bundle)
    assert main([str(bundle), "--precision", "fp16", "--images", str(photos)]) == 0
    shown = capsys.readouterr()
    assert re.search(r"all detections: (\d+) of \1 found \(100\.0%\)", shown.out)
    stage = stage_of(bundle)
    (entry,) = stage.pop("typed")
    assert stage == before
    file = bundle / "stages" / "model.fp16.onnx"
    assert entry["file"] == "stages/model.fp16.onnx"
    assert entry["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert entry["source_sha256"] == stage["sha256"]
    verification = entry["verification"]
    assert (verification["images"], verification["images_are"]) == (3, "images of photos")
    assert verification["detections"]["expected"] == verification["detections"]["matched"] > 0
    assert verification["detections_above_threshold"]["matched"] == 6
    assert 0 < max(verification["max_relative_error"].values()) < 2e-3
    assert set(verification["max_relative_error"]) == {tensor["name"] for tensor in stage["outputs"]}

    metadata = {prop.key: prop.value for prop in onnx.load(file).metadata_props}
    assert json.loads(metadata["instseg_precision"])["source_sha256"] == stage["sha256"]
    with instseg_rt.Predictor(bundle) as predictor:  # the bundle is read as before
        assert len(predictor(photos / "0.png")) == 2


def test_what_is_up_to_date_is_kept(bundle: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(bundle), "--precision", "fp16", "--images", str(photos)]
    assert main(arguments) == 0
    file = bundle / "stages" / "model.fp16.onnx"
    written = file.stat().st_mtime_ns
    assert main(arguments) == 0
    assert "FP16 stages: up to date" in capsys.readouterr().err
    assert file.stat().st_mtime_ns == written
    assert main([*arguments, "--force"]) == 0
    assert file.stat().st_mtime_ns > written
    assert len(stage_of(bundle)["typed"]) == 1
    file.write_bytes(b"something else")
    assert typed_entry(bundle, stage_of(bundle)) is None
    assert main(arguments) == 0
    assert typed_entry(bundle, stage_of(bundle)) is not None


def test_another_recipe_is_another_stage(bundle: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main([str(bundle), "--precision", "fp16", "--images", str(photos)]) == 0
    assert typed_entry(bundle, stage_of(bundle))
    monkeypatch.setattr("instseg_export.precision.typed_entry.CONVERTER_VERSION", 99)
    assert typed_entry(bundle, stage_of(bundle)) is None


def test_average_precision_in_both(bundle: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pycocotools", reason="needs the [train] extra")
    dataset = photos.parent / "labelled"
    (dataset / "annotations").mkdir(parents=True)
    (dataset / "images").symlink_to(photos)
    images, annotations = [], []
    for number in range(3):
        images.append({"id": number + 1, "file_name": f"{number}.png", "height": SIDE, "width": SIDE})
        for category, x, y in ((1, 16 * number, 0), (2, 48, 32)):
            corners = [x, y, x + 16, y, x + 16, y + 16, x, y + 16]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number + 1,
                    "category_id": category,
                    "bbox": [x, y, 16, 16],
                    "area": 256,
                    "iscrowd": 0,
                    "segmentation": [corners],
                }
            )
    categories = [{"id": index + 1, "name": name} for index, name in enumerate(("red", "green", "blue"))]
    truth = {"images": images, "annotations": annotations, "categories": categories}
    (dataset / "annotations" / "instance_val.json").write_text(json.dumps(truth))
    arguments = [str(bundle), "--precision", "fp16", "--images", str(photos), "--dataset", str(dataset)]
    assert main(arguments) == 0
    assert "mask AP50" in capsys.readouterr().out
    noted = stage_of(bundle)["typed"][0]["verification"]["ap"]
    assert noted["dataset"] == "labelled"
    assert noted["fp32"]["mask_ap50"] == noted["fp16"]["mask_ap50"] == 1.0
    assert 0.5 < noted["fp16"]["mask_ap"] <= 1.0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--precision", "fp16", "--images", "nowhere"], "--images nowhere: no such folder"),
        ([], "is a bundle already: say what to make of it"),
        (["--precision", "fp16", "--weights", "x"], "--weights: "),
        (["--target", "t4"], "--target: only with --backend"),
        (["--precision", "fp32", "--target", "t4"], "--target: only with --backend"),
    ],
)
def test_errors_in_words(bundle: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    assert main([str(bundle), *arguments]) == 1
    assert said in capsys.readouterr().err


def test_a_name_that_is_no_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "gone.bundle"), "--precision", "fp16"]) == 1
    assert "gone.bundle: no bundle there, and no model's name (see `instseg models`)" in capsys.readouterr().err


def test_large_values_stay_float32(bundle: Path) -> None:
    file = bundle / "stages" / "model.onnx"
    model = onnx.load(file)
    (gain,) = (tensor for tensor in model.graph.initializer if tensor.name == "gain")
    gain.CopyFrom(onnx.numpy_helper.from_array(np.array(60000.0, np.float32), "gain"))
    onnx.save(model, file)
    manifest = yaml.safe_load((bundle / "manifest.yaml").read_text())
    manifest["stages"][0]["sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
    (bundle / "manifest.yaml").write_text(yaml.safe_dump(manifest))
    images = [np.full((SIDE, SIDE, 3), (10, 10, 250), np.uint8)]
    report = write_typed_stages(bundle, lambda _line: None, images)
    assert any("reaches" in reason for reason in report.stages[0].float_nodes)


def test_values_that_are_not_finite_are_an_error() -> None:
    square = helper.make_node("Mul", ["x", "x"], ["y"])
    model = graph([square], {"x": ["n"]}, {"y": ["n"]})
    stage = ComparedStage("ppyoloe_seg", model, to_typed_fp16(model, []).model)
    stage({"x": np.array([2.0, 200.0], np.float32)})
    assert stage.errors["y"] < 1e-3
    with pytest.raises(ExportError, match="y: not finite in float16"):
        stage({"x": np.array([2.0, 300.0], np.float32)})


def test_agreement_counts_what_is_found_again(bundle: Path, photos: Path) -> None:
    with instseg_rt.Predictor(bundle, threshold=0.0) as predictor:
        first, second = (predictor(photos / f"{number}.png") for number in range(2))
    same = agreement([first, second], [first, second])
    assert (same.share, same.mask_iou_mean, same.box_pixels_p95) == (1.0, 1.0, 0.0)
    assert same.expected == same.found == len(first) + len(second)
    # The green area is at the same place in both, the red one is not.
    crossed = agreement([first], [second], threshold=0.5)
    assert (crossed.expected, crossed.found, crossed.matched) == (2, 2, 1)
    assert crossed.mask_iou_mean > 0.99


def test_every_island_says_why_and_what_was_measured() -> None:
    table = islands._table()
    assert {"all", "mask_rtdetr", "ppyoloe_seg", "solov2"} <= set(table)
    for stages in table.values():
        for entries in stages.values():
            for island in entries:
                assert len(island.why) > 30
                assert re.search(r"\d", island.measured)
                assert island.operators or island.outputs or island.indices
    assert islands.islands_of("mask_rcnn", "box_head_2") == islands.islands_of("mask_rcnn", "features")


@pytest.mark.slow
@pytest.mark.parametrize(
    "model", with_long_ones(["PP-YOLOE_seg-S"], [model for model in EXPORTED_MODELS if model != "PP-YOLOE_seg-S"])
)
def test_fp16_finds_what_float32_finds(
    shared: Path, seeded_bundle_of: Callable[[str], Path], model: str, tmp_path: Path
) -> None:
    bundle = tmp_path / f"{model}.bundle"
    shutil.copytree(seeded_bundle_of(model), bundle)
    images = [cv2.imread(str(shared / "reference" / "images" / f"{name}.png")) for name in IMAGES]
    report = write_typed_stages(bundle, lambda _line: None, images, "photos")
    assert report.every.expected > 0
    for file in sorted((bundle / "stages").glob("*.fp16.onnx")):
        check_runs(file)
    if model == "PP-YOLOE_seg-S":
        assert report.every.expected > 100
        assert report.good
    # Random weights answer to everything: what float32 makes of one grey level of noise is the measure for the others.
    if report.noise is not None:
        assert report.every.mask_iou_mean > report.noise.mask_iou_mean
        assert report.every.share >= report.noise.share - 0.01


def check_runs(file: Path) -> None:
    """ONNX Runtime takes the typed graph itself, in a batch of two."""
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    (tensor,) = session.get_inputs()
    sizes = {0: 2, 2: 224, 3: 320}
    shape = [size if isinstance(size, int) else sizes[axis] for axis, size in enumerate(tensor.shape)]
    outputs = session.run(None, {tensor.name: np.random.default_rng(0).random(shape, np.float32)})
    assert {output.dtype for output in outputs} == {np.dtype(np.float32)}
    assert {len(output) for output in outputs} == {2}
    assert all(np.isfinite(output).all() for output in outputs)
