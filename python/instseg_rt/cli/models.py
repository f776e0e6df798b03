"""`instseg models`: the catalogue of models, or one of them."""

from __future__ import annotations

import argparse
import dataclasses
import json

from instseg_rt.cli.console import facts, stdout_console, table
from instseg_rt.embedded import embedded_bundles
from instseg_rt.models import ModelRow, find_model, model_rows
from instseg_rt.official_weights import CachedWeights, cached_weights

_EPILOG = """\
Weights become a bundle with `instseg export`; `--weights official` downloads PaddleX's.

examples:
  instseg models
  instseg models Mask-RT-DETR-L
  instseg models --json | jq '.models[].model'
"""
_CAPTION = (
    "params: millions. input: height x width, or short side / largest long side.\n"
    "AP: mask AP published for the official weights, COCO val2017. works: in this version."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `instseg models`."""
    parser.epilog = _EPILOG
    parser.add_argument("name", nargs="?", metavar="NAME", help="show what is known of one model")
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(args: argparse.Namespace) -> int:
    """Print the table, or one model."""
    if args.name is not None:
        row = find_model(args.name)
        cached = cached_weights(row.model) if row.weights else None
        if args.json:
            print(json.dumps(_as_json(row, cached), indent=2))
        else:
            stdout_console().print(facts(row.model, _facts(row, cached)))
        return 0
    rows, embedded = model_rows(), embedded_bundles()
    if args.json:
        bundles = {name: str(path) for name, path in embedded.items()}
        print(json.dumps({"models": [dataclasses.asdict(row) for row in rows], "embedded_bundles": bundles}, indent=2))
        return 0
    cells = [
        (
            row.model,
            row.family,
            f"{row.parameters / 1e6:.1f}",
            row.input_text,
            "-" if row.mask_ap is None else f"{row.mask_ap:.1f}",
            row.works_text,
        )
        for row in rows
    ]
    console = stdout_console()
    console.print(table("Models", ("model", "family", "params", "input", "AP", "works"), cells, right=(2, 4)))
    console.print(_CAPTION, markup=False, highlight=False)
    names = ", ".join(embedded) or "none"
    console.print(f"embedded bundles: {names}", markup=False, highlight=False, soft_wrap=True)
    return 0


def _facts(row: ModelRow, cached: CachedWeights | None) -> list[tuple[str, str]]:
    if row.resize == "stretch":
        resize = f"stretched to {row.input_text}"
    else:
        resize = f"short side {row.input_size}, long side at most {row.max_size}"
    listed = "" if row.listed_size_mb is None else f" ({row.listed_size_mb} MB in PaddleX's list)"
    result = [
        ("family", f"{row.family}: {row.about}"),
        ("parts", row.parts),
        ("stages", ", ".join(row.stages)),
        ("works", ", ".join(row.works) or "planned"),
        ("input", resize),
        ("parameters", f"{row.parameters:,} with 80 classes"),
        ("weights file", f"{row.weights_mib} MiB{listed}"),
        ("mask AP", "not published" if row.mask_ap is None else f"{row.mask_ap} (published, COCO val2017)"),
        *(("" if index else "papers", paper.text) for index, paper in enumerate(row.papers)),
        ("official weights", row.weights or "none published; train it with `instseg train`"),
    ]
    if cached is not None:
        result += [("their licence", row.weights_licence or ""), ("in the cache", _state(cached))]
    return result


def _state(cached: CachedWeights) -> str:
    if cached.size is not None:
        checksum = f", sha256 {cached.sha256}" if cached.sha256 else ""
        return f"{cached.path} ({cached.size / 1e6:.1f} MB{checksum})"
    if cached.partial_size is not None:
        return f"{cached.partial_size / 1e6:.1f} MB of an unfinished download to {cached.path}"
    return f"not downloaded; its place is {cached.path}"


def _as_json(row: ModelRow, cached: CachedWeights | None) -> dict[str, object]:
    values = dataclasses.asdict(row)
    if cached is not None:
        values["cached"] = {**dataclasses.asdict(cached), "path": str(cached.path)}
    return values
