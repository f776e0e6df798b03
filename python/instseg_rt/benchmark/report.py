"""A report as JSON, as tables on the terminal, and as Markdown: the same rows."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from instseg_rt.benchmark.accuracy import Accuracy
from instseg_rt.benchmark.records import Configuration, Report, Run
from instseg_rt.benchmark.statistics import Statistics
from instseg_rt.benchmark.subjects import STAGES, TOTAL, ordered_stages
from instseg_rt.files import write_atomically

ABSENT = "–"
STATISTICS_COLUMNS = ("ms", "n", "min", "mean", "median", "p90", "p95", "p99", "max", "CV %")
_RATIO_COLUMNS = ("peer / bundle", *STAGES, TOTAL)


@dataclass(frozen=True)
class Table:
    """Cells as text; the columns behind the first `names` are numbers."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    names: int = 1


def write_json(report: Report, file: Path) -> None:
    """Everything, with every sample; written whole or not at all."""
    content = {"command": "benchmark", **dataclasses.asdict(report)}
    write_atomically(file, (json.dumps(content, indent=1) + "\n").encode())


def write_markdown(report: Report, file: Path) -> None:
    """The tables and notes for a README or an issue."""
    write_atomically(file, to_markdown(report).encode())


def to_markdown(report: Report) -> str:
    """GitHub's Markdown."""
    lines = ["# Benchmark", "", f"{report.environment}; {report.environment.date}", ""]
    for run in report.runs:
        for table in run_tables(run):
            lines += [f"**{table.title}**", "", *markdown_table(table), ""]
        lines += [f"- {line}" for line in (*run_lines(run), *accuracy_lines(run))] + [""]
    if len(report.runs) > 1:
        table = summary_table(report.runs)
        lines += [f"**{table.title}**", "", *markdown_table(table), ""]
    if report.interrupted:
        lines += ["The benchmark was interrupted: what follows these runs is missing.", ""]
    return "\n".join(lines)


def run_tables(run: Run) -> list[Table]:
    """The stages of the bundle and of each peer, and the ratios."""
    found = f"{run.instances} instances in {run.images} image{'' if run.images == 1 else 's'}"
    tables = [_statistics_table(f"{run.configuration}; {run.scenario}; {found}", run.samples.statistics)]
    tables += [_statistics_table(f"{c.peer} {c.version}", c.samples.statistics, absent=()) for c in run.comparisons]
    if run.comparisons:
        rows = []
        for comparison in run.comparisons:
            cells = [
                f"{ratio.median:.2f} ({ratio.low:.2f} – {ratio.high:.2f})" if ratio is not None else ABSENT
                for ratio in (comparison.ratios.get(stage) for stage in _RATIO_COLUMNS[1:])
            ]
            rows.append((comparison.peer, *cells))
        tables.append(Table("Median of the paired ratios, with its 95% interval", _RATIO_COLUMNS, rows))
    return tables


def run_lines(run: Run) -> list[str]:
    """What a run says beside its tables: throughput, estimates, notes."""
    lines = []
    if run.images_per_second is not None:
        lines.append(f"{run.images_per_second:.1f} images per second over {run.elapsed_s:.1f} s")
    for estimate in run.early_stopping:
        if estimate.latency is not None:
            lines.append(f"MLPerf early-stopping estimate of p{estimate.percentile}: {estimate.latency:.2f} ms")
        else:
            lines.append(
                f"MLPerf early-stopping estimate of p{estimate.percentile}: none, it needs {estimate.needed} calls"
            )
    if run.server is not None:
        server = run.server
        verdict = "holds" if server.holds else f"does not hold (with so many above it, {server.needed} would be needed)"
        lines.append(
            f"asked for {server.qps:g} queries per second: {server.arrived_qps:.1f} arrived, {server.answered_qps:.1f} "
            f"were answered; {server.over} of {server.queries} took more than {server.latency_bound_ms:g} ms, "
            f"{server.unanswered} got no answer: p99 <= {server.latency_bound_ms:g} ms {verdict}"
        )
    warm = run.warm_up
    lines.append(f"loaded in {run.load_s:.2f} s; warm-up: {warm.calls} calls, {warm.seconds:.1f} s")
    return lines + run.notes


def accuracy_lines(run: Run) -> list[str]:
    """Empty where AP was not measured."""
    return [] if run.accuracy is None else [accuracy_line(run.configuration, run.accuracy)]


def accuracy_line(configuration: Configuration, accuracy: Accuracy) -> str:
    """AP of one predictor."""
    return (
        f"{configuration.model}, {configuration.precision}, {configuration.device}, on {accuracy.images} images of "
        f"{accuracy.dataset}: mask AP {accuracy.mask_ap:.4f}, AP50 {accuracy.mask_ap50:.4f}, AP75 "
        f"{accuracy.mask_ap75:.4f}; box AP {accuracy.box_ap:.4f}"
    )


def summary_table(runs: Sequence[Run]) -> Table:
    """A row for each run."""
    columns = ("bundle", "run", "median ms", "p99 ms", "images/s", "mask AP")
    rows: list[tuple[str, ...]] = []
    for run in runs:
        whole = run.samples.statistics[ordered_stages(run.samples.statistics)[-1]]
        rate = ABSENT if run.images_per_second is None else f"{run.images_per_second:.1f}"
        accuracy = ABSENT if run.accuracy is None else f"{run.accuracy.mask_ap:.4f}"
        bundle = Path(run.configuration.bundle).name
        rows.append((bundle, str(run.configuration), f"{whole.median:.2f}", f"{whole.p99:.2f}", rate, accuracy))
    return Table("All runs", columns, rows, names=2)


def _statistics_table(title: str, statistics: dict[str, Statistics], absent: Sequence[str] = STAGES) -> Table:
    """absent: stages that are shown without figures where there are none."""
    rows = []
    for stage in ordered_stages({*statistics, *absent}):
        s = statistics.get(stage)
        if s is None:
            rows.append((stage, *[ABSENT] * (len(STATISTICS_COLUMNS) - 1)))
            continue
        values = (s.min, s.mean, s.median, s.p90, s.p95, s.p99, s.max)
        rows.append((stage, str(s.count), *(f"{value:.2f}" for value in values), f"{s.cv_percent:.1f}"))
    return Table(title, STATISTICS_COLUMNS, rows)


def markdown_table(table: Table) -> list[str]:
    """Its lines, without the title."""

    def line(cells: Sequence[str]) -> str:
        escaped = (cell.replace("|", r"\|") for cell in cells)
        return f"| {' | '.join(escaped)} |"

    rule = ["---" if index < table.names else "---:" for index in range(len(table.columns))]
    return [line(table.columns), line(rule), *map(line, table.rows)]
