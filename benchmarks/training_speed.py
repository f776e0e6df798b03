"""Images per second of a model's training, and what an iteration waits for: its data, or the computation.

Runs the training's own loader and step on rendered scenes or a data set of yours. Nothing is evaluated or kept.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from instseg_rt.benchmark.statistics import Statistics, compute_statistics
from report import REPORTS, BenchmarkError, environment, run, write_report

if TYPE_CHECKING:
    from instseg_trainer.engine.trainer import Trainer

_SCENES = 32
_SCENE_SIDE = 320


@dataclass(frozen=True)
class SpeedResult:
    """Milliseconds of an iteration: data, until its batch is there; compute, the optimizer's step; total, both.

    images_per_iteration: of one process. first_loss, last_loss: of the timed iterations.
    """

    images_per_second: float
    images_per_iteration: int
    data_ms: Statistics
    compute_ms: Statistics
    total_ms: Statistics
    first_loss: float
    last_loss: float


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="?", default="PP-YOLOE_seg-N", help="configuration (default: %(default)s)")
    parser.add_argument("--dataset", type=Path, metavar="DIR", help="COCO data set (default: rendered scenes)")
    parser.add_argument("--iterations", type=int, default=20, metavar="N", help="timed ones (default: %(default)s)")
    parser.add_argument("--warm-up", type=int, default=3, metavar="N", help="ones before (default: %(default)s)")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: all cores)")
    parser.add_argument("-o", "--override", nargs="+", action="extend", default=[], metavar="KEY=VALUE")
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
    return args


def batches(trainer: Trainer) -> Iterator[Any]:
    """Epoch after epoch, without end."""
    for epoch in itertools.count():
        yield from trainer.loader.epoch(epoch)


def measure(trainer: Trainer, iterations: int, warm_up: int) -> SpeedResult:
    data, compute, losses = [], [], []
    images = 0
    trainer.model.train()
    source = batches(trainer)
    with trainer.loader:
        for number in range(warm_up + iterations):
            start = time.perf_counter()
            batch = next(source)
            ready = time.perf_counter()
            loss = trainer.step(batch)["loss"]
            end = time.perf_counter()
            trainer.state.iteration += 1
            if number >= warm_up:
                data.append(1000.0 * (ready - start))
                compute.append(1000.0 * (end - ready))
                losses.append(loss)
                images = len(batch)
        source.close()  # type: ignore[attr-defined]
    total = [sum(parts) for parts in zip(data, compute, strict=True)]
    return SpeedResult(
        images_per_second=1000.0 * images * iterations / sum(total),
        images_per_iteration=images,
        data_ms=compute_statistics(data),
        compute_ms=compute_statistics(compute),
        total_ms=compute_statistics(total),
        first_loss=losses[0],
        last_loss=losses[-1],
    )


def benchmark(args: argparse.Namespace, folder: Path) -> SpeedResult:
    from instseg_trainer.config import load_config
    from instseg_trainer.runtime import prepare_cpu

    dataset = args.dataset
    if dataset is None:
        from instseg_rt.scenes.dataset import make_dataset

        dataset = folder / "scenes"
        make_dataset(dataset, _SCENES, seed=1, height=_SCENE_SIDE, width=_SCENE_SIDE, val_fraction=0.25, workers=1)
    config = load_config(
        args.config, [f"Global.dataset_dir={dataset}", f"Global.output={folder / 'output'}", *args.override]
    )
    prepare_cpu(args.threads)
    from instseg_trainer.engine.trainer import Trainer
    from instseg_trainer.runtime import set_device

    set_device(config.Global.device)
    return measure(Trainer(config), args.iterations, args.warm_up)


def main() -> None:
    args = parse_arguments()
    from instseg_rt.cli.console import facts, stdout_console

    with tempfile.TemporaryDirectory(prefix="instseg-training-") as folder:
        result = benchmark(args, Path(folder))
    share = 100.0 * result.data_ms.mean / result.total_ms.mean
    rows: list[tuple[str, object]] = [
        ("images per second", f"{result.images_per_second:.2f}"),
        ("images per iteration", result.images_per_iteration),
        ("iteration, median", f"{result.total_ms.median:.1f} ms"),
        ("data, median", f"{result.data_ms.median:.1f} ms ({share:.0f} % of the time)"),
        ("compute, median", f"{result.compute_ms.median:.1f} ms"),
        ("loss, first and last", f"{result.first_loss:.4f}, {result.last_loss:.4f}"),
        ("machine", environment()),
    ]
    stdout_console().print(facts(f"training of {args.config}, {args.iterations} iterations", rows))
    write_report(args.report, "training_speed", vars(args), result)


if __name__ == "__main__":
    sys.exit(run(main))
