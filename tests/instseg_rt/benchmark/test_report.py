"""A report as JSON, tables and Markdown, and as a picture."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import cv2
import pytest

from instseg_rt.benchmark.accuracy import Accuracy
from instseg_rt.benchmark.early_stopping import estimate
from instseg_rt.benchmark.environment import environment
from instseg_rt.benchmark.errors import BenchmarkError
from instseg_rt.benchmark.noise import Noise
from instseg_rt.benchmark.plot import check_plot, latency_stage, plot_report
from instseg_rt.benchmark.ratios import paired_ratio
from instseg_rt.benchmark.records import Comparison, Configuration, Report, Run, Samples, ServerFigures
from instseg_rt.benchmark.report import (
    ABSENT,
    STATISTICS_COLUMNS,
    accuracy_lines,
    run_lines,
    run_tables,
    summary_table,
    to_markdown,
    write_json,
)
from instseg_rt.benchmark.warm_up import WarmUp


def make_run(**changes: Any) -> Run:
    calls = [{"decode": 1.0, "inference": float(i), "postprocess": 0.5, "total": i + 2.0} for i in range(1, 101)]
    samples = Samples.of(calls)
    configuration = Configuration("a.bundle", "A", "solov2", "cpu", "b 1", "fp32", None, 1, 1, 0.5)
    settings: dict[str, Any] = {
        "configuration": configuration,
        "scenario": "single-stream",
        "images": 2,
        "instances": 7,
        "load_s": 0.25,
        "warm_up": WarmUp(15, 0.4, True, (1.0, 1.0, 1.0)),
        "elapsed_s": 5.25,
        "images_per_second": 19.05,
        "samples": samples,
        "early_stopping": [estimate(samples.samples_ms["total"], percentile) for percentile in (90, 99)],
        "server": None,
        "comparisons": [],
        "noise": Noise(0.5, 1.0, 0.0, None, None, None),
        "notes": ["noisy: a note"],
    }
    return Run(**{**settings, **changes})


def compared() -> Run:
    run = make_run(images_per_second=None)
    theirs = Samples.of([{"decode": 1.0, "total": 2 * value} for value in run.samples.samples_ms["total"]])
    ratios = {s: paired_ratio(run.samples.samples_ms[s], theirs.samples_ms[s]) for s in ("decode", "total")}
    run.comparisons.append(Comparison("peer", "9.9", WarmUp(15, 0.4, True, (1.0,)), theirs, ratios))
    return run


def test_stages_that_a_device_lacks_are_absent_not_zero() -> None:
    (table,) = run_tables(make_run())
    rows = {row[0]: row[1:] for row in table.rows}
    assert list(rows) == ["decode", "preprocess", "upload", "inference", "postprocess", "download", "total"]
    for stage in ("preprocess", "upload", "download"):
        assert set(rows[stage]) == {ABSENT}
    assert dict(zip(STATISTICS_COLUMNS[1:], rows["inference"])) == {
        "n": "100",
        "min": "1.00",
        "mean": "50.50",
        "median": "50.50",
        "p90": "90.00",
        "p95": "95.00",
        "p99": "100.00",
        "max": "100.00",
        "CV %": "57.2",
    }
    assert table.title == "A, b 1, cpu, fp32, batch 1; single-stream; 7 instances in 2 images"


def test_stages_of_a_device_that_has_them() -> None:
    call = {"decode": 1.0, "preprocess": 1.0, "upload": 0.2, "inference": 3.0, "download": 0.1, "total": 6.0}
    (table,) = run_tables(make_run(samples=Samples.of([call])))
    assert {row[0]: row[4] for row in table.rows}["upload"] == "0.20"


def test_ratios_of_peers() -> None:
    tables = run_tables(compared())
    assert [table.title.split(",")[0] for table in tables] == ["A", "peer 9.9", "Median of the paired ratios"]
    assert [row[0] for row in tables[1].rows] == ["decode", "total"]
    (row,) = tables[2].rows
    cells = dict(zip(tables[2].columns, row))
    assert cells["total"] == "2.00 (2.00 – 2.00)"
    assert cells["inference"] == ABSENT


def test_lines() -> None:
    lines = run_lines(make_run())
    assert lines[0] == "19.1 images per second over 5.2 s"
    assert lines[1] == "MLPerf early-stopping estimate of p90: 100.00 ms"
    assert lines[2] == "MLPerf early-stopping estimate of p99: none, it needs 662 calls"
    assert lines[-1] == "noisy: a note"
    server = ServerFigures(5.0, 5.1, 4.9, 100.0, 50, 2, 3, 1000, False)
    (told,) = [line for line in run_lines(make_run(server=server, early_stopping=[])) if "asked for" in line]
    assert "3 of 50 took more than 100 ms, 2 got no answer: p99 <= 100 ms does not hold" in told


def test_markdown_has_every_row() -> None:
    accuracy = Accuracy("set", 4, 0.5, 0.75, 0.6, 0.55)
    report = Report(environment(), {}, [compared(), make_run(accuracy=accuracy)], interrupted=True)
    text = to_markdown(report)
    assert "| ms | n | min | mean | median | p90 | p95 | p99 | max | CV % |" in text
    assert "| peer | 1.00 (1.00 – 1.00) |" in text
    assert f"- {accuracy_lines(report.runs[1])[0]}" in text
    assert "on 4 images of set: mask AP 0.5000, AP50 0.7500" in text
    assert "interrupted" in text
    widths = {line.count("|") for line in text.splitlines() if line.startswith("| ") and "fp32" in line}
    assert widths == {len(summary_table(report.runs).columns) + 1}


def test_json_has_every_sample(tmp_path: Path) -> None:
    file = tmp_path / "folder" / "report.json"
    write_json(Report(environment(), {"threads": 2}, [compared()]), file)
    content = json.loads(file.read_text(encoding="utf-8"))
    assert (content["command"], content["schema_version"], content["settings"]) == ("benchmark", 1, {"threads": 2})
    (run,) = content["runs"]
    assert run["samples"]["samples_ms"]["inference"] == [float(i) for i in range(1, 101)]
    assert run["samples"]["statistics"]["inference"]["p99"] == 100.0
    assert run["comparisons"][0]["samples"]["samples_ms"]["decode"] == [1.0] * 100
    assert run["comparisons"][0]["ratios"]["total"]["pairs"] == 100
    assert content["environment"]["cores"] >= 1
    assert [entry.name for entry in file.parent.iterdir()] == ["report.json"]


def test_plot(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    runs = [make_run(accuracy=Accuracy("set", 4, 0.5, 0.75, 0.6, 0.55)), compared()]
    sizes = {}
    for count in (1, 2):
        file = tmp_path / f"{count}.png"
        check_plot(file)
        plot_report(Report(environment(), {}, runs[2 - count :]), file)
        picture = cv2.imread(str(file))
        assert picture is not None
        assert len(set(map(tuple, picture.reshape(-1, 3)))) > 20
        sizes[count] = picture.shape[1]
    # Where AP was measured, a second picture stands beside the first.
    assert sizes[2] > 1.5 * sizes[1]
    plot_report(Report(environment(), {}, runs), tmp_path / "vector.svg")
    assert "<svg" in (tmp_path / "vector.svg").read_text(encoding="utf-8")


def test_plots_that_cannot_be_made_are_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BenchmarkError, match=r"ends with \.png, \.svg, \.pdf"):
        check_plot(tmp_path / "plot.txt")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(BenchmarkError, match="--plot needs matplotlib"):
        check_plot(tmp_path / "plot.png")


def test_a_server_is_plotted_from_the_arrival() -> None:
    samples = Samples.of([{"wait": 1.0, "total": 2.0, "latency": 3.0}])
    assert latency_stage(make_run(samples=samples)) == "latency"
    assert latency_stage(make_run()) == "total"
    assert summary_table([make_run(samples=samples)]).rows[0][2] == "3.00"
