"""A whole benchmark with a fake predictor and a fake clock: every figure follows from the times of the calls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from instseg_rt.benchmark.errors import BenchmarkError
from instseg_rt.benchmark.options import Options
from instseg_rt.benchmark.records import Report, Run
from instseg_rt.benchmark.run import run_benchmark
from instseg_rt.benchmark.scenarios import Limits

from .conftest import FakeClock, FakePredictor


class Factory:
    """Makes fake predictors, and keeps them."""

    def __init__(self, clock: FakeClock, interrupt_at: int | None = None) -> None:
        self.made: list[FakePredictor] = []
        self._clock = clock
        self._interrupt_at = interrupt_at

    def __call__(self, bundle: str, **options: Any) -> FakePredictor:
        self._clock.sleep(2.0)
        predictor = FakePredictor(self._clock, bundle, options, self._interrupt_at)
        self.made.append(predictor)
        return predictor


def run(clock: FakeClock, factory: Factory, photo: Path, **options: Any) -> tuple[Report, list[Run]]:
    seen: list[Run] = []
    settings = {"bundles": ("x",), "images": (str(photo),), "limits": Limits(1.0), **options}
    report = run_benchmark(Options(**settings), on_run=seen.append, clock=clock, make_predictor=factory)  # type: ignore[arg-type]
    return report, seen


def test_single_stream(clock: FakeClock, photo: Path) -> None:
    factory = Factory(clock)
    report, seen = run(clock, factory, photo, threads=3, threshold=0.25)
    assert report.runs == seen
    (only,) = seen
    assert (only.configuration.model, only.configuration.batch, only.configuration.threads) == ("model of x", 1, 3)
    assert only.configuration.threshold == 0.25
    assert factory.made[0].options["threads"] == 3
    assert only.load_s == pytest.approx(2.0)
    medians = {stage: statistics.median for stage, statistics in only.samples.statistics.items()}
    # What a CPU does not have is not there.
    assert medians == pytest.approx(
        {"decode": 1.0, "preprocess": 2.0, "inference": 5.0, "postprocess": 1.0, "total": 10.0}
    )
    assert [len(values) for values in only.samples.samples_ms.values()] == [100] * 5
    assert only.images_per_second == pytest.approx(100.0)
    assert [(e.percentile, e.needed) for e in only.early_stopping] == [(90, 64), (99, 662)]
    assert only.early_stopping[0].latency == pytest.approx(10.0)
    assert only.early_stopping[1].latency is None
    assert (only.warm_up.stable, only.interrupted, report.interrupted) == (True, False, False)
    assert any(note.startswith("nothing was found") for note in only.notes)
    # One pass over the images, the warm-up, the measurement: nothing else is run.
    assert factory.made[0].calls == 1 + 15 + 100


def test_the_bundle_itself_in_another_precision(clock: FakeClock, photo: Path) -> None:
    factory = Factory(clock)
    report, _ = run(clock, factory, photo, precisions=("fp32",), threads=2, threshold=0.25, compare=("bf16",))
    (comparison,) = report.runs[0].comparisons
    assert (comparison.peer, comparison.version) == ("bf16", "fake 1.0")
    assert comparison.ratios["total"].median == pytest.approx(1.0)
    first, other = factory.made
    assert [first.precision, other.precision] == ["fp32", "bf16"]
    assert {key: other.options[key] for key in ("threads", "threshold")} == {"threads": 2, "threshold": 0.25}
    assert other.calls == first.calls  # in turns
    assert other.bundle == "closed"


def test_every_combination(clock: FakeClock, photo: Path) -> None:
    factory = Factory(clock)
    report, _ = run(clock, factory, photo, bundles=("x", "y"), batches=(1, 4), precisions=("fp32", "bf16"))
    found = [(r.configuration.bundle, r.configuration.precision, r.configuration.batch) for r in report.runs]
    assert found == [(b, p, n) for b in "xy" for p in ("fp32", "bf16") for n in (1, 4)]
    assert [predictor.warmed_up for predictor in factory.made] == [[1, 4]] * 4
    batch = report.runs[1].samples.statistics
    # Decoding is of each image, the other stages are of the batch.
    assert (batch["decode"].median, batch["inference"].median, batch["total"].median) == pytest.approx((4.0, 5.0, 13.0))
    assert report.runs[1].images_per_second == pytest.approx(4 / 0.013)


def test_offline(clock: FakeClock, photo: Path) -> None:
    report, _ = run(clock, Factory(clock), photo, scenario="offline", batches=(2,))
    (only,) = report.runs
    assert only.images_per_second == pytest.approx(2 / 0.011)
    assert only.early_stopping == []
    assert only.server is None


def test_server(clock: FakeClock, photo: Path) -> None:
    settings = {"scenario": "server", "limits": Limits(60.0)}
    report, _ = run(clock, Factory(clock), photo, qps=20.0, latency_bound_ms=1000.0, **settings)
    (only,) = report.runs
    server = only.server
    assert server is not None
    assert server.queries == only.samples.statistics["latency"].count
    assert server.arrived_qps == pytest.approx(20.0, rel=0.1)
    assert (server.over, server.unanswered, server.holds) == (0, 0, True)
    latency, wait, total = (only.samples.samples_ms[stage] for stage in ("latency", "wait", "total"))
    assert latency == pytest.approx([w + t for w, t in zip(wait, total, strict=True)])
    # 20 a second are 20% of what it can do: some arrive while another is worked on.
    assert 0 < sum(w > 1e-3 for w in wait) < 0.4 * len(wait)

    strict, _ = run(clock, Factory(clock), photo, qps=20.0, latency_bound_ms=12.0, **settings)
    figures = strict.runs[0].server
    assert figures is not None
    assert figures.over == sum(value > 12.0 for value in latency) > 0
    assert not figures.holds

    with pytest.raises(BenchmarkError, match="nothing arrives in 60 s"):
        run(clock, Factory(clock), photo, qps=1e-6, latency_bound_ms=12.0, **settings)

    beyond, _ = run(clock, Factory(clock), photo, qps=300.0, latency_bound_ms=50.0, **settings)
    figures = beyond.runs[0].server
    assert figures is not None
    assert figures.unanswered > 0.25 * figures.queries
    assert figures.answered_qps == pytest.approx(100.0, rel=0.01)
    assert not figures.holds


@pytest.mark.parametrize("scenario", ["single-stream", "offline"])
def test_ctrl_c_keeps_what_was_measured(clock: FakeClock, photo: Path, scenario: str) -> None:
    # In the 31st call of the measurement: one pass and the warm-up are before it.
    report, seen = run(clock, Factory(clock, interrupt_at=16 + 30), photo, bundles=("x", "y"), scenario=scenario)
    assert report.interrupted
    assert len(seen) == len(report.runs) == 1
    only = report.runs[0]
    assert only.interrupted
    assert only.samples.statistics["total"].count == 30
    assert any(note.startswith("interrupted") for note in only.notes)


@pytest.mark.parametrize("interrupt_at", [0, 3, 16])
def test_ctrl_c_before_the_first_measured_call(clock: FakeClock, photo: Path, interrupt_at: int) -> None:
    report, seen = run(clock, Factory(clock, interrupt_at), photo)
    assert report.interrupted
    assert seen == report.runs == []


def test_a_batch_that_the_bundle_does_not_have(clock: FakeClock, photo: Path) -> None:
    with pytest.raises(BenchmarkError, match="--batch: 8, but the largest batch of x is 4"):
        run(clock, Factory(clock), photo, batches=(1, 8))


def test_images_are_still_pictures_in_files(clock: FakeClock, photo: Path, tmp_path: Path) -> None:
    import cv2
    import numpy as np

    from instseg_rt.errors import IoError

    factory = Factory(clock)
    with pytest.raises(IoError, match="missing"):
        run(clock, factory, tmp_path / "missing.jpg")
    pages = tmp_path / "pages.tiff"
    cv2.imwritemulti(str(pages), [np.zeros((8, 8, 3), np.uint8)] * 2)
    with pytest.raises(BenchmarkError, match="one picture each"):
        run(clock, factory, pages)
    assert factory.made == []


def test_a_warm_up_that_does_not_settle_is_noted(clock: FakeClock, photo: Path) -> None:
    report, _ = run(clock, Factory(clock), photo, warm_up_s=0.0)
    assert any("was not stable after" in note for note in report.runs[0].notes)
