"""What disturbed a measurement, and where it ran."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from instseg_rt.benchmark import environment as environment_module
from instseg_rt.benchmark import noise as noise_module
from instseg_rt.benchmark.environment import environment, query_gpus, read_line
from instseg_rt.benchmark.noise import Noise, NoiseProbe, noise_notes, variation_percent
from instseg_rt.benchmark.statistics import Statistics, compute_statistics

QUIET = Noise(0.1, 0.0, 0.0, 0, 0, False)


def steady(**medians: float) -> dict[str, Statistics]:
    return {stage: compute_statistics([value] * 5) for stage, value in medians.items()}


def test_a_quiet_machine_gives_no_notes() -> None:
    assert noise_notes(QUIET, steady(inference=5.0, total=9.0), 2.0) == []
    unknown = Noise(None, None, None, None, None, None)
    assert noise_notes(unknown, steady(inference=5.0, total=9.0), None) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"others_percent": 40.0}, "other programs took 40%"),
        ({"stolen_percent": 3.0}, "the host took 3%"),
        ({"quota_stops": 12}, "stopped the process in 12 periods"),
        ({"thermal_throttles": 2}, "for heat 2 times"),
        ({"gpu_slowdown": True}, "the GPU lowers its clock"),
    ],
)
def test_notes(change: dict[str, float], words: str) -> None:
    (note,) = noise_notes(replace(QUIET, **change), steady(inference=5.0, total=9.0), 2.0)  # type: ignore[arg-type]
    assert words in note


def test_calls_that_vary_are_noted() -> None:
    (note,) = noise_notes(QUIET, steady(inference=5.0), 35.4)
    assert "vary by 35%" in note


def test_images_that_take_longer_than_others_are_no_variation() -> None:
    assert variation_percent([10.0, 10.0, 20.0], 1) == pytest.approx(100 * (200 / 9) ** 0.5 / (40 / 3))
    assert variation_percent([10.0, 50.0, 10.0, 50.0, 10.0], 2) == 0.0
    assert variation_percent([10.0, 50.0, 12.0, 50.0], 2) == pytest.approx(100 * (1 / 242) ** 0.5)
    assert variation_percent([10.0, 50.0, 10.0], 2) is None


def test_where_only_the_load_is_known() -> None:
    busy = replace(QUIET, others_percent=None, load_average=1000.0)
    (note,) = noise_notes(busy, steady(inference=5.0), None)
    assert "load average is 1000.0" in note


def test_a_slow_link_is_noted() -> None:
    notes = noise_notes(QUIET, steady(upload=6.0, inference=5.0, download=1.0, total=12.0), None)
    assert len(notes) == 1
    assert notes[0].startswith("upload takes as long as inference")


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="the system tells no CPU times")
def test_another_program_is_seen() -> None:
    probe = NoiseProbe(gpu=False)
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
        time.sleep(1.0)
        noise = probe.end()  # before it is waited for: then it would be one of ours
        other.kill()
    assert noise.others_percent is not None
    assert noise.others_percent > 0
    assert noise.gpu_slowdown is None


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="the system tells no CPU times")
def test_a_peer_in_its_own_process_is_no_disturbance() -> None:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as peer:
        time.sleep(0.5)
        seconds = noise_module._process_seconds(peer.pid)
        peer.kill()
    assert seconds > 0
    counted = noise_module._Counters.read(())
    assert noise_module._Counters.read((peer.pid,)).own_s >= counted.own_s  # it is gone: nothing to add
    assert noise_module._process_seconds(os.getpid()) == pytest.approx(sum(os.times()[:2]), abs=0.5)


def test_environment_is_plain_data() -> None:
    found = environment()
    assert found.cores >= 1
    assert found.packages["instseg-rt"]
    assert found.cpu in str(found)
    json.dumps(asdict(found))


def test_thread_settings_and_limits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    monkeypatch.setattr(environment_module, "_CGROUP", tmp_path)
    found = environment()
    assert found.variables["OMP_NUM_THREADS"] == "3"
    assert found.cpu_quota == 1.5
    assert "limited to 1.5" in str(found)
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert environment().cpu_quota is None


def test_no_gpu_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert query_gpus("name") == ()
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'GPU A, 1.0'\necho 'GPU B, 1.0'\n")
    tool.chmod(0o755)
    assert query_gpus("name") == ("GPU A, 1.0", "GPU B, 1.0")
    assert read_line(tmp_path / "missing") is None
