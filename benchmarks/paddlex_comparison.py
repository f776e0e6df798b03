"""Every bundle of a folder in turn with PaddleX on the same model, weights and photo: one table.

Each model is measured by `instseg benchmark --compare paddlex` in a process of its own. Its JSON stays in --reports;
a model that has one there is not measured again, so after an interruption the same command goes on. How fast PaddleX
is differs from start to start of its process; --runs measures each model in several, and reports of more that are there
already count too.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from end_to_end import find_bundles
from instseg_rt.benchmark.peers import BF16, PADDLEX
from instseg_rt.benchmark.ratios import PairedRatio, paired_ratio
from instseg_rt.benchmark.report import Table
from instseg_rt.models import find_model
from report import REPORTS, BenchmarkError, environment, run, show_table, write_report
from stage_operations import OperationCounter, operations_per_second

# Low enough that seeded weights, which were never trained, find something.
THRESHOLDS = {"mask_rcnn": 0.05, "mask_rtdetr": 0.1, "ppyoloe_seg": 0.06, "solov2": 0.1}
# How many times as fast as PaddleX a bundle is meant to be: in float32, in BF16.
_AIMS = (8, 14)
_AIMS_OF = dict.fromkeys(("Mask-RT-DETR-M", "Mask-RT-DETR-L", "Mask-RT-DETR-X", "Mask-RT-DETR-H"), (3, 5))
_COLUMNS = (
    "model",
    "found",
    "runs",
    "PaddleX, ms",
    "bundle, ms",
    "PaddleX / bundle (95%)",
    "aim",
    "BF16, ms",
    "PaddleX / BF16 (95%)",
    "aim",
    "networks, ms",
    "rest",
    "GFLOP",
    "of the peak",
    "at the peak",
)
# Paddle's graph with oneDNN finds other instances in some models: without it, then.
ONEDNN_VARIABLE = "PADDLE_PDX_ENABLE_MKLDNN_BYDEFAULT"


@dataclass(frozen=True)
class Row:
    """Medians of whole calls, and of the ratios of the pairs with their 95% interval; of several runs, the medians of
    theirs, from the lowest to the highest end of their intervals. rest: what a call takes above the networks, as a
    share of them. of_peak: of the operations that the machine can do in the networks' time. at_peak: the ratio of a
    program that does the networks' operations at the machine's rate, and nothing else. bf16: the same bundle in this
    precision, where it was measured.
    """

    model: str
    instances: int
    runs: int
    bundle_ms: float
    paddlex_ms: float
    ratio: float
    low: float
    high: float
    networks_ms: float
    rest: float
    operations: float
    of_peak: float
    at_peak: float
    onednn: bool
    notes: list[str]
    bf16_ms: float | None = None
    bf16_ratio: PairedRatio | None = None


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", type=Path, metavar="FOLDER", help="with bundles named NAME.bundle")
    parser.add_argument("models", type=Path, metavar="PADDLEX_FOLDER", help="with what PaddleX exported, in NAME/")
    parser.add_argument("--paddlex-python", type=Path, required=True, metavar="PATH", help="of PaddleX's environment")
    parser.add_argument("--image", type=Path, required=True, metavar="PHOTO")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="of these models")
    parser.add_argument("--bf16", action="store_true", help="also the bundle in bfloat16, in the same turns")
    parser.add_argument(
        "--runs", type=int, default=1, metavar="N", help="processes of each, at least (default: %(default)s)"
    )
    parser.add_argument("--duration", type=float, default=10.0, metavar="S", help="of each (default: %(default)g)")
    parser.add_argument("--warm-up", type=float, default=15.0, metavar="S", help="at most (default: %(default)g)")
    parser.add_argument(
        "--reports",
        type=Path,
        default=REPORTS / "paddlex",
        metavar="DIR",
        help="one JSON a model and run (default: %(default)s)",
    )
    parser.add_argument(
        "--report", type=Path, default=REPORTS / "paddlex_comparison.json", metavar="FILE", help="default: %(default)s"
    )
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="the table as Markdown")
    arguments = parser.parse_args()
    if arguments.runs < 1:
        parser.error(f"--runs {arguments.runs}: 1 or more")
    return arguments


def is_measured(file: Path, image: Path) -> bool:
    """Is there a report of a whole measurement? Raises BenchmarkError for one of another photo."""
    if not file.is_file():
        return False
    report = json.loads(file.read_text(encoding="utf-8"))
    if report["interrupted"]:
        return False
    if (images := report["settings"]["images"]) != [str(image)]:
        raise BenchmarkError(f"{file} is of {', '.join(images)}, expected {image}: use another --reports, or remove it")
    return True


def report_file(folder: Path, bundle: Path, number: int) -> Path:
    """Of the run with this number, from 1."""
    name = bundle.name.removesuffix(".bundle")
    return folder / (f"{name}.json" if number == 1 else f"{name}-{number}.json")


def measure_runs(bundle: Path, arguments: argparse.Namespace) -> list[Path]:
    """The reports of `arguments.runs` runs, and of more that are there. Raises BenchmarkError as measure does."""
    files = [measure(bundle, arguments, number) for number in range(1, arguments.runs + 1)]
    while is_measured(file := report_file(arguments.reports, bundle, len(files) + 1), arguments.image):
        files.append(file)
    return files


def measure(bundle: Path, arguments: argparse.Namespace, number: int) -> Path:
    """The JSON of `instseg benchmark`, written where there is none yet. Raises BenchmarkError with its last words.

    number: of the run, from 1.
    """
    name = bundle.name.removesuffix(".bundle")
    file = report_file(arguments.reports, bundle, number)
    if is_measured(file, arguments.image):
        print(f"{name}: from {file}", file=sys.stderr)
        return file
    threshold = THRESHOLDS[find_model(name).family]
    print(f"{name} …" if arguments.runs == 1 else f"{name}, run {number} of {arguments.runs} …", file=sys.stderr)
    command = [
        *(sys.executable, "-m", "instseg_rt", "benchmark", str(bundle), "--json", str(file)),
        *("--images", str(arguments.image), "--threshold", str(threshold)),
        *("--duration", str(arguments.duration), "--warm-up", str(arguments.warm_up)),
        *("--compare", ",".join([PADDLEX, *[BF16] * arguments.bf16])),
        *("--paddlex-python", str(arguments.paddlex_python), "--paddlex-model", str(arguments.models / name)),
    ]
    error = ""
    for variables in ({}, {ONEDNN_VARIABLE: "False"}):
        done = subprocess.run(
            command,
            env={**os.environ, **variables},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode == 0:
            return file
        if done.returncode == 130:
            raise KeyboardInterrupt
        error = next(
            (line for line in reversed(done.stderr.splitlines()) if line.strip()), f"exit code {done.returncode}"
        )
        if "agree" not in error:
            break
    raise BenchmarkError(f"{name}: {error}")


def make_row(reports: Sequence[dict[str, Any]], operations: float, rate: float) -> Row:
    """From the JSON of runs with their peer. rate: operations per second that the machine can do."""
    runs = [_make_run_row(report, operations, rate) for report in reports]
    first = runs[0]
    networks_ms = statistics.median(row.networks_ms for row in runs)
    paddlex_ms = statistics.median(row.paddlex_ms for row in runs)
    peak_ms = operations / rate * 1e3
    ratio, low, high = _over_runs([(row.ratio, row.low, row.high) for row in runs])
    bf16_ms = [row.bf16_ms for row in runs if row.bf16_ms is not None]
    bf16_ratios = [row.bf16_ratio for row in runs if row.bf16_ratio is not None]
    return Row(
        model=first.model,
        instances=first.instances,
        runs=len(runs),
        bundle_ms=statistics.median(row.bundle_ms for row in runs),
        paddlex_ms=paddlex_ms,
        ratio=ratio,
        low=low,
        high=high,
        networks_ms=networks_ms,
        rest=statistics.median(row.rest for row in runs),
        operations=operations,
        of_peak=peak_ms / networks_ms,
        at_peak=paddlex_ms / peak_ms,
        onednn=all(row.onednn for row in runs),
        notes=[note for row in runs for note in row.notes],
        bf16_ms=statistics.median(bf16_ms) if len(bf16_ms) == len(runs) else None,
        bf16_ratio=_bf16_over_runs(bf16_ratios) if len(bf16_ratios) == len(runs) else None,
    )


def _over_runs(ratios: Sequence[tuple[float, float, float]]) -> tuple[float, float, float]:
    """Median, low and high. The intervals are of one process of the peer each: what all of them cover says what another
    run may give.
    """
    medians, lows, highs = zip(*ratios, strict=True)
    return statistics.median(medians), min(lows), max(highs)


def _bf16_over_runs(ratios: Sequence[PairedRatio]) -> PairedRatio:
    median, low, high = _over_runs([(ratio.median, ratio.low, ratio.high) for ratio in ratios])
    return PairedRatio(median, low, high, sum(ratio.pairs for ratio in ratios))


def _make_run_row(report: dict[str, Any], operations: float, rate: float) -> Row:
    (measured,) = report["runs"]
    peers = {peer["peer"]: peer for peer in measured["comparisons"]}
    peer, bf16 = peers[PADDLEX], peers.get(BF16)
    figures, total = measured["samples"]["statistics"], peer["ratios"]["total"]
    bundle_ms, networks_ms = figures["total"]["median"], figures["inference"]["median"]
    paddlex_ms, peak_ms = peer["samples"]["statistics"]["total"]["median"], operations / rate * 1e3
    return Row(
        model=measured["configuration"]["model"],
        instances=measured["instances"],
        runs=1,
        bundle_ms=bundle_ms,
        paddlex_ms=paddlex_ms,
        ratio=total["median"],
        low=total["low"],
        high=total["high"],
        networks_ms=networks_ms,
        rest=(bundle_ms - networks_ms) / networks_ms,
        operations=operations,
        of_peak=peak_ms / networks_ms,
        at_peak=paddlex_ms / peak_ms,
        onednn=report["environment"]["variables"].get(ONEDNN_VARIABLE) != "False",
        notes=measured["notes"],
        bf16_ms=bf16 and bf16["samples"]["statistics"]["total"]["median"],
        bf16_ratio=bf16 and paired_ratio(*(each["samples"]["samples_ms"]["total"] for each in (bf16, peer))),
    )


def cells(row: Row) -> tuple[str, ...]:
    aim, bf16_aim = _AIMS_OF.get(row.model, _AIMS)
    bf16 = row.bf16_ratio
    return (
        row.model + ("" if row.onednn else " *"),
        str(row.instances),
        str(row.runs),
        f"{row.paddlex_ms:.0f}",
        f"{row.bundle_ms:.0f}",
        f"{row.ratio:.1f} ({row.low:.1f} to {row.high:.1f})",
        str(aim),
        "–" if row.bf16_ms is None else f"{row.bf16_ms:.0f}",
        "–" if bf16 is None else f"{bf16.median:.1f} ({bf16.low:.1f} to {bf16.high:.1f})",
        str(bf16_aim),
        f"{row.networks_ms:.0f}",
        f"{row.rest:.1%}",
        f"{row.operations / 1e9:.0f}",
        f"{row.of_peak:.0%}",
        f"{row.at_peak:.1f}",
    )


def main() -> None:
    arguments = parse_arguments()
    bundles = find_bundles(arguments.bundles, arguments.only)
    rate = operations_per_second()
    counter = OperationCounter()
    rows: list[Row] = []
    failed: list[str] = []
    for bundle in bundles:
        try:
            reports = [json.loads(file.read_text(encoding="utf-8")) for file in measure_runs(bundle, arguments)]
        except BenchmarkError as error:
            failed.append(str(error))
            continue
        threshold = reports[0]["runs"][0]["configuration"]["threshold"]
        rows.append(make_row(reports, counter.operations(bundle, arguments.image, threshold), rate))
    shown = Table("Medians of calls in turn", _COLUMNS, [cells(row) for row in rows])
    show_table(shown, arguments.markdown)
    if not all(row.onednn for row in rows):
        print("* Paddle finds other instances with oneDNN, its default: measured without it")
    for row in rows:
        for note in row.notes:
            print(f"{row.model}: {note}")
    print(*failed, sep="\n", end="\n" if failed else "")
    print(f"the peak: {rate / 1e9:.0f} GFLOP/s, NumPy's product of two large float32 matrices")
    print(environment())
    settings = {**vars(arguments), "operations_per_second": rate}
    write_report(arguments.report, "paddlex_comparison", settings, {"rows": rows, "failed": failed})
    if not rows:
        raise BenchmarkError("no model could be measured")


if __name__ == "__main__":
    sys.exit(run(main))
