"""The table of the ops is made of Google Benchmark's aggregates."""

from __future__ import annotations

from typing import Any

import pytest

from ops import compute_rows
from report import BenchmarkError


def entries(name: str, milliseconds: float, byte_count: float, operations: float) -> list[dict[str, Any]]:
    common = {"name": name, "run_name": f"{name}/real_time", "bytes": byte_count, "operations": operations}
    return [
        common | {"aggregate_name": "median", "real_time": milliseconds},
        common | {"aggregate_name": "cv", "real_time": 0.02},
    ]


MACHINE = [*entries("memory_copy", 10.0, 1e8, 0.0), *entries("multiply_add", 10.0, 0.0, 5e8)]


def test_an_op_is_compared_with_the_machine() -> None:
    rows = compute_rows({"benchmarks": [*entries("align_rois/100/14", 4.0, 2e7, 5e7), *MACHINE]})
    assert [row.op for row in rows] == ["memory_copy", "multiply_add", "align_rois/100/14"]
    assert rows[2].of_memory == pytest.approx(0.5)  # 2 ms of 4
    assert rows[2].of_arithmetic == pytest.approx(0.25)
    assert rows[0].of_memory == pytest.approx(1.0)


def test_without_the_machines_rates_there_is_no_table() -> None:
    with pytest.raises(BenchmarkError, match="memory_copy"):
        compute_rows({"benchmarks": entries("paste_masks", 1.0, 1.0, 1.0)})


def test_a_benchmark_that_failed_is_named() -> None:
    failed = {"name": "paste_masks", "error_occurred": True, "error_message": "no masks"}
    with pytest.raises(BenchmarkError, match="paste_masks: no masks"):
        compute_rows({"benchmarks": [failed, *MACHINE]})
