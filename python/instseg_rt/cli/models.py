"""`instseg models`: the models of this version."""

from __future__ import annotations

import argparse
import dataclasses
import json

from instseg_rt.cli.console import stdout_console, table
from instseg_rt.embedded import embedded_bundles
from instseg_rt.models import model_rows

_EPILOG = """\
Weights become a bundle with `instseg export`.

examples:
  instseg models
  instseg models --json | jq '.models[].model'
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `instseg models`."""
    parser.epilog = _EPILOG
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(args: argparse.Namespace) -> int:
    """Print the table."""
    rows, embedded = model_rows(), embedded_bundles()
    if args.json:
        models = [dataclasses.asdict(row) for row in rows]
        bundles = {name: str(path) for name, path in embedded.items()}
        print(json.dumps({"models": models, "embedded_bundles": bundles}, indent=2))
        return 0
    cells = [
        (
            row.model,
            row.family,
            f"{row.parameters / 1e6:.1f} M",
            f"{row.input_size} x {row.input_size}",
            "-" if row.mask_ap is None else row.mask_ap,
            row.weights,
        )
        for row in rows
    ]
    console = stdout_console()
    columns = ("model", "family", "parameters", "input", "mask AP", "weights")
    console.print(table("Models (mask AP: published, COCO val2017)", columns, cells, right=(2, 4)))
    names = ", ".join(embedded) or "none"
    console.print(f"embedded bundles: {names}", markup=False, highlight=False, soft_wrap=True)
    return 0
