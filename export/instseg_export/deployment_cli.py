"""The options of `instseg-export` that make something of a bundle: FP16 stages, and engines."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from instseg_rt.cli.console import stdout_console, table

from .errors import ExportError

if TYPE_CHECKING:
    from .precision.typed_stages import PrecisionReport

DEPLOYMENT_EXAMPLES = (
    "  instseg-export seg_s.bundle --precision fp16    FP16 stages beside the float32 ones, compared with them"
)
_IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}
_MOST_IMAGES = 16


def add_deployment_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("precision", "what is made of the bundle")
    group.add_argument(
        "--precision",
        choices=("fp32", "fp16"),
        help="fp16: write every stage in typed FP16 as well, as stages/STAGE.fp16.onnx, and compare it with float32",
    )
    group.add_argument(
        "--images",
        type=Path,
        metavar="DIR",
        help=f"images of this folder, {_MOST_IMAGES} at most, for the comparison (default: rendered scenes)",
    )
    group.add_argument(
        "--dataset",
        type=Path,
        metavar="DIR",
        help="a labelled data set (annotations/instance_val.json): mask AP in both precisions",
    )
    group.add_argument("--force", action="store_true", help="make again what is up to date")


def wants_deployment(args: argparse.Namespace) -> bool:
    return args.precision is not None


def deploy(args: argparse.Namespace, bundle: Path, say: Callable[[str], None]) -> int:
    """Makes what the options ask for, in the bundle."""
    if args.precision == "fp16":
        _typed(args, bundle, say)
    return 0


def _typed(args: argparse.Namespace, bundle: Path, say: Callable[[str], None]) -> None:
    from .precision.accuracy import add_accuracy
    from .precision.typed_stages import LEAST_MASK_IOU, LEAST_MATCHED, write_typed_stages

    images = None if args.images is None else _images(args.images)
    images_are = "rendered scenes" if images is None else f"images of {args.images.name}"
    report = write_typed_stages(bundle, say, images, images_are, force=args.force)
    if report is not None:
        _print(bundle, report)
        if not report.good:
            say(
                f"note: FP16 finds {report.every.share:.1%} of the detections (expected: {LEAST_MATCHED:.0%}), their "
                f"masks' IoU is {report.every.mask_iou_mean:.3f} ({LEAST_MASK_IOU}): compare the AP with --dataset"
            )
    if args.dataset is not None:
        accuracy = add_accuracy(bundle, args.dataset, say, force=args.force)
        rows = [(name, f"{ap.mask_ap:.4f}", f"{ap.mask_ap50:.4f}") for name, ap in accuracy.items()]
        stdout_console().print(table(f"{args.dataset}", ("precision", "mask AP", "mask AP50"), rows, right=(1, 2)))


def _images(folder: Path) -> list[NDArray[np.uint8]]:
    import cv2

    if not folder.is_dir():
        raise ExportError(f"--images {folder}: no such folder")
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in _IMAGE_SUFFIXES)[:_MOST_IMAGES]
    if not files:
        raise ExportError(f"--images {folder}: no images there")
    images = []
    for file in files:
        image = cv2.imread(str(file), cv2.IMREAD_COLOR)
        if image is None:
            raise ExportError(f"{file}: no readable image")
        images.append(np.asarray(image, np.uint8))
    return images


def _print(bundle: Path, report: PrecisionReport) -> None:
    rows = []
    for stage in report.stages:
        worst = max(stage.errors, key=stage.errors.__getitem__)
        floats = ", ".join(f"{count} {reason}" for reason, count in stage.float_nodes.items()) or "none"
        error = f"{stage.errors[worst]:.1e} ({worst})"
        rows.append((stage.name, f"{stage.bytes / 1e6:.1f}", stage.half_nodes, floats, error))
    columns = ("stage", "MB", "FP16 nodes", "float32 nodes", "largest relative error")
    console = stdout_console()
    console.print(table(f"{bundle}: FP16", columns, rows, right=(1, 2)))
    for name, found in (("all detections", report.every), ("above the threshold", report.confident)):
        if found.expected:
            console.print(
                f"{name}: {found.matched} of {found.expected} found ({found.share:.1%}), mask IoU "
                f"{found.mask_iou_mean:.4f}, boxes within {found.box_pixels_p95:.2f} px (95%)"
            )
