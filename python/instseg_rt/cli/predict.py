"""`instseg predict`: run a bundle on anything that `instseg_rt.sources` reads."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from instseg_rt.cli.console import counted
from instseg_rt.errors import InvalidArgumentError, IoError
from instseg_rt.files import read_bytes, write_atomically
from instseg_rt.predictor import Predictor
from instseg_rt.result import Result
from instseg_rt.result_files import picture_suffix
from instseg_rt.result_formats import MaskFormat

FORMATS = ("json", "img", "coco")

_EPILOG = """\
INPUT is an image, a TIFF with many pages, a video, a folder (searched in depth), a glob pattern in quotes,
an http(s) or rtsp address, or camera:0. One line per image goes to stdout; with --save-path, files go to that
folder:
  json   <name>_res.json      PaddleX's result
  img    <name>_res.<jpg…>    the image with its instances drawn in
                              (<name>-2_res…, <name>-3_res… where images have the same name)
  coco   coco_results.json    all instances as COCO results; image ids count from 1 and are listed in
                              coco_images.json, unless --image-ids names an annotation file that has them

examples:
  instseg predict model.bundle photo.jpg
  instseg predict model.bundle frames/ --batch-size 8 --threshold 0.4 --save-path out
  instseg predict model.bundle 'val/*.jpg' --threshold 0.01 --save-path out --format coco --image-ids val.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `instseg predict`."""
    parser.epilog = _EPILOG
    parser.add_argument("bundle", metavar="BUNDLE", help="bundle directory, or the name of an embedded bundle")
    parser.add_argument("inputs", metavar="INPUT", nargs="+", help="what to predict on; see below")
    parser.add_argument("--threshold", type=float, metavar="T", help="keep score > T (default: the bundle's)")
    parser.add_argument("--batch-size", type=int, default=1, metavar="N", help="images per inference (default: 1)")
    add_runtime_arguments(parser)
    parser.add_argument("--save-path", type=Path, metavar="DIR", help="folder for the files")
    parser.add_argument("--format", metavar="LIST", help=f"files to write, of {','.join(FORMATS)} (default: json,img)")
    parser.add_argument(
        "--mask-format",
        choices=get_args(MaskFormat),
        help="masks in the JSON: crop = PaddleX's nested lists, rle = compact COCO RLE (default: crop)",
    )
    parser.add_argument("--image-ids", type=Path, metavar="FILE", help="COCO annotations to take image ids from")


def add_runtime_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that choose what a bundle runs on."""
    parser.add_argument("--device", default="cpu", help="cpu, or gpu:0 with a backend that has one (default: cpu)")
    parser.add_argument(
        "--precision",
        default="auto",
        help="fp32, bf16, fp16, or int8 where the bundle has INT8 stages (default: the bundle's, else fp32)",
    )
    parser.add_argument(
        "--backend", help="what runs the stages (default: the plug-in for the device; see `instseg doctor`)"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: all cores)")


def run(args: argparse.Namespace) -> int:
    """Predict, print a line per image, write the files that were asked for."""
    files = _result_files(args)
    inputs = [_camera(text) if text.startswith("camera:") else text for text in args.inputs]
    with Predictor(
        args.bundle, device=args.device, backend=args.backend, precision=args.precision, threads=args.threads
    ) as predictor:
        report(predictor.predict(inputs, args.batch_size, args.threshold), files)
    return 0


@dataclass(frozen=True, slots=True)
class ResultFiles:
    """What is written of each result, and where; see `instseg predict --help`."""

    folder: Path
    formats: Sequence[str] = ("json", "img")
    mask_format: MaskFormat = "crop"
    image_ids: Path | None = None


def report(results: Iterable[Result], files: ResultFiles | None) -> int:
    """Prints a line per result and writes `files`; returns the number of results."""
    formats = files.formats if files is not None else ()
    image_ids = _ImageIds(files.image_ids if files is not None else None)
    entries: list[dict[str, Any]] = []
    names: set[str] = set()
    count = 0
    for result in counted(results, "images"):
        print(describe(result), flush=sys.stdout.isatty())
        count += 1
        if files is None:
            continue
        stem = _unused(result.output_stem, names)
        if "json" in formats:
            result.save_to_json(files.folder / f"{stem}_res.json", mask_format=files.mask_format)
        if "img" in formats:
            result.save_to_img(files.folder / f"{stem}_res{picture_suffix(result)}")
        if "coco" in formats:
            entries += result.to_coco(image_ids.of(result))
    if files is not None and "coco" in formats:
        _write_json(files.folder / "coco_results.json", entries)
        if files.image_ids is None:
            _write_json(files.folder / "coco_images.json", {"images": image_ids.listed})
    return count


def describe(result: Result) -> str:
    """One line: where the image came from, what was found, how long it took."""
    name = result.input_path or "image"
    page = "" if result.page_index is None else f"[{result.page_index}]"
    found = ", ".join(f"{count} {label}" for label, count in result.class_counts().items()) or "nothing found"
    timings = result.timings
    batch = "" if timings.batch_size == 1 else f" for {timings.batch_size} images"
    return f"{name}{page}: {found} (decode {timings.decode_ms:.1f} ms, predict {timings.total_ms:.1f} ms{batch})"


def _result_files(args: argparse.Namespace) -> ResultFiles | None:
    if args.save_path is None:
        if any(option is not None for option in (args.format, args.mask_format, args.image_ids)):
            raise InvalidArgumentError(
                "--format, --mask-format and --image-ids need --save-path, the folder to write to"
            )
        return None
    if args.save_path.is_file():
        raise InvalidArgumentError(f"--save-path: {args.save_path} is a file, expected a folder")
    formats = (args.format or "json,img").split(",")
    for name in formats:
        if name not in FORMATS:
            raise InvalidArgumentError(f"--format: expected a list of {', '.join(FORMATS)}; found {name!r}")
    if args.image_ids is not None and "coco" not in formats:
        raise InvalidArgumentError("--image-ids is for --format coco")
    return ResultFiles(args.save_path, formats, args.mask_format or "crop", args.image_ids)


def _camera(text: str) -> int:
    match = re.fullmatch(r"camera:(\d{1,4})", text)
    if match is None:
        raise InvalidArgumentError(f"{text}: expected camera:<index>, such as camera:0")
    return int(match[1])


def _unused(stem: str, names: set[str]) -> str:
    """`stem`, or with a number where an image of another folder has that name already."""
    name, number = stem, 2
    while name in names:
        name, number = f"{stem}-{number}", number + 1
    names.add(name)
    return name


def _write_json(path: Path, value: Any) -> None:
    write_atomically(path, json.dumps(value).encode())


class _ImageIds:
    """COCO image ids: by file name from an annotation file, or counted from 1."""

    def __init__(self, annotations: Path | None) -> None:
        self.listed: list[dict[str, Any]] = []
        self._path = annotations
        self._by_name: dict[str, int] = {}
        if annotations is not None:
            try:
                images = json.loads(read_bytes(annotations))["images"]
                self._by_name = {Path(image["file_name"]).name: int(image["id"]) for image in images}
            except ValueError as error:
                raise IoError(f"{annotations}: expected COCO annotations, not a valid JSON file: {error}") from error
            except (KeyError, TypeError) as error:
                raise IoError(
                    f"{annotations}: expected COCO annotations with images[].file_name and .id: {error!r}"
                ) from error

    def of(self, result: Result) -> int:
        name = Path(result.input_path or "").name
        if self._path is not None:
            if name not in self._by_name:
                raise InvalidArgumentError(f"{result.input_path}: {self._path} has no image of that file name")
            return self._by_name[name]
        height, width = result.orig_shape
        image_id = len(self.listed) + 1
        self.listed.append(
            {"id": image_id, "file_name": result.input_path, "page_index": result.page_index}
            | {"height": height, "width": width}
        )
        return image_id
