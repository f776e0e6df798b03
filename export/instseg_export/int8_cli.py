"""`instseg-export … --precision int8`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from instseg_rt.cli.console import stdout_console, table

from .bundle_manifest import read_manifest
from .errors import ExportError
from .precision_report import comparison_images, print_accuracy, print_agreement

if TYPE_CHECKING:
    from .precision.int8_stages import Int8Report


def check_int8(args: argparse.Namespace) -> None:
    """Raises `ExportError` for options that do not go together, and where NNCF is not installed."""
    if args.precision != "int8":
        for option in ("calibration", "calibration_images"):
            if getattr(args, option) is not None:
                raise ExportError(f"--{option.replace('_', '-')}: only with --precision int8")
        return
    if args.backend is not None:
        raise ExportError("--precision int8: INT8 stages are for CPUs, engines are built in fp32 or fp16")
    if args.calibration is None:
        raise ExportError("--precision int8: --calibration is missing, a folder of images like those of the use")
    if args.calibration_images is not None and args.calibration_images < 1:
        raise ExportError(f"--calibration-images: expected at least 1, found {args.calibration_images}")
    if not args.calibration.is_dir():
        raise ExportError(f"--calibration {args.calibration}: no such folder")
    from .precision.quantise import check_nncf

    check_nncf()


def add_int8(args: argparse.Namespace, bundle: Path, say: Callable[[str], None]) -> None:
    """Writes INT8 stages and shows what they are worth, unless the bundle has them and --force is not given."""
    from .precision.int8_stages import DEFAULT_IMAGES, MOST_AP_LOSS, Calibration, int8_entry, write_int8_stages

    if all(int8_entry(bundle, stage) for stage in read_manifest(bundle)["stages"]) and not args.force:
        say("INT8 stages: up to date; --force makes and compares them again")
        return
    calibration = Calibration(args.calibration, args.calibration_images or DEFAULT_IMAGES)
    folder, option = (args.calibration, "--calibration") if args.images is None else (args.images, "--images")
    images = comparison_images(folder, option)
    images_are = f"images of {folder.resolve().name}"
    report = write_int8_stages(bundle, calibration, say, images, images_are, args.dataset)
    _print(bundle, report)
    if report.ap_loss is None:
        say("note: what INT8 costs in accuracy, --dataset measures")
        return
    print_accuracy(args.dataset, report.accuracy)
    if report.ap_loss > MOST_AP_LOSS:
        say(f"note: INT8 loses {report.ap_loss:.4f} of mask AP (aim: {MOST_AP_LOSS})")


def _print(bundle: Path, report: Int8Report) -> None:
    rows = []
    for stage in report.stages:
        floats = ", ".join(f"{count} {reason}" for reason, count in stage.float_nodes.items()) or "none"
        rows.append((stage.name, f"{stage.bytes / 1e6:.1f}", stage.int8_nodes, floats))
    columns = ("stage", "MB", "INT8 products", "float32 products")
    stdout_console().print(table(f"{bundle}: INT8", columns, rows, right=(1, 2)))
    print_agreement(report.every, report.confident)
