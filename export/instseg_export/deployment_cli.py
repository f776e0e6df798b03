"""The options of `instseg-export` that make something of a bundle: FP16 stages, and engines."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from instseg_rt.cli.console import stdout_console, table

from .bundle_manifest import read_manifest
from .engines.bundle_engines import EngineOptions, build_engines
from .engines.profiles import parse_shapes
from .engines.targets import BACKENDS, TARGETS, target_sm
from .engines.tensorrt_module import TensorRT
from .errors import ExportError
from .int8_cli import add_int8, check_int8
from .precision.typed_entry import all_typed
from .precision_report import MOST_IMAGES, comparison_images, print_accuracy, print_agreement

if TYPE_CHECKING:
    from .precision.typed_stages import PrecisionReport

DEPLOYMENT_EXAMPLES = (
    "  instseg-export seg_s.bundle --precision fp16    FP16 stages beside the float32 ones, compared with them\n"
    "  instseg-export seg_s.bundle --precision int8 --calibration photos    INT8 stages for CPUs\n"
    "  instseg-export seg_s.bundle --backend tensorrt-rtx --target t4 --precision fp16    for a T4, built here\n"
    "  instseg-export seg_s.bundle --backend tensorrt --precision fp16    engines for the GPU of this machine"
)
_UNITS = {"": 1, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30}


def add_deployment_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("precision", "what is made of the bundle")
    group.add_argument(
        "--precision",
        choices=("fp32", "fp16", "int8"),
        help="fp16: write every stage in typed FP16 as well, as stages/STAGE.fp16.onnx, and compare it with float32; "
        "int8: write every stage in INT8 for CPUs, as stages/STAGE.int8.xml, with --calibration; of engines, what they "
        "compute in (default: fp32)",
    )
    group.add_argument(
        "--calibration",
        type=Path,
        metavar="DIR",
        help="of int8: images like those of the use, from which the ranges of values are taken",
    )
    group.add_argument(
        "--calibration-images", type=int, metavar="N", help="of them at most so many, spread evenly (default: 100)"
    )
    group.add_argument(
        "--images",
        type=Path,
        metavar="DIR",
        help=f"images of this folder, {MOST_IMAGES} at most, for the comparison (default: rendered scenes; of int8, "
        "images of --calibration)",
    )
    group.add_argument(
        "--dataset",
        type=Path,
        metavar="DIR",
        help="a labelled data set (annotations/instance_val.json): mask AP in float32 and in that precision",
    )
    group.add_argument(
        "--force", action="store_true", help="make again what is up to date: engines, or stages without --backend"
    )
    _add_engine_arguments(parser)


def _add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("engines", "built by TensorRT or TensorRT-RTX, see docs/tensorrt.md")
    group.add_argument(
        "--backend",
        choices=tuple(BACKENDS),
        help="tensorrt: for the GPU of this machine; tensorrt-rtx: for any GPU that it knows, without one",
    )
    group.add_argument(
        "--target", choices=tuple(TARGETS), help="GPU or compute capability (default: the GPU of this machine)"
    )
    group.add_argument(
        "--shapes",
        action="append",
        default=[],
        metavar="[STAGE.]INPUT=MIN,OPT,MAX",
        help="shapes of an input like 1x3x640x640, in the place of those of the bundle; may be repeated",
    )
    group.add_argument("--workspace", metavar="SIZE", help="most scratch memory on the GPU, like 4GiB")
    group.add_argument(
        "--timing-cache", type=Path, metavar="FILE", help="what TensorRT measures, kept for the next build"
    )
    group.add_argument(
        "--raw-plan", action="store_true", help="write the bare plan beside each engine, for other tools"
    )


def wants_deployment(args: argparse.Namespace) -> bool:
    return args.precision is not None or args.backend is not None


def deploy(args: argparse.Namespace, bundle: Path, say: Callable[[str], None]) -> int:
    """Makes what the options ask for, in the bundle; see `check_deployment`."""
    engines = None if args.backend is None else _engine_options(args)
    if args.precision == "fp16":
        _typed(args, bundle, say)
    if args.precision == "int8":
        add_int8(args, bundle, say)
    if engines is not None:
        _build(bundle, *engines, say)
    return 0


def check_deployment(args: argparse.Namespace) -> None:
    """Raises `ExportError` for options that do not go together, and for what TensorRT cannot build or that is not
    installed: before minutes are spent on anything else.
    """
    for option in ("target", "shapes", "workspace", "timing_cache", "raw_plan"):
        if getattr(args, option) and args.backend is None:
            raise ExportError(f"--{option.replace('_', '-')}: only with --backend")
    for option in ("images", "dataset"):
        if getattr(args, option) and args.precision not in ("fp16", "int8"):
            raise ExportError(f"--{option}: only with --precision fp16 or int8, which is compared with float32 there")
    check_int8(args)
    if args.backend is not None:
        _engine_options(args)


def _engine_options(args: argparse.Namespace) -> tuple[TensorRT, EngineOptions]:
    tensorrt = TensorRT(args.backend)
    if args.target is None and not tensorrt.needs_gpu:
        raise ExportError(f"--backend {args.backend}: --target is missing: one of {', '.join(TARGETS)}")
    options = EngineOptions(
        sm=tensorrt.sm_of_this_machine() if args.target is None else target_sm(args.target),
        precision=args.precision or "fp32",
        batch=args.batch,
        shapes=dict(parse_shapes(text) for text in args.shapes),
        workspace_bytes=None if args.workspace is None else _bytes(args.workspace),
        timing_cache=args.timing_cache,
        raw_plan=args.raw_plan,
        force=args.force,
    )
    tensorrt.check_target(options.sm, options.precision, options.timing_cache is not None)
    return tensorrt, options


def _bytes(text: str) -> int:
    """`4GiB`, `512 MiB` or a number of bytes."""
    match = re.fullmatch(r"(\d+)\s*([KMG]iB)?", text.strip(), re.IGNORECASE)
    if match is None or int(match[1]) == 0:
        raise ExportError(f"--workspace {text}: expected a size like 4GiB or 512MiB")
    return int(match[1]) * _UNITS[(match[2] or "").upper()]


def _build(bundle: Path, tensorrt: TensorRT, options: EngineOptions, say: Callable[[str], None]) -> None:
    rows = []
    for report in build_engines(bundle, tensorrt, options, say):
        types = ", ".join(f"{count} {name}" for name, count in sorted(report.products.items()))
        name = report.file.relative_to(bundle)
        seconds = f"{report.seconds:.0f}" if report.built else ""
        rows.append((name, f"{report.bytes / 1e6:.1f}", seconds, types or "up to date"))
    columns = ("engine", "MB", "seconds", "products of the network")
    stdout_console().print(table(str(bundle), columns, rows, right=(1, 2)))


def _typed(args: argparse.Namespace, bundle: Path, say: Callable[[str], None]) -> None:
    # A machine that only builds engines has no ONNX: it is not imported where nothing is to be done.
    anew = args.force and args.backend is None
    if all_typed(bundle, read_manifest(bundle)["stages"]) and not anew:
        say("FP16 stages: up to date")
    else:
        from .precision.typed_stages import write_typed_stages

        images = None if args.images is None else comparison_images(args.images, "--images")
        images_are = "rendered scenes" if images is None else f"images of {args.images.name}"
        _print(bundle, write_typed_stages(bundle, say, images, images_are), say)
    if args.dataset is not None:
        from .precision.accuracy import add_accuracy

        print_accuracy(args.dataset, add_accuracy(bundle, args.dataset, say))


def _print(bundle: Path, report: PrecisionReport, say: Callable[[str], None]) -> None:
    from .precision.typed_stages import LEAST_MASK_IOU, LEAST_MATCHED

    rows = []
    for stage in report.stages:
        worst = max(stage.errors, key=stage.errors.__getitem__)
        floats = ", ".join(f"{count} {reason}" for reason, count in stage.float_nodes.items()) or "none"
        error = f"{stage.errors[worst]:.1e} ({worst})"
        rows.append((stage.name, f"{stage.bytes / 1e6:.1f}", stage.half_nodes, floats, error))
    columns = ("stage", "MB", "FP16 nodes", "float32 nodes", "largest relative error")
    console = stdout_console()
    console.print(table(f"{bundle}: FP16", columns, rows, right=(1, 2)))
    print_agreement(report.every, report.confident)
    if report.noise is not None:
        say(
            f"note: FP16 finds {report.every.share:.1%} of the detections (aim: {LEAST_MATCHED:.0%}), their masks' IoU "
            f"is {report.every.mask_iou_mean:.3f} ({LEAST_MASK_IOU}). One grey level on a tenth of the images' values "
            f"gives {report.noise.share:.1%} and {report.noise.mask_iou_mean:.3f} in float32. What it means for "
            f"accuracy, --dataset measures"
        )
