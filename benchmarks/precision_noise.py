"""Mask AP in two precisions over copies of a data set whose pixels are moved by one level at random.

AP on few images jumps when one object crosses a threshold, in whatever precision: its spread over the copies says how
far, and the mean of the paired losses says what the lower precision costs on average.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

import cv2
import numpy as np

import instseg_rt
from accuracy_arguments import accuracy_parser
from instseg_rt.benchmark.accuracy import ANNOTATIONS, IMAGES, AccuracyCheck
from report import BenchmarkError, run, write_report

NOISE = 1
"""Levels of 255, in either direction; each value of each pixel by its own."""


@dataclass(frozen=True)
class Row:
    """Mask AP, 0 to 1, of each copy in either precision; the first copy is the data set itself."""

    bundle: str
    fp32: list[float]
    lower: list[float]

    def losses(self) -> list[float]:
        return [a - b for a, b in zip(self.fp32, self.lower, strict=True)]

    def __str__(self) -> str:
        losses = self.losses()
        error = stdev(losses) / len(losses) ** 0.5
        return (
            f"| {self.bundle} | {mean(self.fp32):.4f} ({stdev(self.fp32):.4f}) | {mean(self.lower):.4f} "
            f"({stdev(self.lower):.4f}) | {mean(losses):+.4f} +- {error:.4f} |"
        )


def parse_arguments() -> argparse.Namespace:
    parser = accuracy_parser(__doc__, "precision_noise.json")
    parser.add_argument("--precision", default="bf16", metavar="P", help="the lower one (default: %(default)s)")
    parser.add_argument("--copies", type=int, default=16, metavar="N", help="2 or more (default: %(default)s)")
    arguments = parser.parse_args()
    if arguments.copies < 2:
        parser.error(f"--copies {arguments.copies}: 2 or more, or there is no spread")
    return arguments


def copy_with_noise(dataset: Path, copy: Path, seed: int) -> None:
    """Seed 0: the pixels as they are. The images become PNG, so that nothing else changes.

    Raises BenchmarkError for an image that cannot be read.
    """
    generator = np.random.default_rng(seed)
    description = json.loads((dataset / ANNOTATIONS).read_text())
    (copy / ANNOTATIONS).parent.mkdir(parents=True)
    (copy / IMAGES).mkdir()
    for image in description["images"]:
        source = dataset / IMAGES / image["file_name"]
        pixels = cv2.imread(str(source))
        if pixels is None:
            raise BenchmarkError(f"{source}: not an image that can be read")
        if seed:
            noise = generator.integers(-NOISE, NOISE + 1, pixels.shape)
            pixels = np.clip(pixels + noise, 0, 255).astype(np.uint8)
        image["file_name"] = f"{image['id']}.png"
        cv2.imwrite(str(copy / IMAGES / image["file_name"]), pixels)
    (copy / ANNOTATIONS).write_text(json.dumps(description))


def _of_copy(dataset: Path, seed: int, predictors: Sequence[instseg_rt.Predictor]) -> list[float]:
    with tempfile.TemporaryDirectory(prefix="instseg-noise-") as folder:
        copy_with_noise(dataset, Path(folder), seed)
        check = AccuracyCheck(Path(folder))
        return [check.measure(predictor).mask_ap for predictor in predictors]


def measure(bundles: list[Path], dataset: Path, precision: str, copies: int) -> list[Row]:
    """A row for each bundle, printed when it is complete. Raises BenchmarkError as AccuracyCheck does."""
    AccuracyCheck(dataset)  # a data set that cannot be used is an error before anything is loaded
    rows = []
    for bundle in bundles:
        with (
            instseg_rt.Predictor(bundle, precision="fp32") as exact,
            instseg_rt.Predictor(bundle, precision=precision) as lower,
        ):
            found = [_of_copy(dataset, seed, (exact, lower)) for seed in range(copies)]
        rows.append(Row(bundle.name, [values[0] for values in found], [values[1] for values in found]))
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    arguments = parse_arguments()
    print(
        f"| bundle | mask AP FP32, mean (spread) | {arguments.precision.upper()}, mean (spread) | loss |\n"
        "|---|---|---|---|",
        flush=True,
    )
    rows = measure(arguments.bundles, arguments.dataset, arguments.precision, arguments.copies)
    subject = {"dataset": arguments.dataset, "precision": arguments.precision, "copies": arguments.copies}
    write_report(arguments.report, "precision_noise", subject, rows)


if __name__ == "__main__":
    raise SystemExit(run(main))
