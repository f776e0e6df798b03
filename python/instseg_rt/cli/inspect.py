"""`instseg inspect`: what a bundle holds."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

import yaml

from instseg_rt import _core
from instseg_rt.cli.console import facts, stdout_console
from instseg_rt.cli.engines import ListedEngine, listed_engines
from instseg_rt.embedded import resolve_bundle
from instseg_rt.errors import BadBundleError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_MIB = 1 << 20

_EPILOG = """\
The manifest is checked and the sha256 of every stage file is compared before anything is shown; of engines, the
header and the length. --verify compares their sha256, too; the exit code is then 1 where one is not as it must be.

examples:
  instseg inspect model.bundle
  instseg inspect model.bundle --verify
  instseg inspect model.bundle --json | jq .labels
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `instseg inspect`."""
    parser.epilog = _EPILOG
    parser.add_argument("bundle", metavar="BUNDLE", help="bundle directory, or the name of an embedded bundle")
    parser.add_argument("--verify", action="store_true", help="compare the sha256 of engines with their headers")
    parser.add_argument("--json", action="store_true", help="as JSON, with every label")


def run(args: argparse.Namespace) -> int:
    """Check the bundle and print it."""
    info = _core.load_bundle(resolve_bundle(args.bundle))
    engines = listed_engines(info, verify=args.verify)
    if args.json:
        print(json.dumps(_data(info, engines), indent=2, default=str))
    else:
        stdout_console().print(facts(str(info.path), _rows(info, engines)))
    broken = [engine for engine in engines if engine.problem]
    if args.verify and broken:
        count = f"{len(broken)} of {len(engines)} engines cannot be used"
        raise BadBundleError(f"{info.path}: {count}; the first: {broken[0].text(info.path)}")
    return 0


def _tensors(specs: Sequence[_core.TensorSpec]) -> list[dict[str, Any]]:
    return [{"name": spec.name, "dtype": spec.dtype, "shape": list(spec.shape)} for spec in specs]


def _data(info: _core.BundleInfo, engines: Sequence[ListedEngine]) -> dict[str, Any]:
    spec, batch = info.input, info.batch
    return {
        "path": str(info.path),
        "model": info.model,
        "family": info.family,
        "labels": info.labels,
        "category_ids": info.category_ids,
        "input": {
            "resize": spec.resize,
            **_sizes(spec),
            "color": spec.color,
            "interpolation": spec.interpolation,
            "normalize_first": spec.normalize_first,
            "scale": spec.scale,
            "mean": list(spec.mean),
            "std": list(spec.std),
        },
        "batch": {"min": batch.min, "opt": batch.opt, "max": batch.max},
        "stages": [
            {
                "name": stage.name,
                "file": str(stage.file),
                "sha256": stage.sha256,
                "inputs": _tensors(stage.inputs),
                "outputs": _tensors(stage.outputs),
                "typed": [_typed_data(typed, stage) for typed in stage.typed],
            }
            for stage in info.stages
        ],
        "engines": [engine.data() for engine in engines],
        "decode": info.decode,
        "threshold": info.threshold,
        "default_precision": info.default_precision,
        "provenance": yaml.safe_load(info.provenance),
        "verification": yaml.safe_load(info.verification),
    }


def _sizes(spec: _core.InputSpec) -> dict[str, int | None]:
    """The sizes that the kind of resize has, by their manifest keys."""
    if spec.resize == "stretch":
        return {"height": spec.height, "width": spec.width}
    return {"short_side": spec.short_side, "long_side": spec.long_side, "pad_stride": spec.pad_stride}


def input_text(spec: _core.InputSpec) -> str:
    """One line on how an image becomes the network input."""
    how = f"with {spec.interpolation} interpolation" + (" after the normalisation" if spec.normalize_first else "")
    if spec.resize == "stretch":
        return f"{spec.width} x {spec.height} {spec.color}, stretched {how}"
    padding = f", padded to multiples of {spec.pad_stride}" if spec.pad_stride > 1 else ""
    sides = f"short side {spec.short_side}, long side at most {spec.long_side}"
    return f"{spec.color}, aspect ratio kept: {sides}, resized {how}{padding}"


def _precision_text(default: str) -> str:
    return default if default == "fp32" else f"{default} on processors that are faster in it, else fp32"


def _rows(info: _core.BundleInfo, engines: Sequence[ListedEngine]) -> list[tuple[str, object]]:
    spec, batch = info.input, info.batch
    rows: list[tuple[str, object]] = [
        ("model", info.model),
        ("family", info.family),
        ("classes", f"{len(info.labels)}: {_shortened(info.labels)}"),
        ("input", input_text(spec)),
        ("batch", f"{batch.min} to {batch.max}; engines are built for {batch.opt}"),
        ("threshold", f"score > {info.threshold:g}"),
        ("precision", _precision_text(info.default_precision)),
        (
            "decode",
            "\n".join(
                f"{key}: {value:g}" if isinstance(value, float) else f"{key}: {value}"
                for key, value in info.decode.items()
            ),
        ),
    ]
    for stage in info.stages:
        lines = [f"{stage.file.relative_to(info.path)}, {_size(stage.file)}, sha256 {stage.sha256[:12]}…"]
        lines += [f"in  {_tensor(tensor)}" for tensor in stage.inputs]
        lines += [f"out {_tensor(tensor)}" for tensor in stage.outputs]
        lines += [_typed_text(typed, stage, info.path) for typed in stage.typed]
        rows.append((f"stage {stage.name}", "\n".join(lines)))
    none = "none: a backend for the CPU compiles the ONNX stages when the bundle is opened; for a GPU, instseg-export "
    none += "builds engines"
    rows.append(("engines", "\n".join(engine.text(info.path) for engine in engines) or none))
    rows.append(("provenance", info.provenance.strip() or "not recorded"))
    rows.append(("verification", info.verification.strip() or "not recorded"))
    return rows


def _problem(typed: _core.TypedStage, stage: _core.StageSpec) -> str | None:
    """Why the stage cannot be used in this precision, as far as can be told without reading the file."""
    if typed.source_sha256 != stage.sha256:
        return "out of date: made from another graph"
    missing = [file for file in (typed.file, typed.weights_file) if file is not None and not file.is_file()]
    return f"{missing[0].name} is missing" if missing else None


def _typed_data(typed: _core.TypedStage, stage: _core.StageSpec) -> dict[str, Any]:
    weights = None if typed.weights_file is None else str(typed.weights_file)
    own = {"precision": typed.precision, "file": str(typed.file), "sha256": typed.sha256, "weights_file": weights}
    return own | {"problem": _problem(typed, stage)}


def _typed_text(typed: _core.TypedStage, stage: _core.StageSpec, bundle: Path) -> str:
    text = f"{typed.precision}  {typed.file.relative_to(bundle)}, "
    problem = _problem(typed, stage)
    if problem is not None:
        return f"{text}CANNOT BE USED: {problem}"
    size = sum(file.stat().st_size for file in (typed.file, typed.weights_file) if file is not None)
    return f"{text}{size / _MIB:.1f} MiB, sha256 {typed.sha256[:12]}…"


def _shortened(labels: Sequence[str], limit: int = 20) -> str:
    return ", ".join(labels[:limit]) + (f", … ({len(labels) - limit} more)" if len(labels) > limit else "")


def _tensor(spec: _core.TensorSpec) -> str:
    return f"{spec.name} {spec.dtype} [{', '.join(map(str, spec.shape))}]"


def _size(file: Path) -> str:
    return f"{file.stat().st_size / _MIB:.1f} MiB"
