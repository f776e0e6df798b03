"""`instseg train` and `instseg evaluate`."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

from .files import write_text
from .runtime import prepare_cpu


def _add_config_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-c",
        "--config",
        required=True,
        metavar="CONFIG",
        help="a YAML file, or the name of a shipped one (PP-YOLOE_seg-S)",
    )
    parser.add_argument(
        "-o",
        "--override",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="values over the file's, such as Train.batch_size=4",
    )
    parser.add_argument("--threads", type=int, help="CPU threads (default: all cores)")


def add_train_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Train a model on a COCO-format data set (annotations/instance_train.json, instance_val.json, images/)."
    )
    parser.epilog = (
        "examples:\n"
        "  instseg train -c PP-YOLOE_seg-S -o Global.dataset_dir=fruits Train.epochs_iters=40\n"
        "  instseg train -c output/config.yaml -o Train.resume_path=output     go on after an interruption"
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    _add_config_arguments(parser)


def run_train(args: argparse.Namespace) -> int:
    prepare_cpu(args.threads)
    from .config import load_config
    from .engine.trainer import Trainer
    from .runtime import set_device

    config = load_config(args.config, args.override)
    set_device(config.Global.device)
    trainer = Trainer(config)
    result = trainer.run()
    if trainer.world.is_main:
        print(f"best mask AP {result.best_ap:.4f} (epoch {result.best_epoch}): {result.best_weights}")
    return 0


def add_evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "COCO mask and box AP of weights, or of a bundle in the C++ runtime, on a data set's val part."
    parser.epilog = (
        "examples:\n"
        "  instseg evaluate -c PP-YOLOE_seg-S -o Global.dataset_dir=fruits Evaluate.weight_path=best_model.pdparams\n"
        "  instseg evaluate -c PP-YOLOE_seg-S -o Global.dataset_dir=fruits --bundle fruits.bundle"
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    _add_config_arguments(parser)
    parser.add_argument("--bundle", type=Path, help="evaluate this bundle instead of weights")
    parser.add_argument(
        "--detections", type=Path, metavar="FILE", help="also write the detections in COCO's result format"
    )


def run_evaluate(args: argparse.Namespace) -> int:
    """Prints the metrics and writes `evaluate_result.json` into `Global.output`."""
    prepare_cpu(args.threads)
    from rich.progress import Progress

    from .config import load_config
    from .data import CocoDataset
    from .errors import ConfigError

    config = load_config(args.config, args.override)
    if config.Global.dataset_dir is None:
        raise ConfigError("Global.dataset_dir: expected the data set's folder (-o Global.dataset_dir=DIR)")
    dataset = CocoDataset(config.Global.dataset_dir, "annotations/instance_val.json", allow_empty=True)
    with Progress(transient=True) as progress:
        bar = progress.add_task("evaluate", total=len(dataset))

        def advance(done: int) -> None:
            progress.update(bar, completed=done)

        if args.bundle is not None:
            from .engine.evaluate_bundle import evaluate_bundle

            subject = str(args.bundle)
            metrics, evaluator = evaluate_bundle(args.bundle, dataset, on_progress=advance)
        else:
            from instseg_rt.official_weights import find_weights

            from .engine.evaluate import evaluate_model
            from .models import build_model
            from .runtime import set_device
            from .weights import load_weights, read_pdparams

            set_device(config.Global.device)
            subject = config.Evaluate.weight_path
            model = build_model(config.Global.model, len(dataset.categories))
            weights = find_weights(subject, config.Global.model, progress.console.print)
            load_weights(model, read_pdparams(weights), source=subject)
            metrics, evaluator = evaluate_model(
                model,
                dataset,
                config.Recipe.image_size,
                batch_size=config.Recipe.evaluation_batch_size,
                on_progress=advance,
            )
    output = Path(config.Global.output)
    output.mkdir(parents=True, exist_ok=True)
    result = {"subject": subject, "images": len(dataset), **dataclasses.asdict(metrics)}
    write_text(output / "evaluate_result.json", json.dumps(result, indent=2) + "\n")
    if args.detections is not None:
        evaluator.save(args.detections)
    print(f"{subject} on {len(dataset)} images")
    print(metrics)
    return 0
