"""`instseg-export BUNDLE --precision int8`."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
import yaml
from onnx import helper

pytest.importorskip("onnxruntime", reason="needs the [export] extra")

import instseg_rt
from instseg_export.cli import main
from instseg_export.errors import ExportError
from instseg_export.precision import int8_stages
from instseg_export.precision.calibration import MOST_REGIONS, StageInputs, image_files
from instseg_export.precision.detections import Agreement
from instseg_export.precision.int8_stages import int8_entry
from instseg_export.precision.islands import INT8_ISLANDS, Island, islands_of
from instseg_export.precision.quantise import QuantisedStage, quantise
from instseg_rt.scenes import render_scene
from tests.family_bundles import WRITERS
from tests.instseg_export.precision.graphs import graph

needs_nncf = pytest.mark.skipif(importlib.util.find_spec("nncf") is None, reason="needs the [int8] extra")


def stage_of(bundle: Path) -> dict[str, Any]:
    return yaml.safe_load((bundle / "manifest.yaml").read_text())["stages"][0]


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@needs_nncf
def test_from_a_bundle_to_int8_results(bundle: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = stage_of(bundle)
    arguments = [str(bundle), "--precision", "int8", "--calibration", str(photos)]
    assert main([*arguments, "--calibration-images", "2"]) == 0
    shown = capsys.readouterr()
    assert "above the threshold: 6 of 6 found" in shown.out
    assert "--dataset measures" in shown.err
    stage = stage_of(bundle)
    (entry,) = stage.pop("typed")
    assert stage == before
    assert entry["sha256"] == sha256(bundle / entry["file"])
    assert entry["weights_sha256"] == sha256(bundle / entry["weights_file"])
    assert entry["source_sha256"] == stage["sha256"]
    assert entry["calibration"] == {"images": 2, "folder": "photos"}
    assert entry["int8_nodes"] == 2
    assert entry["tools"]["nncf"]
    assert entry["verification"]["detections_above_threshold"]["matched"] == 6
    assert sorted(path.name for path in bundle.parent.iterdir()) == ["photos", "tiny.bundle"]  # nothing is left behind
    with instseg_rt.Predictor(bundle, precision="int8") as predictor, instseg_rt.Predictor(bundle) as exact:
        found, expected = predictor(photos / "0.png"), exact(photos / "0.png")
    np.testing.assert_array_equal(found.class_ids, expected.class_ids)
    np.testing.assert_allclose(found.scores, expected.scores, atol=0.1)

    written = (bundle / entry["file"]).stat().st_mtime_ns
    assert main(arguments) == 0
    assert "INT8 stages: up to date" in capsys.readouterr().err
    assert (bundle / entry["file"]).stat().st_mtime_ns == written
    (bundle / entry["weights_file"]).write_bytes(b"something else")
    assert int8_entry(bundle, stage_of(bundle)) is None


@needs_nncf
def test_a_comparison_that_fails_leaves_the_bundle_alone(
    bundle: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ExportError("the comparison failed")

    monkeypatch.setattr(int8_stages, "_compare", fail)
    assert main([str(bundle), "--precision", "int8", "--calibration", str(photos)]) == 1
    assert "typed" not in stage_of(bundle)
    assert [path.name for path in (bundle / "stages").iterdir()] == ["model.onnx"]


def agreement_of(expected: int, matched: int, mask_iou: float) -> Agreement:
    return Agreement(expected, matched, matched, mask_iou, mask_iou, 0.0, 0.0, 0.0)


@needs_nncf
@pytest.mark.parametrize(
    ("confident", "said"),
    [
        (agreement_of(20, 18, 0.99), "INT8 finds 18 of the 20 detections above the threshold"),
        (agreement_of(20, 20, 0.85), "with a mask IoU of 0.850 (at least 95% and 0.9): the bundle is as it was"),
        (agreement_of(0, 0, 1.0), "float32 detects nothing above the bundle's threshold on the images of photos"),
    ],
)
def test_what_finds_too_little_is_refused(
    bundle: Path,
    photos: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    confident: Agreement,
    said: str,
) -> None:
    monkeypatch.setattr(int8_stages, "_compare", lambda *_: (confident, confident))
    assert main([str(bundle), "--precision", "int8", "--calibration", str(photos)]) == 1
    assert said in capsys.readouterr().err
    assert "typed" not in stage_of(bundle)


@needs_nncf
def test_nncf_reports_nothing_to_its_makers() -> None:
    lines = [
        "import os",
        "from instseg_export.precision.quantise import import_nncf",
        "import_nncf()",
        "from nncf.telemetry.wrapper import NNCFTelemetry, telemetry",
        "print(isinstance(telemetry, NNCFTelemetry), 'NNCF_CI' in os.environ)",
    ]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NNCF_")}
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "False"]


def test_without_nncf(
    bundle: Path, photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("instseg_export.precision.quantise.importlib.util.find_spec", lambda _name: None)
    assert main([str(bundle), "--precision", "int8", "--calibration", str(photos)]) == 1
    assert "needs NNCF, which is not installed: pip install 'instseg-rt[int8]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--precision", "int8"], "--calibration is missing, a folder of images like those of the use"),
        (["--precision", "int8", "--calibration", "nowhere"], "--calibration nowhere: no such folder"),
        (["--precision", "int8", "--calibration", ".", "--calibration-images", "0"], "--calibration-images: expected"),
        (["--precision", "fp16", "--calibration", "x"], "--calibration: only with --precision int8"),
        (["--precision", "int8", "--calibration", "x", "--backend", "tensorrt"], "INT8 stages are for CPUs"),
    ],
)
def test_errors_in_words(bundle: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    assert main([str(bundle), *arguments]) == 1
    assert said in capsys.readouterr().err


def test_images_are_spread_over_the_folder(tmp_path: Path) -> None:
    for number in range(10):
        (tmp_path / f"{number}.jpg").touch()
    (tmp_path / "notes.txt").touch()
    assert [file.stem for file in image_files(tmp_path, "--calibration", 4)] == ["0", "2", "5", "7"]
    assert len(image_files(tmp_path, "--calibration", 100)) == 10
    (tmp_path / "empty").mkdir()
    with pytest.raises(ExportError, match=r"--calibration .*: no images there"):
        image_files(tmp_path / "empty", "--calibration", 4)


def test_inputs_are_kept_as_they_were_given(tmp_path: Path) -> None:
    inputs = StageInputs(tmp_path / "head")
    rois = np.random.default_rng(0).random((MOST_REGIONS + 5, 2, 3), np.float32)
    inputs.add({"roi_features": rois[:3]})
    inputs.add({"roi_features": rois[:0]})
    inputs.add({"roi_features": rois})
    assert len(inputs) == 2
    for _ in range(2):
        first, second = inputs
        np.testing.assert_array_equal(first["roi_features"], rois[:3])
        np.testing.assert_array_equal(second["roi_features"], rois[:MOST_REGIONS])


@needs_nncf
def test_islands_stay_float32(bundle: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = Island("scores", "why", "measured", outputs=("scores",), convolutions=1)
    monkeypatch.setattr(int8_stages, "islands_of", lambda *_: (scores,))
    assert main([str(bundle), "--precision", "int8", "--calibration", str(photos)]) == 0
    (entry,) = stage_of(bundle)["typed"]
    assert entry["int8_nodes"] == 1  # that of the prototypes
    assert entry["float_nodes"] == {"scores": 1}


CHAIN = 11  # convolutions


def quantised_chain(folder: Path, family: str, largest: list[float]) -> QuantisedStage:
    """Convolutions and ReLU in turn, and a matrix product; the last convolution is given what comes before it twice,
    concatenated.

    Quantised with the family's islands on one image of each of these largest values.
    """
    random = np.random.default_rng(0)
    nodes, weights, tensor = [], {}, "image"
    for number in range(CHAIN):
        last = number == CHAIN - 1
        if last:
            nodes.append(helper.make_node("Concat", [tensor, tensor], ["both"], name="concat", axis=1))
        weights[f"w{number}"] = random.uniform(0.1, 0.5, (3, 6 if last else 3, 1, 1)).astype(np.float32)
        given = "both" if last else tensor
        nodes.append(helper.make_node("Conv", [given, f"w{number}"], [f"c{number}"], name=f"convolution {number}"))
        tensor = f"r{number}"
        nodes.append(helper.make_node("Relu", [f"c{number}"], [tensor], name=f"relu {number}"))
    weights["m"] = random.uniform(0.1, 0.5, (8, 8)).astype(np.float32)
    nodes.append(helper.make_node("MatMul", [tensor, "m"], ["y"], name="product"))
    file = folder / "model.onnx"
    onnx.save(graph(nodes, {"image": [1, 3, 8, 8]}, {"y": [1, 3, 8, 8]}, weights), file)
    image = random.random((1, 3, 8, 8), np.float32)
    data = [{"image": (image * value).astype(np.float32)} for value in largest]
    return quantise(file, data, family, islands_of(family, "model", INT8_ISLANDS))


@needs_nncf
@pytest.mark.parametrize(
    ("family", "int8_nodes", "float_nodes"),
    [
        ("mask_rtdetr", CHAIN - 10, {"first convolutions": 10, "matrix products": 1}),
        ("ppyoloe_seg", CHAIN + 1, {}),
    ],
)
def test_the_islands_of_a_family(family: str, int8_nodes: int, float_nodes: dict[str, int], tmp_path: Path) -> None:
    """The last convolution counts as INT8 too: what is rounded comes to it through a concatenation."""
    found = quantised_chain(tmp_path, family, [1.0, 1.0])
    assert (found.int8_nodes, found.float_nodes) == (int8_nodes, float_nodes)


@needs_nncf
@pytest.mark.parametrize(("family", "widest"), [("mask_rtdetr", True), ("ppyoloe_seg", False)])
def test_ranges_of_a_family(family: str, widest: bool, tmp_path: Path) -> None:
    """Of images whose largest values are 1, 1 and 10: up to 10, or to their mean."""

    def largest_range(values: list[float]) -> float:
        ranges = [
            float(node.input_value(4).get_node().get_data().max())
            for node in quantised_chain(tmp_path, family, values).model.get_ops()
            if node.get_type_name() == "FakeQuantize"
        ]
        return max(ranges)

    expected = 10.0 if widest else 4.0
    assert largest_range([1.0, 1.0, 10.0]) / largest_range([1.0, 1.0, 1.0]) == pytest.approx(expected, rel=0.02)


@needs_nncf
@pytest.mark.parametrize("family", ["mask_rtdetr", "solov2", "mask_rcnn"])
def test_every_family(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All stages of a family run in INT8; small graphs with weights by hand need not keep what they find, and some are
    nothing but what real ones have as islands.
    """
    monkeypatch.setattr(int8_stages, "islands_of", lambda *_: ())
    monkeypatch.setattr(int8_stages, "LEAST_MATCHED", 0.5)
    monkeypatch.setattr(int8_stages, "LEAST_MASK_IOU", 0.5)
    bundle = WRITERS[family](tmp_path / "family.bundle")
    photos = tmp_path / "photos"
    photos.mkdir()
    for seed, size in enumerate([(64, 70), (181, 117), (97, 131)]):
        cv2.imwrite(str(photos / f"{seed}.png"), render_scene(seed, *size).image)
    assert main([str(bundle), "--precision", "int8", "--calibration", str(photos)]) == 0
    text = (bundle / "manifest.yaml").read_text()
    assert "&id" not in text  # no references
    for stage in yaml.safe_load(text)["stages"]:
        assert int8_entry(bundle, stage) is not None
    with instseg_rt.Predictor(bundle, precision="int8") as predictor:
        assert sum(len(predictor(file)) for file in sorted(photos.iterdir())) > 3
