"""Images per second of bundles: one image a call, a batch a call, and several calls at the same time.

The three ways take turns, each with as many images as a batch has, so that a machine that slows down slows all of them.
Ratios are the medians over the rounds. --repeat is small by default: a round of R-CNN takes a minute on two cores.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from instseg_rt import Predictor
from instseg_rt.benchmark.images import image_files
from instseg_rt.sources import read_sources
from report import REPORTS, BenchmarkError, environment, run, write_report

_COLUMNS = (
    "model",
    "batch 1, images/s",
    "batch, images/s",
    "streams, images/s",
    "batch / batch 1",
    "streams / best of one",
    "range",
)


@dataclass(frozen=True)
class Row:
    """seconds: of each round, for as many images as a batch has."""

    model: str
    single_seconds: list[float]
    batch_seconds: list[float]
    streams_seconds: list[float]

    @property
    def batch_ratio(self) -> float:
        """Images per second of a batch over those of single images."""
        return statistics.median(s / b for s, b in zip(self.single_seconds, self.batch_seconds, strict=True))

    @property
    def streams_ratios(self) -> list[float]:
        """Images per second of the streams over those of the better of the two others, round by round."""
        one = min(self.single_seconds, self.batch_seconds, key=statistics.median)
        return [o / s for o, s in zip(one, self.streams_seconds, strict=True)]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", type=Path, nargs="+", metavar="BUNDLE")
    parser.add_argument("--image", type=Path, metavar="FILE", help="default: a rendered scene")
    parser.add_argument("--threshold", type=float, metavar="T", help="default: the bundle's")
    parser.add_argument("--precision", default="auto", help="of the network (default: the bundle's, else fp32)")
    parser.add_argument("--batch", type=int, default=8, metavar="N", help="images of a batch (default: %(default)s)")
    parser.add_argument("--streams", type=int, default=2, metavar="N", help="calls at a time (default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=5, metavar="N", help="rounds (default: %(default)s)")
    parser.add_argument(
        "--report", type=Path, default=REPORTS / "throughput.json", metavar="FILE", help="JSON (default: %(default)s)"
    )
    arguments = parser.parse_args()
    if min(arguments.batch, arguments.streams, arguments.repeat) < 1:
        parser.error("--batch, --streams, --repeat: expected at least 1")
    return arguments


def measure(bundle: Path, image: np.ndarray, arguments: argparse.Namespace) -> Row:
    """All rounds of a bundle, after one that is not counted."""
    images = [image] * arguments.batch
    make = functools.partial(Predictor, bundle, precision=arguments.precision, threshold=arguments.threshold)
    with (
        make(contexts=1) as one,
        make(contexts=arguments.streams) as several,
        ThreadPoolExecutor(arguments.streams) as threads,
    ):
        if arguments.batch > one.info.batch.max:
            raise BenchmarkError(f"--batch: {arguments.batch}, but the largest of {bundle} is {one.info.batch.max}")

        def single() -> None:
            for each in images:
                one(each)

        def batch() -> None:
            found = list(one.predict(images, batch_size=len(images)))
            assert len(found) == len(images)

        def streams() -> None:
            for future in [threads.submit(several, each) for each in images]:
                future.result()

        ways: tuple[Callable[[], None], ...] = (single, batch, streams)
        seconds: list[list[float]] = [[], [], []]
        for number in range(arguments.repeat + 1):
            print(f"{bundle.name}: round {number} of {arguments.repeat}", file=sys.stderr)
            for turn in range(len(ways)):
                way = (number + turn) % len(ways)
                start = time.perf_counter()
                ways[way]()
                if number > 0:
                    seconds[way].append(time.perf_counter() - start)
        return Row(f"{one.info.model}, {one.precision}", *seconds)


def cells(row: Row, images: int) -> tuple[str, ...]:
    rates = (
        images / statistics.median(times) for times in (row.single_seconds, row.batch_seconds, row.streams_seconds)
    )
    ratios = row.streams_ratios
    return (
        row.model,
        *(f"{rate:.2f}" for rate in rates),
        f"{row.batch_ratio:.2f}",
        f"{statistics.median(ratios):.2f}",
        f"{min(ratios):.2f} to {max(ratios):.2f}",
    )


def read_image(file: Path | None) -> np.ndarray:
    """(H, W, 3) uint8 BGR. None: a rendered scene."""
    with tempfile.TemporaryDirectory(prefix="instseg-throughput-") as folder:
        files = image_files((str(file),) if file else (), Path(folder))
        if len(files) != 1:
            raise BenchmarkError(f"--image: expected one image, {file} has {len(files)}")
        (source,) = read_sources(files)
    image = source.bgr()
    assert image is not None, "a file is not on a GPU"
    return image


def main() -> None:
    arguments = parse_arguments()
    image = read_image(arguments.image)
    rows = [measure(bundle, image, arguments) for bundle in arguments.bundles]
    from instseg_rt.cli.console import stdout_console, table

    title = (
        f"Throughput, batches of {arguments.batch}, {arguments.streams} streams: medians of {arguments.repeat} rounds"
    )
    shown = [cells(row, arguments.batch) for row in rows]
    stdout_console().print(table(title, _COLUMNS, shown, right=tuple(range(1, len(_COLUMNS)))))
    print(environment())
    write_report(arguments.report, "throughput", vars(arguments), rows)


if __name__ == "__main__":
    sys.exit(run(main))
