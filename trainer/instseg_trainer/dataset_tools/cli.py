"""`instseg check-dataset`."""

from __future__ import annotations

import argparse

from instseg_trainer.cli import add_config_arguments
from instseg_trainer.config import load_config
from instseg_trainer.dataset_tools.command import check_dataset


def add_check_dataset_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Check a COCO-format data set; before that, convert LabelMe's files or split it anew on request."
    )
    parser.epilog = (
        "examples:\n"
        "  instseg check-dataset -c PP-YOLOE_seg-S -o Global.dataset_dir=fruits\n"
        "  instseg check-dataset -c PP-YOLOE_seg-S -o Global.dataset_dir=fruits \\\n"
        "      CheckDataset.convert.enable=True CheckDataset.convert.src_dataset_type=LabelMe\n"
        "  instseg check-dataset -c PP-YOLOE_seg-S -o Global.dataset_dir=fruits \\\n"
        "      CheckDataset.split.enable=True CheckDataset.split.train_percent=90 CheckDataset.split.val_percent=10"
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add_config_arguments(parser)


def run_check_dataset(args: argparse.Namespace) -> int:
    """Prints what is found and writes `check_dataset_result.json` and pictures into `Global.output`."""
    return check_dataset(load_config(args.config, args.override))
