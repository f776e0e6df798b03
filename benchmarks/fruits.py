"""The whole path on real photos: train PP-YOLOE_seg-S, export it, and evaluate the Paddle weights and the bundle.

The two evaluations use one evaluator, so their difference is what the export and the C++ runtime change.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from report import REPORTS, BenchmarkError, environment, run, write_report

if TYPE_CHECKING:
    from instseg_trainer.config import Config

MODEL = "PP-YOLOE_seg-S"
# For some ten photos with objects of a tenth of their side, and weights from nothing: small batches, many epochs,
# AdamW, and no RandomExpand, which would make the objects smaller than any on the val photos.
OVERRIDES = (
    "Train.batch_size=2",
    "Train.epochs_iters=70",
    "Train.learning_rate=0.001",
    "Train.warmup_steps=50",
    "Train.eval_interval=10",
    "Recipe.image_size=[256, 320]",
    "Recipe.optimizer.type=adamw",
    "Recipe.optimizer.weight_decay=0.02",
    "Recipe.optimizer.gradient_clip=20.0",
    "Recipe.schedule.cosine_epochs_factor=1.0",
    "Recipe.schedule.min_learning_rate_factor=0.02",
    "Recipe.ema_decay=0.995",
    "Recipe.augmentation=[{RandomDistort: {}}, {RandomCrop: {scaling: [0.5, 1.0]}}, {RandomFlip: {}}]",
)
# Only shows that every step works: nothing is learned.
QUICK_OVERRIDES = (
    "Train.epochs_iters=2",
    "Train.warmup_steps=2",
    "Train.eval_interval=0",
    "Train.log_interval=1",
    "Recipe.image_size=[128, 128]",
    "Recipe.workers=0",
)


@dataclass(frozen=True)
class Accuracy:
    """COCO figures of the masks on the val photos, 0 to 1."""

    mask_ap: float
    mask_ap50: float


@dataclass(frozen=True)
class FruitsResult:
    """training_s: time in the training loop, over all its runs, without evaluations."""

    paddle: Accuracy
    bundle: Accuracy
    iterations: int
    training_s: float
    export_s: float
    export_max_relative_error: dict[str, float]
    detections: int


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--dataset",
        type=Path,
        required=True,
        metavar="DIR",
        help="COCO data set: annotations/instance_train.json, annotations/instance_val.json, images/",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=REPORTS / "fruits",
        metavar="DIR",
        help="training output, bundle, curve.png and predictions/ (default: %(default)s)",
    )
    parser.add_argument(
        "--report", type=Path, default=REPORTS / "fruits.json", metavar="FILE", help="JSON (default: %(default)s)"
    )
    parser.add_argument("--quick", action="store_true", help="two epochs of small images: do all steps work?")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--resume", action="store_true", help="go on with the training in --output")
    group.add_argument(
        "--skip-training",
        type=Path,
        metavar="WEIGHTS_FOLDER",
        help="export and evaluate the weights of this training output folder",
    )
    parser.add_argument("--threshold", type=float, default=0.5, metavar="T", help="of the drawn predictions (0.5)")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: all cores)")
    parser.add_argument(
        "-o", "--override", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="configuration values"
    )
    return parser.parse_args()


def configuration(args: argparse.Namespace) -> Config:
    """The configuration to train with, or that the weights at hand were trained with."""
    from instseg_trainer.config import load_config

    places = [f"Global.dataset_dir={args.dataset}"]
    trained = args.skip_training or (args.output if args.resume else None)
    if trained is None:
        quick = QUICK_OVERRIDES if args.quick else ()
        return load_config(MODEL, [*OVERRIDES, *quick, *places, f"Global.output={args.output}", *args.override])
    file = trained / "config.yaml"
    if not file.is_file():
        raise BenchmarkError(f"{trained}: no training output folder, config.yaml is missing")
    if args.resume:
        places.append(f"Train.resume_path={trained}")
    return load_config(str(file), [*places, *args.override])


def read_curve(folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The records of a training's metrics.jsonl: one per iteration, one per evaluation."""
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    return [r for r in records if "loss" in r], [r for r in records if "mask_ap" in r]


def draw_curve(folder: Path, title: str, file: Path) -> None:
    """Loss (logarithmic: it starts high) and val AP over iterations, as a PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    iterations, evaluations = read_curve(folder)
    figure, loss_axis = plt.subplots(figsize=(8, 4.5), layout="constrained")
    loss_axis.plot([r["iteration"] for r in iterations], [r["loss"] for r in iterations], color="tab:gray", lw=0.8)
    loss_axis.set(xlabel="iteration", ylabel="loss", yscale="log", title=title)
    ap_axis = loss_axis.twinx()
    steps = [r["iteration"] for r in evaluations]
    ap_axis.plot(steps, [r["mask_ap"] for r in evaluations], color="tab:blue", marker="o", label="val mask AP")
    ap_axis.plot(steps, [r["mask_ap50"] for r in evaluations], color="tab:green", marker="o", label="val mask AP50")
    ap_axis.set(ylabel="AP", ylim=(0, 1))
    ap_axis.legend(loc="upper left")
    temporary = file.with_name(f".{file.name}.tmp.png")
    figure.savefig(temporary, dpi=120)
    temporary.replace(file)
    plt.close(figure)


def draw_predictions(bundle: Path, photos: list[Path], folder: Path, threshold: float) -> int:
    """Draw what the bundle finds into each photo; returns the number of instances."""
    from instseg_rt import Predictor

    with Predictor(bundle, threshold=threshold) as predictor:
        results = list(predictor.predict(photos))
    for result in results:
        result.save_to_img(folder)
    return sum(len(result) for result in results)


def benchmark(args: argparse.Namespace) -> FruitsResult:
    from instseg_export.exporter import ExportOptions, export_bundle
    from instseg_trainer.data import CocoDataset
    from instseg_trainer.engine.evaluate import evaluate_model
    from instseg_trainer.engine.evaluate_bundle import evaluate_bundle
    from instseg_trainer.engine.trainer import Trainer
    from instseg_trainer.models import build_model
    from instseg_trainer.weights import load_weights, read_pdparams

    config = configuration(args)
    if args.skip_training is None:
        Trainer(config).run()
    folder = args.skip_training or args.output
    weights = folder / "best_model" / "best_model.pdparams"
    size = config.Recipe.image_size  # None: the model's own
    dataset = CocoDataset(args.dataset, "annotations/instance_val.json", allow_empty=True)

    args.output.mkdir(parents=True, exist_ok=True)
    bundle = args.output / "fruits.bundle"
    start = time.perf_counter()
    export = export_bundle(
        ExportOptions(config.Global.model, folder, bundle, image_size=(size[0], size[1]) if size else None),
        lambda line: print(line, file=sys.stderr, flush=True),
    )
    export_s = time.perf_counter() - start

    model = build_model(config.Global.model, len(dataset.categories))
    load_weights(model, read_pdparams(weights), source=str(weights))
    paddle_metrics, _ = evaluate_model(model, dataset, size)
    bundle_metrics, _ = evaluate_bundle(bundle, dataset)

    draw_curve(folder, f"{config.Global.model}, {args.dataset.name}", args.output / "curve.png")
    photos = [record.path for record in dataset.records]
    detections = draw_predictions(bundle, photos, args.output / "predictions", args.threshold)
    iterations, _ = read_curve(folder)
    return FruitsResult(
        paddle=Accuracy(paddle_metrics.mask.ap, paddle_metrics.mask.ap50),
        bundle=Accuracy(bundle_metrics.mask.ap, bundle_metrics.mask.ap50),
        iterations=len(iterations),
        training_s=sum(r["data_s"] + r["compute_s"] for r in iterations),
        export_s=export_s,
        export_max_relative_error=export.max_relative_error,
        detections=detections,
    )


def main() -> None:
    args = parse_arguments()
    # Before Paddle is imported: its matrix library reads these settings once.
    from instseg_trainer.runtime import prepare_cpu

    prepare_cpu(args.threads)
    result = benchmark(args)

    from instseg_rt.cli.console import stdout_console, table

    rows = [
        (name, f"{getattr(result.paddle, key):.4f}", f"{getattr(result.bundle, key):.4f}", f"{difference:+.4f}")
        for name, key in (("mask AP", "mask_ap"), ("mask AP50", "mask_ap50"))
        for difference in (getattr(result.bundle, key) - getattr(result.paddle, key),)
    ]
    console = stdout_console()
    console.print(table(f"{MODEL} on {args.dataset.name}", ("val", "Paddle", "bundle", "difference"), rows, (1, 2, 3)))
    facts = (
        f"training: {result.iterations} iterations, {result.training_s / 60:.1f} min; export: {result.export_s:.0f} s\n"
        f"curve: {args.output / 'curve.png'}; {result.detections} instances drawn in {args.output / 'predictions'}\n"
        f"{environment()}"
    )
    console.print(facts, markup=False, highlight=False, soft_wrap=True)
    write_report(args.report, "fruits", vars(args), result)


if __name__ == "__main__":
    sys.exit(run(main))
