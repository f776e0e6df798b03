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
    arguments = ["--height", "270", "--width", "480", "--instances", "9", "--repeat", "1", "--report", str(report)]
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
        assert row["median_ms"] > 0
        assert str(row["model"]) in process.stdout
