"""`instseg_run`, the C++ tool, gives the JSON that Python gives."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.conftest import REPOSITORY

import instseg_rt
from instseg_rt.benchmark import early_stopping
from instseg_rt.benchmark.early_stopping import estimate
from instseg_rt.benchmark.records import ServerFigures
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


def test_a_server_waits_for_its_images(tool: Path, tiny_bundle: Path, pictures: list[Path], tmp_path: Path) -> None:
    """In the fields of `instseg benchmark`; latency counts from the arrival."""
    report = tmp_path / "report.json"
    server = ("--qps", 50, "--latency-bound", 5000, "--streams", 2, "--seed", 7)
    done = run(tool, tiny_bundle, *pictures[:3], "--duration", 1, *server, "--report", report)
    assert done.returncode == 0, done.stderr
    found = json.loads(report.read_text())
    assert (found["scenario"], found["early_stopping"], found["interrupted"]) == ("server", [], False)
    figures = ServerFigures(**found["server"])
    samples = found["samples"]["samples_ms"]
    assert list(samples) == ["wait", "decode", "preprocess", "inference", "postprocess", "total", "latency"]
    assert figures.queries == len(samples["total"]) + figures.unanswered
    assert figures.over == figures.unanswered + sum(each > 5000 for each in samples["latency"])
    assert figures.holds == early_stopping.is_shown(figures.over, figures.queries, 99)
    assert figures.needed == early_stopping.needed_calls(figures.over, 99)
    assert (np.array(samples["latency"]) >= np.add(samples["wait"], samples["total"]) - 1e-3).all()
    assert "p99 <= 5000 ms" in done.stdout


def test_a_server_without_a_query_is_one_line(tool: Path, tiny_bundle: Path, pictures: list[Path]) -> None:
    done = run(tool, tiny_bundle, pictures[0], "--duration", 0, "--qps", 5, "--latency-bound", 100)
    assert done.returncode == 1
    assert done.stderr == ("instseg_run: error: --qps: at 5 a second nothing arrives in 0 s: use a longer --duration\n")


@pytest.mark.parametrize("server", [(), ("--qps", 20, "--latency-bound", 5000)], ids=["calls", "server"])
def test_ctrl_c_keeps_the_figures(
    tool: Path, tiny_bundle: Path, pictures: list[Path], tmp_path: Path, server: tuple[object, ...]
) -> None:
    report = tmp_path / "report.json"
    command = [tool, tiny_bundle, pictures[0], "--duration", 3600, *server, "--report", report]
    # It measures after at most 15 s of warm-up; most machines need less than one.
    for seconds in (1, 5, 30):
        with subprocess.Popen(
            [*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            time.sleep(seconds)
            process.send_signal(signal.SIGINT)
            stdout, stderr = process.communicate(timeout=60)
        if report.is_file():
            break
    assert (process.returncode, stderr) == (130, "")
    assert "interrupted: the measurement ended before its time" in stdout
    found = json.loads(report.read_text())
    assert found["interrupted"] is True
    assert found["samples"]["statistics"]["total"]["count"] > 0


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
