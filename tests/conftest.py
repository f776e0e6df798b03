"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]

# Paddle computes with one thread unless told otherwise before its import; the tests of whole models want all cores.
for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, str(len(os.sched_getaffinity(0))))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the reference kit and the small real data sets; the test skips where it is not there."""
    folder = Path(os.environ.get("INSTSEG_SHARED", REPOSITORY.parent / "shared"))
    if not (folder / "reference").is_dir():
        pytest.skip(f"reference kit not found at {folder} (set INSTSEG_SHARED to its folder)")
    return folder
