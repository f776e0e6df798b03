"""The benchmark scripts: their options, their reports, their errors of one line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from instseg_rt.embedded import embedded_bundles

from ..tiny_bundle import write_tiny_bundle
from .conftest import BENCHMARKS

SCRIPTS = (
    "batch_consistency.py",
    "bf16_accuracy.py",
    "cold_start.py",
    "end_to_end.py",
    "engines.py",
    "fruits.py",
    "network_profile.py",
    "ops.py",
    "paddlex_comparison.py",
    "postprocess.py",
    "precision_noise.py",
    "scenes_accuracy.py",
    "size.py",
    "throughput.py",
    "training_speed.py",
    "own_operations.py",
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
    # Those of the CUDA ops have tests of their own: test_cuda_reports.py.
    assert {name for name in with_main if not name.startswith("cuda_")} == set(SCRIPTS)


@pytest.mark.parametrize("without", ["all", "amx", "queries"])
def test_own_operations(tmp_path: Path, without: str) -> None:
    report, markdown = tmp_path / "own_operations.json", tmp_path / "table.md"
    bundles = embedded_bundles()["PP-YOLOE_seg-N"].parent
    options = ("--without", without, "--repeat", 2, "--report", report, "--markdown", markdown)
    done = run("own_operations.py", bundles, *options)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(report.read_text(encoding="utf-8"))["results"]
    assert row["model"] == "PP-YOLOE_seg-N"
    same = row["agreement"]
    assert same["matched"] == same["found"] == same["expected"] > 0
    assert same["score_difference_max"] < 1e-4
    assert len(row["plain_network_ms"]) == len(row["network_ms"]) == 2
    assert f"{same['found']} of {same['found']}" in markdown.read_text(encoding="utf-8")


def test_batch_consistency(bundle: Path, photo: Path, tmp_path: Path) -> None:
    report = tmp_path / "consistency.json"
    done = run("batch_consistency.py", bundle, "--image", photo, "--repeat", 2, "--batch", 3, "--report", report)
    assert done.returncode == 0, done.stderr
    assert "0 of 12" in done.stdout
    ((first, second),) = json.loads(report.read_text(encoding="utf-8"))["results"].values()
    assert first == second
    assert first["instances"] > 0
    assert (first["in_batches"], first["beside"]) == (6, 4)


def test_cold_start(bundle: Path, photo: Path, tmp_path: Path) -> None:
    report = tmp_path / "reports" / "cold_start.json"
    done = run("cold_start.py", bundle, "--image", photo, "--repeat", 2, "--threads", 1, "--report", report)
    assert done.returncode == 0, done.stderr
    assert "first result, ms" in done.stdout
    content = json.loads(report.read_text(encoding="utf-8"))
    assert content["environment"]["packages"]["openvino"]
    (starts,) = content["results"].values()
    assert len(starts) == 2
    for start in starts:
        parts = sum(start[f"{part}_ms"] for part in ("import", "modules", "predictor", "first_call"))
        assert parts == pytest.approx(start["first_result_ms"])
        assert start["peak_mb"] > 10


def test_end_to_end(bundle: Path, photo: Path, tmp_path: Path) -> None:
    folder, report = tmp_path / "bundles", tmp_path / "end_to_end.json"
    write_tiny_bundle(folder / "good.bundle")
    (folder / "no bundle").mkdir()
    damaged = write_tiny_bundle(folder / "damaged.bundle")
    (damaged / "stages" / "model.onnx").write_bytes(b"damaged")
    options = ("--images", photo, "--duration", 0, "--warm-up", 0, "--threads", 1, "--batch", "1,2")
    done = run("end_to_end.py", folder, "--report", report, "--", *options)
    assert done.returncode == 0, done.stderr
    good, damaged_result = sorted(
        json.loads(report.read_text(encoding="utf-8"))["results"], key=lambda r: r["error"] or ""
    )
    assert len(good["report"]["runs"]) == 2
    assert good["peak_mb"] > 10
    assert "sha256" in damaged_result["error"]
    assert "damaged.bundle: instseg: error:" in done.stdout
    done = run("end_to_end.py", tmp_path / "reports", "--report", report)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "no bundle in this folder" in done.stderr


def test_throughput(bundle: Path, photo: Path, tmp_path: Path) -> None:
    report = tmp_path / "throughput.json"
    done = run("throughput.py", bundle, "--image", photo, "--batch", 3, "--repeat", 2, "--report", report)
    assert done.returncode == 0, done.stderr
    assert "round 2 of 2" in done.stderr
    (row,) = json.loads(report.read_text(encoding="utf-8"))["results"]
    assert [len(row[f"{way}_seconds"]) for way in ("single", "batch", "streams")] == [2, 2, 2]
    done = run("throughput.py", bundle, "--image", photo, "--batch", 1000, "--report", report)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "--batch: 1000, but the largest" in done.stderr
    (tmp_path / "two").mkdir()
    for name in ("1.png", "2.png"):
        (tmp_path / "two" / name).write_bytes(photo.read_bytes())
    done = run("throughput.py", bundle, "--image", tmp_path / "two", "--report", report)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "--image: expected one image" in done.stderr


def test_throughput_ratios() -> None:
    from throughput import Row, cells

    row = Row("M", single_seconds=[4.0, 4.0, 8.0], batch_seconds=[2.0, 3.0, 4.0], streams_seconds=[4.0, 4.0, 2.0])
    assert row.batch_ratio == 2.0
    assert row.streams_ratios == [0.5, 0.75, 2.0]  # against the batch, which is faster
    assert cells(row, images=8) == ("M", "2.00", "2.67", "2.00", "2.00", "0.75", "0.50 to 2.00")


@pytest.mark.slow
def test_training_speed(tmp_path: Path) -> None:
    pytest.importorskip("paddle", reason="needs the [train] extra")
    report = tmp_path / "speed.json"
    settings = ("Recipe.image_size=[64, 64]", "Recipe.workers=0", "Train.batch_size=2")
    arguments = ("--iterations", 2, "--warm-up", 1, "--threads", 1, "--report", report)
    done = run("training_speed.py", *arguments, "-o", *settings)
    assert done.returncode == 0, done.stderr
    assert "not compared" in done.stdout
    results = json.loads(report.read_text(encoding="utf-8"))["results"]
    assert (results["paddledetection"], results["ratio"]) == (None, None)
    result = results["ours"]
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
    done = run("cold_start.py", tmp_path / "missing.bundle", "--report", tmp_path / "report.json")
    assert done.returncode == 1
    assert "no such bundle" in done.stderr
    assert len(done.stderr.splitlines()) == 1
