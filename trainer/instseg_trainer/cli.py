"""The command lines over `instseg_trainer.commands`: `-c CONFIG -o KEY=VALUE`, as PaddleX has them."""

from __future__ import annotations

import argparse
from pathlib import Path

from instseg_rt.models import find_model

from . import commands
from .config import Config, load_config


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
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


def _config(args: argparse.Namespace) -> Config:
    config = load_config(args.config, args.override)
    find_model(config.Global.model)  # raises with the nearest name
    return config


def add_main_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "PaddleX's program: Global.mode says what is done: check_dataset, train, evaluate, export or predict."
    )
    parser.epilog = (
        "examples:\n"
        "  python main.py -c PP-YOLOE_seg-S.yaml -o Global.mode=train -o Global.dataset_dir=fruits\n"
        "  python main.py -c PP-YOLOE_seg-S.yaml -o Global.mode=predict -o Predict.input=photo.jpg"
    )
    add_config_arguments(parser)


def run_main(args: argparse.Namespace) -> int:
    return commands.run_mode(_config(args), args.threads)


def add_train_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Train a model on a COCO-format data set (annotations/instance_train.json, instance_val.json, images/)."
    )
    parser.epilog = (
        "examples:\n"
        "  instseg train -c PP-YOLOE_seg-S -o Global.dataset_dir=fruits Train.epochs_iters=40\n"
        "  instseg train -c output/config.yaml -o Train.resume_path=output     go on after an interruption"
    )
    add_config_arguments(parser)


def run_train(args: argparse.Namespace) -> int:
    return commands.train(_config(args), args.threads)


def add_evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "COCO mask and box AP of weights, a bundle in the C++ runtime, or detections, on the val part."
    parser.epilog = (
        "examples:\n"
        "  instseg evaluate -c PP-YOLOE_seg-S -o Global.dataset_dir=fruits Evaluate.weight_path=best_model.pdparams\n"
        "  instseg evaluate -c PP-YOLOE_seg-S -o Global.dataset_dir=fruits --bundle fruits.bundle"
    )
    add_config_arguments(parser)
    parser.add_argument("--bundle", type=Path, help="evaluate this bundle instead of Evaluate.weight_path")
    parser.add_argument(
        "--detections", type=Path, metavar="FILE", help="also write the detections in COCO's result format"
    )


def run_evaluate(args: argparse.Namespace) -> int:
    return commands.evaluate(_config(args), args.threads, bundle=args.bundle, detections=args.detections)


def add_export_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Make the bundle Global.output/bundle of Export.weight_path."
    parser.epilog = "example:\n  instseg export -c PP-YOLOE_seg-S -o Export.weight_path=output Global.output=exported"
    add_config_arguments(parser)


def run_export(args: argparse.Namespace) -> int:
    return commands.export(_config(args), args.threads)


def add_predict_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Run Predict.model_dir on Predict.input; pictures and JSON go to Global.output."
    parser.epilog = (
        "example:\n  instseg predict -c PP-YOLOE_seg-S -o Predict.model_dir=output/best_model Predict.input=photo.jpg"
    )
    add_config_arguments(parser)


def run_predict(args: argparse.Namespace) -> int:
    return commands.predict(_config(args), args.threads)
