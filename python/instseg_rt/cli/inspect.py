"""`instseg inspect`: what a bundle holds."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import yaml

from instseg_rt import _core
from instseg_rt.cli.console import facts, stdout_console
from instseg_rt.embedded import MANIFEST_NAME, resolve_bundle
from instseg_rt.files import read_bytes

_EPILOG = """\
The manifest is checked and the sha256 of every stage file is compared before anything is shown.

examples:
  instseg inspect model.bundle
  instseg inspect model.bundle --json | jq .labels
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `instseg inspect`."""
    parser.epilog = _EPILOG
    parser.add_argument(
        "bundle", metavar="BUNDLE", help="bundle directory, or the name of an embedded bundle"
    )
    parser.add_argument("--json", action="store_true", help="the whole manifest and the engines, as JSON")


def run(args: argparse.Namespace) -> int:
    """Check the bundle and print it."""
    path = resolve_bundle(args.bundle)
    _core.load_bundle(str(path))
    manifest = yaml.safe_load(read_bytes(path / MANIFEST_NAME))
    engines = _engines(path)
    if args.json:
        print(json.dumps({"path": str(path), **manifest, "engines": engines}, indent=2, default=str))
    else:
        stdout_console().print(facts(str(path), _rows(path, manifest, engines)))
    return 0


def _engines(path: Path) -> list[dict[str, Any]]:
    files = sorted((path / "engines").glob("*.engine"))
    return [{"file": f"engines/{file.name}", "bytes": file.stat().st_size} for file in files]


def _rows(path: Path, manifest: dict[str, Any], engines: list[dict[str, Any]]) -> list[tuple[str, object]]:
    labels, spec, batch = manifest["labels"], manifest["input"], manifest["batch"]
    rows: list[tuple[str, object]] = [
        ("model", manifest["model"]),
        ("family", manifest["family"]),
        ("classes", f"{len(labels)}: {_shortened(labels)}"),
        (
            "input",
            f"{spec['width']} x {spec['height']} {spec['color']}, {spec['resize']}, {spec['interpolation']}",
        ),
        ("batch", f"{batch['min']}..{batch['max']}, engines built for {batch['opt']}"),
        ("threshold", f"score > {manifest['threshold']}"),
        ("decode", _pairs(manifest["decode"])),
    ]
    for stage in manifest["stages"]:
        size = (path / stage["file"]).stat().st_size / (1 << 20)
        tensors = [
            *(("in ", tensor) for tensor in stage["inputs"]),
            *(("out", tensor) for tensor in stage["outputs"]),
        ]
        lines = [f"{stage['file']}, {size:.1f} MiB, sha256 {stage['sha256'][:12]}…"]
        lines += [
            f"{way} {tensor['name']} {tensor['dtype']} {_shape(tensor['shape'])}" for way, tensor in tensors
        ]
        rows.append((f"stage {stage['name']}", "\n".join(lines)))
    rows.append(
        (
            "engines",
            "\n".join(f"{engine['file']}, {engine['bytes'] / (1 << 20):.1f} MiB" for engine in engines)
            or "none: the backend compiles the ONNX stages when the bundle is opened",
        )
    )
    rows.append(("provenance", _pairs(manifest.get("provenance")) or "not recorded"))
    rows.append(("verification", _pairs(manifest.get("verification")) or "not recorded"))
    return rows


def _shortened(labels: list[str], limit: int = 20) -> str:
    return ", ".join(labels[:limit]) + (f", … ({len(labels) - limit} more)" if len(labels) > limit else "")


def _shape(shape: list[Any]) -> str:
    return f"[{', '.join(str(dimension) for dimension in shape)}]"


def _pairs(values: Any) -> str:
    """Nested keys and values as lines."""
    if not isinstance(values, dict):
        return "" if values is None else str(values)
    lines = []
    for key, value in values.items():
        inner = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value
        lines.append(f"{key}: {inner}")
    return "\n".join(lines)
