"""The benchmark of the native code finds what its synthetic networks show."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_every_family_finds_the_objects(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    arguments = ["--size", "480x270", "--instances", "9", "--repeat", "1", "--report", str(report)]
    process = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "postprocess.py"), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    rows = json.loads(report.read_text())["results"]
    assert len(rows) == 5
    for row in rows:
        assert row["instances"] == 9, row
        assert (row["width"], row["height"]) == (480, 270)
        assert row["median_ms"] > 0
        assert row["preprocess_ms"] > 0
        assert str(row["model"]) in process.stdout


def test_a_row_for_every_combination() -> None:
    from postprocess import counts, sizes

    assert sizes("640x480,1920x1080") == [(640, 480), (1920, 1080)]
    assert counts("1,10,100") == [1, 10, 100]


@pytest.mark.parametrize("option", ["--size=640", "--size=0x480", "--instances=0", "--instances=1,x"])
def test_wrong_lists_are_refused(option: str) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "postprocess.py"), option]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 2
    assert "found '" in process.stderr.splitlines()[-1]
