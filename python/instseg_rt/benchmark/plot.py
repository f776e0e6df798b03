"""Pictures of a report: the distribution of the latency of each run, and accuracy against latency."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from instseg_rt.benchmark.errors import BenchmarkError
from instseg_rt.benchmark.records import Report, Run
from instseg_rt.benchmark.subjects import LATENCY, TOTAL
from instseg_rt.files import write_atomically

SUFFIXES = (".png", ".svg", ".pdf")
_SLOWEST_SHOWN = 0.995  # part of the calls that the axis reaches; few outliers would press the curves together


def check_plot(file: Path) -> None:
    """Raises `BenchmarkError` where no picture of this kind can be made; asked before anything is measured."""
    if file.suffix.lower() not in SUFFIXES:
        raise BenchmarkError(f"--plot: {file}: expected a file that ends with {', '.join(SUFFIXES)}")
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise BenchmarkError(f"--plot needs matplotlib ({error}): pip install matplotlib") from error


def plot_report(report: Report, file: Path) -> None:
    """Left the share of calls that took at most so long; right, where AP was measured, AP against the median."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    scored = [run for run in report.runs if run.accuracy is not None]
    figure = Figure(figsize=(13 if scored else 7.5, 4.8), layout="constrained", dpi=120)
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2 if scored else 1, squeeze=False)[0]
    _plot_distributions(axes[0], report.runs)
    if scored:
        _plot_accuracy(axes[1], scored)
    content = io.BytesIO()
    figure.savefig(content, format=file.suffix[1:].lower())
    write_atomically(file, content.getvalue())


def latency_stage(run: Run) -> str:
    """What a user of this scenario waits for: of a server from the arrival, otherwise the call."""
    return LATENCY if LATENCY in run.samples.samples_ms else TOTAL


def _plot_distributions(axes: Any, runs: Sequence[Run]) -> None:
    curves = []
    for label, run in zip(_labels(runs), runs):
        name = f"{label}: instseg-rt" if run.comparisons else label
        curves.append((name, run.samples.samples_ms[latency_stage(run)]))
        curves += [(f"{label}: {c.peer}", c.samples.samples_ms[TOTAL]) for c in run.comparisons]
    reach = 0.0
    for index, (label, samples) in enumerate(curves):
        ordered = sorted(samples)
        reach = max(reach, ordered[math.ceil(_SLOWEST_SHOWN * (len(ordered) - 1))])
        shares = [i / len(ordered) for i in range(len(ordered) + 1)]
        axes.step([ordered[0], *ordered], shares, where="post", label=label, color=f"C{index % 10}", lw=1.6)
    axes.axhline(0.5, color="0.8", lw=0.8, zorder=0)
    axes.axhline(0.99, color="0.8", lw=0.8, zorder=0)
    fastest = min(min(samples) for _, samples in curves)
    margin = 0.04 * (reach - fastest)
    axes.set(
        xlim=(fastest - margin, reach + margin) if reach > fastest else None,
        ylim=(0, 1.01),
        xlabel="latency of a call, ms",
        ylabel="share of the calls",
        title="Calls that took at most so long",
    )
    axes.legend(loc="lower right", fontsize="small")


def _plot_accuracy(axes: Any, runs: Sequence[Run]) -> None:
    reach = 0.0
    for index, (label, run) in enumerate(zip(_labels(runs), runs)):
        statistics = run.samples.statistics[latency_stage(run)]
        assert run.accuracy is not None
        reach = max(reach, statistics.p99)
        # From the median to the 99th percentile.
        spread = [[0.0], [max(statistics.p99 - statistics.median, 0.0)]]
        style = {"fmt": "o", "color": f"C{index % 10}", "capsize": 3}
        axes.errorbar([statistics.median], [run.accuracy.mask_ap], xerr=spread, label=label, **style)
    axes.set(xlabel="latency of a call, ms: median to 99th percentile", ylabel="mask AP", title="Accuracy and latency")
    axes.set_xlim(0, 1.1 * reach)
    axes.margins(y=0.3)
    axes.grid(color="0.9")
    axes.legend(fontsize="small")


def _labels(runs: Sequence[Run]) -> list[str]:
    """The model, and what tells runs apart."""
    tell = ("bundle", "backend", "device", "precision", "batch", "streams")
    values = {key: {getattr(run.configuration, key) for run in runs} for key in tell}
    labels = []
    for run in runs:
        configuration = run.configuration
        same_model = {other.configuration.bundle for other in runs if other.configuration.model == configuration.model}
        parts = [Path(configuration.bundle).name if len(same_model) > 1 else configuration.model]
        if len(values["backend"]) > 1:
            parts.append(configuration.backend)
        if len(values["device"]) > 1:
            parts.append(configuration.device)
        if len(values["precision"]) > 1:
            parts.append(configuration.precision)
        parts += [f"{key} {getattr(configuration, key)}" for key in ("batch", "streams") if len(values[key]) > 1]
        labels.append(", ".join(parts))
    return labels
