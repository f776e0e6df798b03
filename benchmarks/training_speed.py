"""Images per second of a model's training, and what an iteration waits for: its data, or the computation.

Runs the training's own loader and step on rendered scenes or a data set of yours. Nothing is evaluated or kept.
With --compare, PaddleDetection trains the same model in turns with it, on the same images at the same size.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from instseg_rt.benchmark.statistics import Statistics, compute_statistics
from report import REPORTS, BenchmarkError, environment, run, write_report
from turns.compare import Comparison, compare
from turns.ours import OwnTraining
from turns.protocol import Iteration

_SCENES = 32
_SCENE_SIDE = 320


@dataclass(frozen=True)
class SpeedResult:
    """Milliseconds of an iteration: data, until its batch is there; compute, the step; total, both.

    images_per_iteration: of one process. first_loss, last_loss: of the timed iterations.
    """

    images_per_second: float
    images_per_iteration: int
    data_ms: Statistics
    compute_ms: Statistics
    total_ms: Statistics
    first_loss: float
    last_loss: float

    @property
    def data_percent(self) -> float:
        return 100.0 * self.data_ms.mean / self.total_ms.mean


@dataclass(frozen=True)
class SpeedReport:
    """paddledetection, ratio and ratios_of_turns only where it was compared; above 1 this project is faster."""

    ours: SpeedResult
    paddledetection: SpeedResult | None = None
    ratio: float | None = None
    ratios_of_turns: tuple[float, ...] = ()


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="?", default="PP-YOLOE_seg-N", help="configuration (default: %(default)s)")
    parser.add_argument("--dataset", type=Path, metavar="DIR", help="COCO data set (default: rendered scenes)")
    parser.add_argument(
        "--iterations", type=int, default=20, metavar="N", help="timed ones, in all turns (default: %(default)s)"
    )
    parser.add_argument("--warm-up", type=int, default=3, metavar="N", help="ones before (default: %(default)s)")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: all cores)")
    parser.add_argument("-o", "--override", nargs="+", action="extend", default=[], metavar="KEY=VALUE")
    parser.add_argument("--compare", type=Path, metavar="DIR", help="PaddleDetection's repository, to train in turns")
    parser.add_argument(
        "--compare-python",
        default=sys.executable,
        metavar="FILE",
        help="Python with what PaddleDetection needs (default: this one)",
    )
    parser.add_argument("--turns", type=int, default=4, metavar="N", help="of each (default: %(default)s)")
    parser.add_argument(
        "--report",
        type=Path,
        default=REPORTS / "training_speed.json",
        metavar="FILE",
        help="JSON (default: %(default)s)",
    )
    args = parser.parse_args()
    if args.iterations < 1 or args.warm_up < 0:
        raise BenchmarkError("--iterations is at least 1 and --warm-up at least 0")
    if args.compare is not None and not 1 <= args.turns <= args.iterations:
        raise BenchmarkError("--turns is at least 1, and every turn has an iteration: at most --iterations")
    return args


def summarise(taken: list[Iteration], images: int) -> SpeedResult:
    if not all(math.isfinite(iteration.loss) for iteration in taken):
        raise BenchmarkError(
            "the loss is not finite, so the times mean nothing: start from weights (-o Train.pretrain_weight_path=FILE)"
        )
    total = [iteration.total_ms for iteration in taken]
    return SpeedResult(
        images_per_second=1000.0 * images * len(taken) / sum(total),
        images_per_iteration=images,
        data_ms=compute_statistics([iteration.data_ms for iteration in taken]),
        compute_ms=compute_statistics([iteration.compute_ms for iteration in taken]),
        total_ms=compute_statistics(total),
        first_loss=taken[0].loss,
        last_loss=taken[-1].loss,
    )


def dataset_of(args: argparse.Namespace, folder: Path) -> Path:
    if args.dataset is not None:
        return Path(args.dataset)
    from instseg_rt.scenes.dataset import make_dataset

    dataset = folder / "scenes"
    make_dataset(dataset, _SCENES, seed=1, height=_SCENE_SIDE, width=_SCENE_SIDE, val_fraction=0.25, workers=1)
    return dataset


def measure_alone(args: argparse.Namespace, folder: Path) -> SpeedReport:
    from instseg_trainer.config import load_config
    from instseg_trainer.runtime import prepare_cpu

    own = [f"Global.dataset_dir={dataset_of(args, folder)}", f"Global.output={folder / 'output'}"]
    config = load_config(args.config, [*own, *args.override])
    prepare_cpu(args.threads)
    training = OwnTraining(config)
    try:
        taken = [training.next_iteration() for _ in range(args.warm_up + args.iterations)]
    finally:
        training.close()
    return SpeedReport(summarise(taken[args.warm_up :], training.images_per_iteration))


def measure_both(args: argparse.Namespace, folder: Path) -> SpeedReport:
    comparison = Comparison(
        config=args.config,
        overrides=tuple(args.override),
        dataset=dataset_of(args, folder).resolve(),
        repository=args.compare.resolve(),
        python=args.compare_python,
        threads=args.threads,
        warm_up=args.warm_up,
        iterations=args.iterations,
        turns=args.turns,
        logs=args.report.parent.resolve(),
    )
    turns = compare(comparison, folder)
    ours, theirs = (
        summarise([it for turn in side for it in turn], turns.images) for side in (turns.ours, turns.theirs)
    )
    ratios = tuple(
        sum(it.total_ms for it in b) / sum(it.total_ms for it in a)
        for a, b in zip(turns.ours, turns.theirs, strict=True)
    )
    return SpeedReport(ours, theirs, ours.images_per_second / theirs.images_per_second, ratios)


def rows_of(result: SpeedResult, whose: str) -> list[tuple[str, object]]:
    data = f"{result.data_ms.median:.1f} ms ({result.data_percent:.0f} % of the time)"
    return [
        (f"{whose}images per second", f"{result.images_per_second:.2f}"),
        (f"{whose}iteration, median", f"{result.total_ms.median:.1f} ms"),
        (f"{whose}data, median", data),
        (f"{whose}compute, median", f"{result.compute_ms.median:.1f} ms"),
        (f"{whose}loss, first and last", f"{result.first_loss:.4f}, {result.last_loss:.4f}"),
    ]


def table(report: SpeedReport) -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = [("images per iteration", report.ours.images_per_iteration)]
    rows += rows_of(report.ours, "")
    if report.paddledetection is None:
        rows.append(("PaddleDetection", "not compared (--compare DIR)"))
    else:
        rows += rows_of(report.paddledetection, "PaddleDetection: ")
        low, high = min(report.ratios_of_turns), max(report.ratios_of_turns)
        rows.append(
            ("images per second over PaddleDetection's", f"{report.ratio:.3f} (turns: {low:.3f} to {high:.3f})")
        )
    return [*rows, ("machine", environment())]


def main() -> None:
    args = parse_arguments()
    from instseg_rt.cli.console import facts, stdout_console

    with tempfile.TemporaryDirectory(prefix="instseg-training-") as folder:
        measure = measure_alone if args.compare is None else measure_both
        report = measure(args, Path(folder))
    stdout_console().print(facts(f"training of {args.config}, {args.iterations} iterations", table(report)))
    write_report(args.report, "training_speed", vars(args), report)


if __name__ == "__main__":
    sys.exit(run(main))
