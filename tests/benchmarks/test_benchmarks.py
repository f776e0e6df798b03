"""The benchmark scripts: their options, their reports, and that a peer that does other work is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from ..tiny_bundle import write_tiny_bundle
from .conftest import BENCHMARKS

SCRIPTS = (
    "engines.py",
    "fruits.py",
    "latency.py",
    "postprocess.py",
    "scenes_accuracy.py",
    "size.py",
    "training_speed.py",
)


def run(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCHMARKS / script), *(str(argument) for argument in arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny.bundle")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A red and a blue area, which the tiny bundle finds, in an image of another size than its input."""
    image = np.full((128, 192, 3), 20, np.uint8)
    image[0:32, 48:96] = (10, 10, 250)
    image[64:96, 144:192] = (250, 10, 10)
    file = tmp_path / "photo.png"
    cv2.imwrite(str(file), image)
    return file


@pytest.mark.parametrize("script", SCRIPTS)
def test_help(script: str) -> None:
    shown = run(script, "--help")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith(f"usage: {script}")
    assert "--report" in shown.stdout


def test_every_script_is_tested() -> None:
    with_main = {file.name for file in BENCHMARKS.glob("*.py") if "__main__" in file.read_text(encoding="utf-8")}
    assert with_main == set(SCRIPTS)


def test_latency_with_peer(bundle: Path, photo: Path, tmp_path: Path) -> None:
    report = tmp_path / "reports" / "latency.json"
    arguments = ("--repeat", 3, "--warm-up", 1, "--threads", 1, "--peer", "openvino-python", "--report", report)
    done = run("latency.py", bundle, photo, *arguments)
    assert done.returncode == 0, done.stderr
    assert "ratio of medians" in done.stdout
    content = json.loads(report.read_text(encoding="utf-8"))
    assert content["environment"]["packages"]["openvino"]
    results = content["results"]
    assert results["instances"] >= 2
    for samples in results["samples_ms"].values():
        assert [len(values) for values in samples.values()] == [3] * 5
        parts = np.array([samples[stage] for stage in ("decode", "preprocess", "inference", "postprocess")])
        assert (parts.sum(axis=0) <= np.array(samples["total"]) + 0.01).all()


def test_latency_of_a_batch(bundle: Path, photo: Path, tmp_path: Path) -> None:
    report = tmp_path / "latency.json"
    done = run("latency.py", bundle, photo, "--repeat", 2, "--batch", 2, "--threads", 1, "--report", report)
    assert done.returncode == 0, done.stderr
    assert json.loads(report.read_text(encoding="utf-8"))["results"]["instances"] >= 4


@pytest.mark.parametrize("change", ["score", "box", "mask", "missing"])
def test_peer_with_other_results_is_refused(bundle: Path, photo: Path, change: str) -> None:
    from instseg_rt import Predictor
    from latency import check_agreement
    from python_pipeline import PythonPipeline
    from report import BenchmarkError

    with Predictor(bundle) as predictor:
        ours = predictor(photo)
        theirs = PythonPipeline(predictor.info, predictor.threshold, 1)(photo)
    check_agreement(photo, ours, theirs)
    wrong = {
        "score": lambda: replace(theirs, scores=theirs.scores - 0.01),
        "box": lambda: replace(theirs, boxes=theirs.boxes + 1),
        "mask": lambda: replace(theirs, masks=[np.roll(mask, 3, axis=1) for mask in theirs.masks]),
        "missing": lambda: replace(
            theirs, class_ids=theirs.class_ids[1:], scores=theirs.scores[1:], boxes=theirs.boxes[1:]
        ),
    }[change]()
    with pytest.raises(BenchmarkError, match="the peer finds"):
        check_agreement(photo, ours, wrong)


@pytest.mark.slow
def test_training_speed(tmp_path: Path) -> None:
    pytest.importorskip("paddle", reason="needs the [train] extra")
    report = tmp_path / "speed.json"
    settings = ("Recipe.image_size=[64, 64]", "Recipe.workers=0", "Train.batch_size=2")
    arguments = ("--iterations", 2, "--warm-up", 1, "--threads", 1, "--report", report)
    done = run("training_speed.py", *arguments, "-o", *settings)
    assert done.returncode == 0, done.stderr
    result = json.loads(report.read_text(encoding="utf-8"))["results"]
    assert result["images_per_iteration"] == 2
    for part in ("data_ms", "compute_ms", "total_ms"):
        assert result[part]["count"] == 2
        assert result[part]["min"] > 0
    total = result["data_ms"]["mean"] + result["compute_ms"]["mean"]
    assert total == pytest.approx(result["total_ms"]["mean"])
    assert result["images_per_second"] == pytest.approx(2000 / total)
    assert result["first_loss"] != result["last_loss"]


def test_size(tmp_path: Path) -> None:
    report = tmp_path / "size.json"
    done = run("size.py", "--report", report)
    assert done.returncode == 0, done.stderr
    sizes = {row["name"]: row["bytes"] for row in json.loads(report.read_text(encoding="utf-8"))["results"]}
    assert sizes["package instseg_rt"] > sum(size for name, size in sizes.items() if name.startswith("_core")) > 0


def test_scenes_accuracy_refuses_other_categories(bundle: Path, tmp_path: Path) -> None:
    pytest.importorskip("pycocotools", reason="needs the [train] extra")
    report = tmp_path / "scenes.json"
    done = run("scenes_accuracy.py", "--bundle", bundle, "--images", 1, "--workers", 1, "--report", report)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "expected the categories of the scenes" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not report.exists()


def test_missing_bundle_is_one_line(tmp_path: Path) -> None:
    done = run("latency.py", tmp_path / "missing.bundle")
    assert done.returncode == 1
    assert "no such bundle" in done.stderr
    assert len(done.stderr.splitlines()) == 1
