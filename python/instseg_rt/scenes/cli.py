"""`instseg make-dataset OUT --images N`: write a data set of rendered scenes."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from instseg_rt.scenes.dataset import (
    DEFAULT_SEED,
    DEFAULT_SIDE,
    DEFAULT_VAL_FRACTION,
    make_dataset,
)
from instseg_rt.scenes.shapes import CLASS_NAMES


def _size(text: str) -> tuple[int, int]:
    try:
        height, width = (int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not H,W: two whole numbers, for example 320,320") from None
    return height, width


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.description = (
        f"Render pictures of solids ({', '.join(CLASS_NAMES)}) with exact masks, as a COCO data set. "
        "An interrupted run is continued by the same command."
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to write: new, empty, or of an interrupted run")
    parser.add_argument(
        "--images", type=int, required=True, metavar="N", help="number of pictures, train and val together"
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=DEFAULT_SEED,
        metavar="S",
        help="another seed gives other scenes throughout (default: %(default)s)",
    )
    parser.add_argument(
        "--size",
        type=_size,
        default=(DEFAULT_SIDE, DEFAULT_SIDE),
        metavar="H,W",
        help=f"height and width in pixels (default: {DEFAULT_SIDE},{DEFAULT_SIDE})",
    )
    parser.add_argument(
        "--val-fraction",
        type=float,
        default=DEFAULT_VAL_FRACTION,
        metavar="F",
        help="share of the pictures kept for validation (default: %(default)s)",
    )
    parser.add_argument("--workers", type=int, metavar="N", help="processes (default: one per usable CPU)")


def run(args: argparse.Namespace) -> int:
    """Exit status: 0 done, 130 interrupted. Raises SceneDatasetError and OSError as `make_dataset` does."""
    height, width = args.size
    try:
        folder = make_dataset(
            args.out,
            args.images,
            seed=args.seed,
            height=height,
            width=width,
            val_fraction=args.val_fraction,
            workers=args.workers,
        )
    except KeyboardInterrupt:
        print("interrupted: run the same command again to continue", file=sys.stderr)
        return 130
    print(f"{args.images} pictures in {folder}")
    return 0
