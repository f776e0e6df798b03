"""`instseg benchmark` on the tiny bundle: files, exit codes, Ctrl-C, errors of one line. No figure is judged."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from instseg_rt.benchmark.subjects import Call, PredictorSubject
from instseg_rt.cli import main

FAST = ("--duration", "0.05", "--warm-up", "0", "--threads", "1")


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main(["benchmark", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


def test_table_and_files(capsys: pytest.CaptureFixture[str], tiny_bundle: Path, photo: Path, tmp_path: Path) -> None:
    files = [tmp_path / "out" / name for name in ("report.json", "report.md")]
    options = ("--json", files[0], "--markdown", files[1], "--batch", "1,2")
    code, out, err = run(capsys, tiny_bundle, "--images", photo, *options, *FAST)
    assert (code, err) == (0, "")
    for text in ("decode", "postprocess", "median", "p99", "batch 2", "All runs", "MLPerf early-stopping"):
        assert text in out
    content = json.loads(files[0].read_text(encoding="utf-8"))
    assert [r["configuration"]["batch"] for r in content["runs"]] == [1, 2]
    assert content["runs"][0]["instances"] >= 2
    assert content["runs"][1]["instances"] == content["runs"][0]["instances"]  # the image is there twice in a batch
    assert not content["interrupted"]
    for measured in content["runs"]:
        samples = measured["samples"]["samples_ms"]
        parts = [samples[stage] for stage in ("decode", "preprocess", "inference", "postprocess")]
        assert all(sum(values) <= total + 0.01 for *values, total in zip(*parts, samples["total"], strict=True))
    assert "| inference |" in files[1].read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "scenario", [("offline", "--streams", "1,2"), ("server", "--qps", "50", "--latency-bound", "1000")]
)
def test_scenarios(
    capsys: pytest.CaptureFixture[str], tiny_bundle: Path, photo: Path, scenario: tuple[str, ...]
) -> None:
    code, out, err = run(capsys, tiny_bundle, "--images", photo, "--scenario", *scenario, *FAST, "--duration", "0.5")
    assert (code, err) == (0, "")
    assert "images per second" in out
    assert ("queries per second" in out) == (scenario[0] == "server")
    assert ("2 streams" in out) == (scenario[0] == "offline")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("missing.bundle",), "no such bundle"),
        (("TINY", "--images", "missing.jpg"), "missing.jpg"),
        (("TINY", "--batch", "x"), "--batch: expected whole numbers"),
        (("TINY", "--batch", "99"), "--batch: 99, but the largest batch"),
        (("TINY", "--device", "tpu"), "device: expected"),
        (("TINY", "--threshold", "7"), "threshold: expected"),
        (("TINY", "--compare", "torch"), "--compare: expected onnxruntime, openvino, paddlex"),
        (("TINY", "--qps", "3"), "--qps and --latency-bound are for"),
        (("TINY", "--plot", "x.txt"), "--plot: x.txt: expected a file that ends with"),
        (("TINY", "--json", "."), "expected a file to write, found a folder"),
    ],
)
def test_errors_are_one_line(
    capsys: pytest.CaptureFixture[str], tiny_bundle: Path, arguments: tuple[str, ...], message: str
) -> None:
    words = [str(tiny_bundle) if word == "TINY" else word for word in arguments]
    code, out, err = run(capsys, *words, *FAST)
    assert (code, out) == (1, "")
    assert message in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("scenario", [(), ("--scenario", "offline", "--streams", "2")])
def test_ctrl_c_gives_the_partial_table(
    capsys: pytest.CaptureFixture[str],
    tiny_bundle: Path,
    photo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    scenario: tuple[str, ...],
) -> None:
    call, count = PredictorSubject.__call__, itertools.count()

    def interrupted_call(self: PredictorSubject, images: Sequence[Path]) -> Call:
        if next(count) == 40:
            raise KeyboardInterrupt
        return call(self, images)

    monkeypatch.setattr(PredictorSubject, "__call__", interrupted_call)
    report = tmp_path / "report.json"
    options = ("--images", photo, "--json", report, *FAST, "--duration", "600", *scenario)
    code, out, err = run(capsys, tiny_bundle, *options)
    assert (code, err) == (130, "")
    assert "inference" in out
    assert "interrupted: the figures above are all that was measured" in out
    content = json.loads(report.read_text(encoding="utf-8"))
    assert content["interrupted"]
    assert content["runs"][0]["interrupted"]
    assert 30 <= content["runs"][0]["samples"]["statistics"]["total"]["count"] <= 40


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGINT")
def test_a_real_ctrl_c(tiny_bundle: Path, photo: Path, tmp_path: Path) -> None:
    """At any time: what has been measured by then depends on the machine."""
    report = tmp_path / "report.json"
    command = [sys.executable, "-m", "instseg_rt", "benchmark", str(tiny_bundle), "--images", str(photo)]
    options = ["--duration", "600", "--threads", "1", "--json", str(report)]
    with subprocess.Popen(
        [*command, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Tests that run in the background of a shell have SIGINT ignored, and so would their children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    ) as process:
        try:
            _wait_until_loaded(process)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=120)
        finally:
            process.kill()
    assert (process.returncode, err) == (130, "")
    assert "interrupted: the figures above are all that was measured" in out
    assert json.loads(report.read_text(encoding="utf-8"))["interrupted"]


def _wait_until_loaded(process: subprocess.Popen[str]) -> None:
    """Until the process has the plug-in in memory."""
    maps = Path(f"/proc/{process.pid}/maps")
    for _ in range(600):
        if process.poll() is not None or not maps.exists() or "openvino_intel_cpu" in maps.read_text():
            return
        time.sleep(0.1)
