"""Options that cannot be measured are refused in one line, before anything is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from instseg_rt.benchmark.errors import BenchmarkError
from instseg_rt.benchmark.options import Options, combinations, numbers, words
from instseg_rt.benchmark.scenarios import Limits

SERVER = {"scenario": "server", "qps": 5.0, "latency_bound_ms": 100.0}
PADDLEX = {"paddlex_python": Path("python"), "paddlex_model": Path("model")}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batches": (0,)}, "--batch: expected whole numbers"),
        ({"batches": ()}, "--batch: expected whole numbers"),
        ({"scenario": "offline", "streams": (0, 1)}, "--streams: expected whole numbers"),
        ({"streams": (1, 2)}, "single-stream has one call at a time"),
        ({"threads": 0}, "--threads: expected at least 1"),
        ({"limits": Limits(-1.0)}, "--duration: expected seconds"),
        ({"limits": Limits(float("nan"))}, "--duration: expected seconds"),
        ({"warm_up_s": float("inf")}, "--warm-up: expected seconds"),
        ({"scenario": "multi"}, "--scenario: expected"),
        ({"scenario": "server"}, "needs --qps and --latency-bound"),
        ({**SERVER, "qps": 0.0}, "--qps: expected a number above 0"),
        ({**SERVER, "latency_bound_ms": float("nan")}, "--latency-bound: expected a number above 0"),
        ({**SERVER, "batches": (2,)}, "single images"),
        ({"qps": 5.0}, "are for --scenario server"),
        ({"compare": ("openvin",)}, "did you mean openvino"),
        ({"compare": ("openvino", "openvino")}, "named twice"),
        ({"compare": ("openvino",), "batches": (2,)}, "peers run single images"),
        ({"compare": ("openvino",), "precisions": ("bf16",)}, "peers run single images"),
        ({"compare": ("openvino",), "scenario": "offline"}, "peers run single images"),
        ({"compare": ("openvino",), "device": "gpu:0"}, "peers run single images"),
        ({"compare": ("paddlex",)}, "goes with --paddlex-python"),
        ({"compare": ("paddlex",), "paddlex_python": Path("python")}, "goes with --paddlex-python"),
        (PADDLEX, "goes with --paddlex-python"),
        ({"compare": ("paddlex",), **PADDLEX, "bundles": ("a", "b")}, "one model folder is one bundle"),
    ],
)
def test_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BenchmarkError, match=message) as caught:
        Options(**{"bundles": ("a",), **changes})
    assert "\n" not in str(caught.value)


def test_accepted() -> None:
    Options(("a",), **SERVER, streams=(1, 2))
    Options(("a",), compare=("onnxruntime", "paddlex"), **PADDLEX)


def test_lists() -> None:
    assert numbers("1,4, 8,4", "--batch") == (1, 4, 8)
    assert words("a, b") == ("a", "b")
    assert words(None) == ()
    for text in ("", "1,,2", "-1", "x", "1.5"):
        with pytest.raises(BenchmarkError, match="--batch: expected whole numbers"):
            numbers(text, "--batch")


def test_every_combination_is_measured() -> None:
    options = Options(("a", "b"), precisions=("fp32", "bf16"), streams=(1, 2), scenario="offline")
    assert len(combinations(options)) == 8
    assert combinations(options)[:3] == [("a", "fp32", 1), ("a", "fp32", 2), ("a", "bf16", 1)]
