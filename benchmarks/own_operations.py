"""Bundles with the OpenVINO plug-in's own operations and without: how much faster, how different.

Two predictors of a bundle take the same image in turns, one of them made with the environment variable 0:
INSTSEG_WINOGRAD, which leaves all to OpenVINO, with `--without amx` INSTSEG_AMX, which leaves out the processor's
matrix unit alone, or with `--without queries` INSTSEG_QUERIES, which leaves what queries do to OpenVINO. `network` is
the time in the networks, ratios are the medians of the pairs. Of the instances that both found: the largest difference
of a score, the difference that 95% of the boxes keep, and the mean IoU of the masks.
Needs the extra `export`.
"""

from __future__ import annotations

import argparse
import functools
import os
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from end_to_end import find_bundles
from instseg_export.precision.detections import Agreement, agreement
from instseg_rt import Predictor, Result
from instseg_rt.benchmark.ratios import PairedRatio, paired_ratio
from instseg_rt.benchmark.report import Table
from instseg_rt.models import find_model
from paddlex_comparison import THRESHOLDS
from report import REPORTS, environment, run, show_table, write_report
from throughput import read_image

VARIABLES = {"all": "INSTSEG_WINOGRAD", "amx": "INSTSEG_AMX", "queries": "INSTSEG_QUERIES"}
_COLUMNS = (
    "model",
    "found",
    "without, ms",
    "network",
    "with, ms",
    "network",
    "ratio (95%)",
    "score",
    "box, px",
    "mask IoU",
)


@dataclass(frozen=True)
class Row:
    """Of one bundle: samples in ms, whole calls and networks, without ("plain") and with what is compared."""

    model: str
    agreement: Agreement
    plain_ms: list[float]
    plain_network_ms: list[float]
    ms: list[float]
    network_ms: list[float]

    @property
    def ratio(self) -> PairedRatio:
        return paired_ratio(self.ms, self.plain_ms)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", type=Path, metavar="FOLDER", help="with bundles named NAME.bundle")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="of these models")
    parser.add_argument(
        "--without", choices=sorted(VARIABLES), default="all", help="what is compared (default: %(default)s)"
    )
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="default: %(default)s")
    parser.add_argument("--image", type=Path, metavar="FILE", help="default: a rendered scene")
    parser.add_argument("--repeat", type=int, default=10, metavar="N", help="calls of each (default: %(default)s)")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="the table as Markdown")
    parser.add_argument(
        "--report",
        type=Path,
        default=REPORTS / "own_operations.json",
        metavar="FILE",
        help="JSON (default: %(default)s)",
    )
    arguments = parser.parse_args()
    if arguments.repeat < 1:
        parser.error(f"--repeat: expected at least 1, found {arguments.repeat}")
    return arguments


def make_row(model: str, plain: list[Result], ours: list[Result]) -> Row:
    """From the results of the calls in turn; the last ones are compared."""
    return Row(
        model=model,
        agreement=agreement(plain[-1:], ours[-1:]),
        plain_ms=[result.timings.total_ms for result in plain],
        plain_network_ms=[result.timings.inference_ms for result in plain],
        ms=[result.timings.total_ms for result in ours],
        network_ms=[result.timings.inference_ms for result in ours],
    )


def measure(bundle: Path, image: np.ndarray, precision: str, repeat: int, variable: str) -> Row:
    """`repeat` pairs of calls, after one that is not counted."""
    threshold = THRESHOLDS[find_model(bundle.name.removesuffix(".bundle")).family]
    make = functools.partial(Predictor, bundle, precision=precision, threshold=threshold)
    before = os.environ.get(variable)
    try:
        os.environ[variable] = "0"
        plain = make()
        os.environ[variable] = "1"
        ours = make()
    finally:
        os.environ.pop(variable, None)
        if before is not None:
            os.environ[variable] = before
    with plain, ours:
        results: tuple[list[Result], list[Result]] = ([], [])
        for number in range(repeat + 1):
            for results_of, predictor in zip(results, (plain, ours), strict=True):
                result = predictor(image)
                if number > 0:
                    results_of.append(result)
    return make_row(bundle.name.removesuffix(".bundle"), *results)


def cells(row: Row) -> tuple[str, ...]:
    ratio, same = row.ratio, row.agreement
    return (
        row.model,
        f"{same.matched} of {max(same.expected, same.found)}",
        f"{statistics.median(row.plain_ms):.0f}",
        f"{statistics.median(row.plain_network_ms):.0f}",
        f"{statistics.median(row.ms):.0f}",
        f"{statistics.median(row.network_ms):.0f}",
        f"{ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})",
        f"{same.score_difference_max:.1e}",
        f"{same.box_pixels_p95:.4f}",
        f"{same.mask_iou_mean:.5f}",
    )


def main() -> None:
    arguments = parse_arguments()
    image = read_image(arguments.image)
    rows: list[Row] = []
    for bundle in find_bundles(arguments.bundles, arguments.only):
        print(f"{bundle.name} …", file=sys.stderr)
        variable = VARIABLES[arguments.without]
        rows.append(measure(bundle, image, arguments.precision, arguments.repeat, variable))
    title = f"The plug-in's own operations: without ({VARIABLES[arguments.without]}=0) and with"
    show_table(Table(title, _COLUMNS, [cells(row) for row in rows]), arguments.markdown)
    print(environment())
    write_report(arguments.report, "own_operations", vars(arguments), rows)


if __name__ == "__main__":
    sys.exit(run(main))
