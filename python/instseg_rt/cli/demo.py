"""`instseg demo`: one image through a model, with everything that there is to see."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from rich.table import Table
from rich.text import Text

from instseg_rt.cli.console import stdout_console, table
from instseg_rt.cli.predict import add_runtime_arguments
from instseg_rt.embedded import default_bundle, embedded_bundles
from instseg_rt.errors import InvalidArgumentError
from instseg_rt.predictor import Predictor
from instseg_rt.result import Result

SCENE_SIZE = 640  # pixels, both sides
_SHOWN_LABELS = 10  # of a model's classes, where nothing was found

_EPILOG = """\
Without IMAGE a 3-D scene is rendered, of the kind that the embedded model was trained on.

examples:
  instseg demo
  instseg demo --seed 7 --output /tmp/demo
  instseg demo photo.jpg --bundle PP-YOLOE_seg-S.bundle
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `instseg demo`."""
    parser.epilog = _EPILOG
    parser.add_argument("image", metavar="IMAGE", nargs="?", help="path or URL of an image (default: a rendered scene)")
    parser.add_argument("--bundle", metavar="BUNDLE", help="bundle to run (default: the embedded one)")
    parser.add_argument("--threshold", type=float, metavar="T", help="keep score > T (default: the bundle's)")
    parser.add_argument("--seed", type=int, default=0, help="which scene is rendered (default: 0)")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("output/demo"),
        metavar="DIR",
        help="folder (default: output/demo)",
    )
    add_runtime_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Predict, print the table, write picture and JSON."""
    if args.seed < 0:
        raise InvalidArgumentError(f"--seed: expected a whole number from 0, found {args.seed}")
    if args.image is not None and Path(args.image).is_dir():
        raise InvalidArgumentError(f"{args.image}: a folder, expected one image; `instseg predict` takes folders")
    with Predictor(
        args.bundle or default_bundle(),
        device=args.device,
        backend=args.backend,
        precision=args.precision,
        threads=args.threads,
    ) as predictor:
        predictor.warm_up()
        if args.image is None:
            result = predictor(render(args.seed), args.threshold, color="rgb")
            name = f"scene_{args.seed}_res"
            picture = result.save_to_img(args.output / f"{name}.png")
            data = result.save_to_json(args.output / f"{name}.json")
        else:
            result = predictor(args.image, args.threshold)
            picture = result.save_to_img(args.output)
            data = result.save_to_json(args.output)
        console = stdout_console()
        title = f"{predictor.info.model} on {args.image or f'rendered scene {args.seed}'}"
        where = f"{predictor.backend}, {predictor.device}, {predictor.precision}"
        console.print(_summary(title, result, where, picture, data))
        if not len(result):
            console.print(_nothing_found(predictor, args.threshold), markup=False, highlight=False, soft_wrap=True)
    return 0


def render(seed: int) -> np.ndarray:
    """The demo scene of this seed: (640, 640, 3) uint8 RGB."""
    from instseg_rt.scenes import render_scene

    return render_scene(seed, SCENE_SIZE, SCENE_SIZE).image


def _summary(title: str, result: Result, where: str, picture: Path, data: Path) -> Table:
    """One table: what was found, how long each stage took, and where it was written."""
    summary = table(title, ("", "", "score", "box x1, y1, x2, y2", "mask area, px"), (), right=(2, 4))
    instances = zip(result.labels, result.scores, result.boxes, result.packed_masks, strict=True)
    for label, score, box, mask in instances:
        corners = ", ".join(f"{value:.0f}" for value in box)
        summary.add_row("found", Text(label), f"{score:.3f}", corners, str(mask.area))
    if not len(result):
        summary.add_row("found", "nothing")
    summary.add_section()
    timings = result.timings
    for stage in ("decode", "preprocess", "inference", "postprocess"):
        milliseconds = getattr(timings, f"{stage}_ms")
        summary.add_row("time", stage, f"{milliseconds:.1f} ms", where if stage == "inference" else "")
    summary.add_section()
    summary.add_row("written", "picture", "", Text(str(picture)))
    summary.add_row("written", "JSON", "", Text(str(data)))
    return summary


def _nothing_found(predictor: Predictor, threshold: float | None) -> str:
    limit = predictor.threshold if threshold is None else threshold
    labels = predictor.labels
    more = f", … ({len(labels) - _SHOWN_LABELS} more)" if len(labels) > _SHOWN_LABELS else ""
    classes = ", ".join(labels[:_SHOWN_LABELS]) + more
    found = f"Nothing found with score > {limit:g}. {predictor.info.model} knows these classes: {classes}."
    if Path(predictor.info.path) not in embedded_bundles().values():
        return f"{found}\n`--threshold` takes a lower limit."
    return (
        f"{found}\n"
        "For everyday photos take a model with the 80 COCO classes: `instseg models` says where the\n"
        "official weights are, `instseg export` makes a bundle, `instseg demo IMAGE --bundle BUNDLE` runs it."
    )
