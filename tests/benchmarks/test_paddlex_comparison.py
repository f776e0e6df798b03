"""The table against PaddleX: operations counted in graphs, rows from reports, going on from reports that are there."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from ..tiny_bundle import write_tiny_bundle
from .conftest import BENCHMARKS


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    image = np.full((64, 64, 3), 20, np.uint8)
    image[0:32, 0:32] = (10, 10, 250)
    file = tmp_path / "photo.png"
    cv2.imwrite(str(file), image)
    return file


def graph(file: Path, node: onnx.NodeProto, inputs: list[tuple[int | str, ...]], weights: tuple[int, ...]) -> Path:
    """One node with inputs `x` (and `y`), and weights `w` where it has such."""
    names = ["x", "y"][: len(inputs)]
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in zip(names, inputs, strict=True)]
    constants = [helper.make_tensor("w", TensorProto.FLOAT, weights, np.ones(weights, np.float32).ravel())]
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, None)
    made = helper.make_graph([node], "g", values, [out], initializer=constants if weights else [])
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), file)
    return file


def test_operations_of_a_convolution_follow_the_shape_of_the_input(tmp_path: Path) -> None:
    from stage_operations import graph_operations

    node = helper.make_node("Conv", ["x", "w"], ["out"], strides=[2, 2], pads=[1, 1, 1, 1])
    file = graph(tmp_path / "conv.onnx", node, [("n", 4, "h", "v")], (8, 4, 3, 3))
    assert graph_operations(file, {"x": (2, 4, 10, 12)}) == 2 * (2 * 8 * 5 * 6) * (4 * 3 * 3)


def test_operations_of_groups(tmp_path: Path) -> None:
    from stage_operations import graph_operations

    node = helper.make_node("Conv", ["x", "w"], ["out"], group=4)
    file = graph(tmp_path / "depthwise.onnx", node, [(1, 4, 10, 10)], (4, 1, 3, 3))
    assert graph_operations(file, {"x": (1, 4, 10, 10)}) == 2 * (4 * 8 * 8) * (3 * 3)


def test_operations_of_a_transposed_convolution(tmp_path: Path) -> None:
    from stage_operations import graph_operations

    node = helper.make_node("ConvTranspose", ["x", "w"], ["out"], strides=[2, 2])
    file = graph(tmp_path / "transposed.onnx", node, [(1, 6, 7, 7)], (6, 5, 2, 2))
    assert graph_operations(file, {"x": (1, 6, 7, 7)}) == 2 * (6 * 7 * 7) * (5 * 2 * 2)


def test_operations_of_matrix_products(tmp_path: Path) -> None:
    from stage_operations import graph_operations

    file = graph(tmp_path / "product.onnx", helper.make_node("MatMul", ["x", "y"], ["out"]), [(3, 4, 5), (3, 5, 6)], ())
    assert graph_operations(file, {"x": (3, 4, 5), "y": (3, 5, 6)}) == 2 * 3 * 4 * 6 * 5
    node = helper.make_node("Gemm", ["x", "y"], ["out"], transA=1)
    file = graph(tmp_path / "gemm.onnx", node, [(5, 4), (5, 6)], ())
    assert graph_operations(file, {"x": (5, 4), "y": (5, 6)}) == 2 * 4 * 6 * 5


def test_row(tmp_path: Path) -> None:
    from paddlex_comparison import ONEDNN_VARIABLE, cells, make_row

    statistics = {"total": {"median": 110.0}, "inference": {"median": 100.0}}
    peer = {
        "peer": "paddlex",
        "samples": {"statistics": {"total": {"median": 990.0}}, "samples_ms": {"total": [980.0, 990.0, 1000.0]}},
        "ratios": {"total": {"median": 9.0, "low": 8.5, "high": 9.5, "pairs": 10}},
    }
    measured = {
        "configuration": {"model": "M"},
        "instances": 7,
        "samples": {"statistics": statistics},
        "comparisons": [peer],
        "notes": [],
    }
    report = {"runs": [measured], "environment": {"variables": {ONEDNN_VARIABLE: "False"}}}
    row = make_row([report], operations=10e9, rate=200e9)
    assert (row.ratio, row.rest, row.of_peak, row.onednn) == (9.0, pytest.approx(0.1), pytest.approx(0.5), False)
    assert row.at_peak == pytest.approx(990 / 50)
    whole = (
        "M *",
        "7",
        "1",
        "990",
        "110",
        "9.0 (8.5 to 9.5)",
        "8",
        "–",
        "–",
        "14",
        "100",
        "10.0%",
        "10",
        "50%",
        "19.8",
    )
    assert cells(row) == whole
    bf16 = {"statistics": {"total": {"median": 55.0}}, "samples_ms": {"total": [49.0, 55.0, 50.0]}}
    measured["comparisons"] = [{"peer": "bf16", "samples": bf16}, peer]
    assert cells(make_row([report], operations=10e9, rate=200e9))[7:10] == ("55", "20.0 (18.0 to 20.0)", "14")


def test_row_of_several_runs() -> None:
    """The medians of the runs, and an interval that covers theirs."""
    from paddlex_comparison import cells, make_row

    def report(bundle_ms: float, ratio: float) -> dict[str, object]:
        paddlex_ms = bundle_ms * ratio
        peer = {
            "peer": "paddlex",
            "samples": {"statistics": {"total": {"median": paddlex_ms}}, "samples_ms": {"total": [paddlex_ms] * 3}},
            "ratios": {"total": {"median": ratio, "low": ratio - 0.5, "high": ratio + 0.5, "pairs": 10}},
        }
        bf16_ms = bundle_ms / 2
        bf16 = {"statistics": {"total": {"median": bf16_ms}}, "samples_ms": {"total": [bf16_ms] * 3}}
        run = {
            "configuration": {"model": "M"},
            "instances": 7,
            "samples": {"statistics": {"total": {"median": bundle_ms}, "inference": {"median": bundle_ms - 10.0}}},
            "comparisons": [peer, {"peer": "bf16", "samples": bf16}],
            "notes": [f"a note of {bundle_ms:g}"],
        }
        return {"runs": [run], "environment": {"variables": {}}}

    row = make_row([report(110.0, 8.0), report(120.0, 5.0), report(100.0, 9.0)], operations=10e9, rate=200e9)
    assert cells(row)[2:9] == ("3", "880", "110", "8.0 (4.5 to 9.5)", "8", "55", "16.0 (10.0 to 18.0)")
    assert row.networks_ms == 100.0
    assert row.rest == pytest.approx(0.1)
    assert row.of_peak == pytest.approx(0.5)
    assert row.at_peak == pytest.approx(880 / 50)
    assert len(row.notes) == 3


def compare(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCHMARKS / "paddlex_comparison.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_goes_on_from_reports_and_names_what_failed(tmp_path: Path, photo: Path) -> None:
    """Another peer's report stands for PaddleX's, which this machine may not have; a model without one fails."""
    pytest.importorskip("onnxruntime", reason="counts operations with ONNX Runtime: needs the [export] extra")
    bundles, reports = tmp_path / "bundles", tmp_path / "reports"
    measured = write_tiny_bundle(bundles / "PP-YOLOE_seg-N.bundle")
    write_tiny_bundle(bundles / "PP-YOLOE_seg-S.bundle")
    reports.mkdir()
    benchmark = [
        *(sys.executable, "-m", "instseg_rt", "benchmark", str(measured), "--images", str(photo), "--duration", "0"),
        *("--warm-up", "0", "--compare", "openvino", "--json", str(reports / "PP-YOLOE_seg-N.json")),
    ]
    subprocess.run(benchmark, check=True, capture_output=True, timeout=120)
    file = reports / "PP-YOLOE_seg-N.json"
    file.write_text(file.read_text().replace('"peer": "openvino"', '"peer": "paddlex"'))
    python = ("--paddlex-python", tmp_path / "no python", "--image", photo, "--reports", reports)
    done = compare(
        bundles, tmp_path / "models", *python, "--report", tmp_path / "all.json", "--markdown", tmp_path / "table.md"
    )
    assert done.returncode == 0, done.stderr
    assert "PP-YOLOE_seg-N: from" in done.stderr
    content = json.loads((tmp_path / "all.json").read_text(encoding="utf-8"))
    (row,) = content["results"]["rows"]
    assert (row["ratio"] > 0, row["operations"] > 0, row["onednn"]) == (True, True, True)
    assert content["settings"]["operations_per_second"] > 1e8
    (failed,) = content["results"]["failed"]
    assert failed.startswith("PP-YOLOE_seg-S: ")
    assert "expected a model that PaddleX exported" in failed
    assert failed in done.stdout
    header, rule, line = (tmp_path / "table.md").read_text(encoding="utf-8").splitlines()
    assert header.count("|") == rule.count("|") == line.count("|") == 16
    assert line.startswith("| tiny | 4 | 1 | ")


def test_what_counts_as_measured(tmp_path: Path) -> None:
    from paddlex_comparison import is_measured
    from report import BenchmarkError

    file = tmp_path / "report.json"
    assert not is_measured(file, Path("a.png"))
    file.write_text(json.dumps({"interrupted": True, "settings": {"images": ["a.png"]}}))
    assert not is_measured(file, Path("a.png"))
    file.write_text(json.dumps({"interrupted": False, "settings": {"images": ["a.png"]}}))
    assert is_measured(file, Path("a.png"))
    with pytest.raises(BenchmarkError, match=r"is of a\.png, expected b\.png"):
        is_measured(file, Path("b.png"))


def test_reports_of_further_runs_count(tmp_path: Path) -> None:
    from paddlex_comparison import measure_runs

    arguments = argparse.Namespace(reports=tmp_path, image=Path("a.png"), runs=2)
    for name in ("M.json", "M-2.json", "M-3.json", "M-5.json"):
        (tmp_path / name).write_text(json.dumps({"interrupted": False, "settings": {"images": ["a.png"]}}))
    assert [file.name for file in measure_runs(Path("M.bundle"), arguments)] == ["M.json", "M-2.json", "M-3.json"]


def test_unknown_model_is_one_line(tmp_path: Path, photo: Path) -> None:
    write_tiny_bundle(tmp_path / "bundles" / "mine.bundle")
    done = compare(
        tmp_path / "bundles", tmp_path, "--paddlex-python", "python", "--image", photo, "--report", tmp_path / "r"
    )
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "mine" in done.stderr
