"""`instseg-export` and `instseg export`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from instseg_rt.cli.console import stdout_console, table
from instseg_rt.errors import Error
from instseg_rt.models import find_model

from .bundle_manifest import is_bundle
from .deployment_cli import DEPLOYMENT_EXAMPLES, add_deployment_arguments, check_deployment, deploy, wants_deployment
from .errors import ExportError

if TYPE_CHECKING:
    from .exporter import ExportOptions

_DEFAULT_BATCH = (1, 1, 8)
_EXPORT_ONLY = ("weights", "output", "num_classes", "labels", "image_size", "opset", "half_weights")


def _numbers(count: int) -> type:
    class Numbers(tuple):
        def __new__(cls, text: str) -> Numbers:
            parts = text.split(",")
            if len(parts) != count or not all(part.strip().isdigit() for part in parts):
                raise argparse.ArgumentTypeError(f"expected {count} numbers separated by commas, found {text!r}")
            return super().__new__(cls, (int(part) for part in parts))

    return Numbers


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Turn Paddle weights into a bundle: ONNX stages, a manifest, and the largest error between Paddle and ONNX."
    )
    parser.epilog = (
        "examples:\n"
        "  instseg-export PP-YOLOE_seg-S --weights official --output seg_s.bundle    downloads PaddleX's weights\n"
        "  instseg-export PP-YOLOE_seg-S --weights output --output fruits.bundle    a training's output folder\n"
        "  instseg-export PP-YOLOE_seg-S --weights mine.pdparams --labels names.txt --output mine.bundle\n"
        "  instseg-export --all --weights official --output bundles    every model, as bundles/MODEL.bundle\n"
        + DEPLOYMENT_EXAMPLES
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "model",
        nargs="?",
        metavar="MODEL|BUNDLE",
        help="model name (see `instseg models`), or a bundle that is there already, for --precision and --backend",
    )
    parser.add_argument(
        "--all",
        action="store_true",
        help="every model instead of one: with `--weights official`, or those that `--weights FOLDER` holds as "
        "MODEL.pdparams, MODEL_pretrained.pdparams or MODEL/ (a training's output); goes on where it was interrupted",
    )
    parser.add_argument(
        "--weights",
        help=".pdparams file, a training's output folder (ours or PaddleX's), or `official`: PaddleX's own weights",
    )
    parser.add_argument(
        "--output",
        type=Path,
        help="the bundle's folder, with --all the folder of the bundles; an older bundle there is replaced",
    )
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--num-classes",
        type=int,
        metavar="N",
        help="check that the weights have N classes (default: what they have)",
    )
    group.add_argument(
        "--labels",
        type=Path,
        metavar="FILE",
        help="one class name a line, or COCO JSON (default: the training's, COCO's for 80 classes)",
    )
    parser.add_argument(
        "--image-size",
        type=_numbers(2),
        metavar="H,W",
        help="network input, multiples of 32; of models that keep the aspect ratio, short side and largest long side "
        "(default: the training's, else the model's)",
    )
    parser.add_argument(
        "--batch",
        type=_numbers(3),
        metavar="MIN,OPT,MAX",
        help="batch sizes that engines are built for (default: 1,1,8; of a bundle, its own)",
    )
    parser.add_argument("--opset", type=int, help="ONNX operator set (default: 17)")
    parser.add_argument(
        "--half-weights",
        action="store_true",
        help="store weights as float16: half the size, computed in float32 all the same",
    )
    add_deployment_arguments(parser)


def run(args: argparse.Namespace) -> int:
    check_deployment(args)
    if args.model is not None and not args.all and is_bundle(Path(args.model)):
        return _deploy_bundle(args)
    _check_arguments(args)
    from instseg_trainer.runtime import prepare_cpu

    prepare_cpu()
    from .exporter import ExportOptions

    if args.all and wants_deployment(args):
        raise ExportError("--precision and --backend: not with --all: name one bundle after the other")
    names = ("weights", "output", "num_classes", "labels", "image_size", "half_weights")
    options = ExportOptions(
        args.model or "",
        **{name: getattr(args, name) for name in names},
        batch=args.batch or _DEFAULT_BATCH,
        opset=args.opset or ExportOptions.opset,
    )
    if args.all:
        return _run_all(options)
    status = export_one(options)
    return deploy(args, args.output, _say) if wants_deployment(args) else status


def _check_arguments(args: argparse.Namespace) -> None:
    """Of the export of weights; raises `ExportError`, and `InvalidArgumentError` for the name of no model."""
    if args.all == (args.model is not None):
        raise ExportError(
            "expected a model's name with --weights and --output, a bundle's folder, or --all (see `instseg models`)"
        )
    if args.model is not None and (Path(args.model).suffix or "/" in args.model):
        raise ExportError(f"{args.model}: no bundle there, and no model's name (see `instseg models`)")
    if args.model is not None:
        find_model(args.model)
    needed = {"weights": "--weights, the file or folder to read", "output": "--output, the folder to write"}
    missing = [text for name, text in needed.items() if getattr(args, name) is None]
    if missing:
        raise ExportError(f"{args.model or '--all'}: missing: {'; '.join(missing)}")


def _deploy_bundle(args: argparse.Namespace) -> int:
    wrong = [name for name in _EXPORT_ONLY if getattr(args, name)]
    if wrong:
        option = f"--{wrong[0].replace('_', '-')}"
        raise ExportError(f"{option}: {args.model} is a bundle already; to export it anew, name its model instead")
    if not wants_deployment(args):
        raise ExportError(f"{args.model} is a bundle already: say what to make of it: --precision fp16, --backend …")
    return deploy(args, Path(args.model), _say)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def export_one(options: ExportOptions) -> int:
    """Exports one model and prints what became of each stage."""
    from .exporter import export_bundle

    report = export_bundle(options, _say)
    rows = []
    for stage in report.stages:
        worst = max(stage.max_relative_error, key=stage.max_relative_error.__getitem__)
        error = f"{stage.max_relative_error[worst]:.1e} ({worst})"
        rows.append((stage.name, f"{stage.bytes / 1e6:.1f}", f"{stage.seconds:.0f}", error))
    columns = ("stage", "MB", "seconds", "largest relative error")
    stdout_console().print(table(f"{report.bundle}: {report.bytes / 1e6:.1f} MB", columns, rows, right=(1, 2)))
    return 0


def _run_all(options: ExportOptions) -> int:
    from .export_all import export_all, weights_of_all
    from .exporter import check_options

    places = weights_of_all(options.weights)
    check_options(options)
    reports = list(export_all(options, places, _say))
    rows = [
        (
            report.model,
            f"{report.bytes / 1e6:.1f}" if report.bytes else "",
            f"{report.seconds:.0f}",
            "" if report.max_relative_error is None else f"{report.max_relative_error:.1e}",
            report.outcome,
        )
        for report in reports
    ]
    columns = ("model", "MB", "seconds", "largest relative error", "outcome")
    stdout_console().print(table(str(options.output), columns, rows, right=(1, 2)))
    return 1 if any(report.failed for report in reports) else 0


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="instseg-export")
    add_arguments(parser)
    args = parser.parse_args(argv)
    try:
        return run(args)
    except ModuleNotFoundError as error:
        message = f"{error.name} is not installed: pip install 'instseg-rt[export]'"
    except KeyboardInterrupt:
        print("instseg-export: interrupted", file=sys.stderr)
        return 130
    except (ExportError, Error, OSError, ValueError) as error:
        message = str(error)
    except Exception as error:
        # The trainer's errors are one line as well; it cannot be imported at the top, where Paddle may be missing.
        if type(error).__module__ != "instseg_trainer.errors":
            raise
        message = str(error)
    print(f"instseg-export: error: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
