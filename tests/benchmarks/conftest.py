"""The benchmarks are scripts: their folder is on the path as when one of them runs."""

from __future__ import annotations

import sys

from ..conftest import REPOSITORY

BENCHMARKS = REPOSITORY / "benchmarks"

sys.path.insert(0, str(BENCHMARKS))
