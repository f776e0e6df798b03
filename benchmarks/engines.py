"""Builds every stage of the given bundles with TensorRT-RTX or TensorRT: seconds, bytes, or what it says against it.

The bundles are left as they are: FP16 stages are converted for the occasion where a bundle has none, without looking at
images, and nothing that is built is kept.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from report import REPORTS, run, write_report


@dataclass(frozen=True)
class EngineResult:
    """products: convolutions and matrix products of the network, by type. error: TensorRT's words, or None."""

    bundle: str
    stage: str
    target: str
    precision: str
    seconds: float
    bytes: int
    products: dict[str, int]
    error: str | None


def parse_arguments() -> argparse.Namespace:
    from instseg_export.engines.targets import BACKENDS, TARGETS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", nargs="+", type=Path, metavar="BUNDLE")
    parser.add_argument("--backend", choices=tuple(BACKENDS), default="tensorrt-rtx", help="(default: %(default)s)")
    parser.add_argument(
        "--build",
        nargs="+",
        default=["t4:fp16", "sm86:fp16", "sm86:fp32"],
        metavar="TARGET:PRECISION",
        help=f"what to build; targets: {', '.join(TARGETS)} (default: t4:fp16 sm86:fp16 sm86:fp32)",
    )
    parser.add_argument("--report", type=Path, default=REPORTS / "engines.json", metavar="FILE", help="JSON")
    return parser.parse_args()


def build_bundle(bundle: Path, tensorrt: Any, builds: list[tuple[str, str]], folder: Path) -> Iterator[EngineResult]:
    """Every stage, for each target and precision; a failure is a result."""
    from instseg_export.bundle_manifest import read_manifest, stage_file
    from instseg_export.engines.profiles import stage_profile

    manifest = read_manifest(bundle)
    batch = [manifest["batch"][key] for key in ("min", "opt", "max")]
    for stage in manifest["stages"]:
        source = stage_file(bundle, stage)
        profile = stage_profile(manifest, stage, batch, {})
        for target, precision in builds:
            graph = source if precision == "fp32" else typed_graph(bundle, manifest["family"], stage, source, folder)
            yield build_stage(bundle.stem, stage["name"], graph, tensorrt, target, precision, profile)


def typed_graph(bundle: Path, family: str, stage: dict[str, Any], source: Path, folder: Path) -> Path:
    """The bundle's own, or one that is written into the folder."""
    import onnx

    from instseg_export.precision.islands import islands_of
    from instseg_export.precision.typed_entry import typed_entry
    from instseg_export.precision.typed_fp16 import to_typed_fp16

    entry = typed_entry(bundle, stage)
    if entry is not None:
        return bundle / str(entry["file"])
    file = folder / f"{bundle.stem}.{stage['name']}.fp16.onnx"
    if not file.exists():
        onnx.save(to_typed_fp16(onnx.load(source), islands_of(family, stage["name"])).model, file)
    return file


def build_stage(
    bundle: str, stage: str, graph: Path, tensorrt: Any, target: str, precision: str, profile: Any
) -> EngineResult:
    from instseg_export.engines.builder import build_plan
    from instseg_export.engines.progress import BuildProgress
    from instseg_export.engines.targets import target_sm
    from instseg_export.engines.tensorrt_module import BuilderOptions
    from instseg_export.errors import ExportError

    start, size, products, error = time.monotonic(), 0, {}, None
    try:
        sm = target_sm(target)
        tensorrt.check_target(sm, precision, timing_cache=False)
        quiet = BuildProgress(lambda _share, _phase: None)
        built = build_plan(tensorrt, graph, sm, precision, profile, BuilderOptions(), quiet)
        size, products = built.plan.nbytes, built.products
    except ExportError as problem:
        error = str(problem)
    return EngineResult(bundle, stage, target, precision, time.monotonic() - start, size, products, error)


def main() -> None:
    args = parse_arguments()
    from instseg_export.engines.tensorrt_module import TensorRT
    from instseg_rt.cli.console import stdout_console, table

    tensorrt = TensorRT(args.backend)
    builds = [(target, precision or "fp16") for target, _, precision in (text.partition(":") for text in args.build)]
    results: list[EngineResult] = []
    with tempfile.TemporaryDirectory(prefix="instseg-engines-") as folder:
        for bundle in args.bundles:
            for result in build_bundle(bundle, tensorrt, builds, Path(folder)):
                results.append(result)
                done = result.error or f"{result.bytes / 1e6:.1f} MB in {result.seconds:.0f} s"
                name = f"{result.bundle} {result.stage}, {result.target}, {result.precision}"
                print(f"{name}: {done}", file=sys.stderr, flush=True)
    rows = [
        (
            result.bundle,
            result.stage,
            result.target,
            result.precision,
            f"{result.seconds:.1f}",
            f"{result.bytes / 1e6:.1f}" if result.bytes else "",
            result.error or ", ".join(f"{count} {name}" for name, count in sorted(result.products.items())),
        )
        for result in results
    ]
    columns = ("bundle", "stage", "target", "precision", "seconds", "MB", "products, or the error")
    title = f"{tensorrt.name} {tensorrt.version}: {sum(not r.error for r in results)} of {len(results)} engines built"
    stdout_console().print(table(title, columns, rows, right=(4, 5)))
    write_report(args.report, "engines", {**vars(args), "version": tensorrt.version}, results)


if __name__ == "__main__":
    sys.exit(run(main))
