"""`instseg_run`, the C++ tool, gives the JSON that Python gives."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.conftest import REPOSITORY

import instseg_rt
from instseg_rt.benchmark.early_stopping import estimate
from instseg_rt.benchmark.statistics import compute_statistics


@pytest.fixture(scope="module")
def tool() -> Path:
    """The tool of the `dev` build, or what INSTSEG_RUN names."""
    path = Path(os.environ.get("INSTSEG_RUN", REPOSITORY / "build" / "dev" / "bin" / "instseg_run"))
    if not path.is_file():
        pytest.skip(f"instseg_run is not built at {path} (make test-cpp builds it)")
    return path


def run(tool: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(tool), *map(str, arguments)], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Coloured areas, which the tiny model finds, as PNG files of several sizes and one JPEG."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(5)
    paths = []
    for index, (height, width) in enumerate(((128, 192), (97, 61), (300, 480))):
        image = rng.integers(0, 60, (height, width, 3), np.uint8)
        cv2.rectangle(image, (width // 8, height // 6), (width // 2, height // 2), (0, 0, 255), -1)
        cv2.circle(image, (3 * width // 4, 2 * height // 3), min(height, width) // 5, (255, 0, 0), -1)
        paths.append(folder / f"{index}.png")
        cv2.imwrite(str(paths[-1]), image)
    paths.append(folder / "last.jpg")
    cv2.imwrite(str(paths[-1]), image)
    return paths


def python_json(bundle: Path, paths: Sequence[Path], threshold: float) -> list[dict[str, object]]:
    with instseg_rt.Predictor(bundle, threshold=threshold) as predictor:
        return [json.loads(json.dumps(predictor(path).json["res"])) for path in paths]


@pytest.mark.parametrize("batch", [1, 3])
def test_the_same_json(tool: Path, tiny_bundle: Path, pictures: list[Path], tmp_path: Path, batch: int) -> None:
    output = tmp_path / "tool.json"
    done = run(tool, tiny_bundle, *pictures, "--threshold", 0.3, "--batch", batch, "--json", output)
    if "without JPEG support" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    found = json.loads(output.read_text())
    expected = python_json(tiny_bundle, pictures, 0.3)
    assert [len(result["boxes"]) for result in found] == [len(result["boxes"]) for result in expected]
    assert any(result["boxes"] for result in found)
    if batch == 1:
        assert found == expected
    for a, b in zip(found, expected, strict=True):
        for first, second in zip(a["boxes"], b["boxes"], strict=True):
            assert first["label"] == second["label"]
            np.testing.assert_allclose(first["coordinate"], second["coordinate"], atol=1e-3)


@pytest.mark.parametrize(("streams", "scenario"), [(1, "single-stream"), (2, "offline")])
def test_the_same_figures_as_the_benchmark(
    tool: Path, tiny_bundle: Path, pictures: list[Path], tmp_path: Path, streams: int, scenario: str
) -> None:
    """Of the samples that the tool has written, by the definitions of `instseg benchmark`."""
    report = tmp_path / "report.json"
    images = pictures[:3]
    done = run(tool, tiny_bundle, *images, "--duration", 0.5, "--batch", 2, "--streams", streams, "--report", report)
    assert done.returncode == 0, done.stderr
    found = json.loads(report.read_text())
    assert (found["scenario"], found["images"], found["configuration"]["streams"]) == (scenario, 3, streams)
    assert found["environment"]["cores"] == len(os.sched_getaffinity(0))
    assert found["instances"] == sum(len(result["boxes"]) for result in python_json(tiny_bundle, images, 0.5))
    samples = found["samples"]["samples_ms"]
    calls = len(samples["total"])
    assert calls >= 10
    assert found["images_per_second"] == pytest.approx(2 * calls / found["elapsed_s"])
    for stage, statistics in found["samples"]["statistics"].items():
        assert statistics == pytest.approx(dataclasses.asdict(compute_statistics(samples[stage])))
    assert list(samples) == ["decode", "preprocess", "inference", "postprocess", "total"]
    parts = np.sum([samples[stage] for stage in list(samples)[:-1]], axis=0)
    assert (np.array(samples["total"]) >= parts - 1e-3).all()
    estimates = [estimate(samples["total"], percentile) for percentile in (90, 99) if streams == 1]
    assert found["early_stopping"] == [dataclasses.asdict(each) for each in estimates]
    assert scenario in done.stdout


def test_options_that_do_not_go_together(tool: Path, tiny_bundle: Path, pictures: list[Path]) -> None:
    done = run(tool, tiny_bundle, pictures[0], "--report", "report.json")
    assert done.returncode == 2
    assert done.stderr == "instseg_run: --report needs --duration; instseg_run --help tells more\n"


@pytest.mark.parametrize("option", ["--report", "--json"])
def test_a_missing_folder_is_told_before_the_work(
    tool: Path, tiny_bundle: Path, pictures: list[Path], tmp_path: Path, option: str
) -> None:
    file = tmp_path / "none" / "out.json"
    done = run(tool, tiny_bundle, pictures[0], "--duration", 3600, option, file)
    assert done.returncode == 1
    assert done.stderr == f"instseg_run: error: cannot write {file}: there is no folder {file.parent}\n"


def test_a_missing_picture_is_one_line(tool: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    done = run(tool, tiny_bundle, tmp_path / "none.png", "--json", tmp_path / "out.json")
    assert done.returncode == 1
    assert "none.png" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("option", "given", "limits"), [("--threshold", "2", "from 0 to 1,"), ("--batch", "0", "from 1 to ")]
)
def test_limits_are_written_as_people_do(tool: Path, option: str, given: str, limits: str) -> None:
    done = run(tool, "x.bundle", "x.png", option, given)
    assert done.returncode == 2
    assert f"{option} must be a number {limits}" in done.stderr
    assert f"found '{given}'" in done.stderr
