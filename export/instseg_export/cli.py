"""`instseg-export` and `instseg export`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from instseg_rt.errors import Error

from .errors import ExportError


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
        "  instseg-export PP-YOLOE_seg-S --weights mine.pdparams --labels names.txt --output mine.bundle"
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("model", help="model name (see `instseg models`)")
    parser.add_argument(
        "--weights",
        required=True,
        help=".pdparams file, a training's output folder (ours or PaddleX's), or `official`: PaddleX's own weights",
    )
    parser.add_argument(
        "--output", type=Path, required=True, help="the bundle's folder; an older bundle there is replaced"
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
        help="network input of models that stretch images, multiples of 32 (default: the training's, else the model's)",
    )
    parser.add_argument(
        "--batch",
        type=_numbers(3),
        default=(1, 1, 8),
        metavar="MIN,OPT,MAX",
        help="batch sizes that engines are built for (default: 1,1,8)",
    )
    parser.add_argument("--opset", type=int, default=17, help="ONNX operator set (default: 17)")
    parser.add_argument(
        "--half-weights",
        action="store_true",
        help="store weights as float16: half the size, computed in float32 all the same",
    )


def run(args: argparse.Namespace) -> int:
    from instseg_trainer.runtime import prepare_cpu

    prepare_cpu()
    from .exporter import ExportOptions, export_bundle

    names = (
        "model",
        "weights",
        "output",
        "num_classes",
        "labels",
        "image_size",
        "batch",
        "opset",
        "half_weights",
    )
    report = export_bundle(
        ExportOptions(**{name: getattr(args, name) for name in names}),
        lambda line: print(line, file=sys.stderr, flush=True),
    )
    worst = max(report.max_relative_error, key=report.max_relative_error.__getitem__)
    print(
        f"{report.bundle}: {report.bytes / 1e6:.1f} MB, "
        f"largest relative error {report.max_relative_error[worst]:.1e} ({worst})"
    )
    return 0


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
