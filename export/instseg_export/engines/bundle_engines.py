"""Engines of all stages of a bundle."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from instseg_rt.files import write_atomically

from ..bundle_manifest import read_manifest, stage_file, update_manifest
from ..errors import ExportError
from ..precision.typed_entry import typed_entry
from .builder import BuiltPlan, build_plan
from .engine_file import EngineKey, read_key, write_engine, write_parts
from .profiles import Shapes, as_json, check_given, stage_profile
from .progress import shown_progress
from .tensorrt_module import BuilderOptions, TensorRT

_FOLDER = "engines"


@dataclass(frozen=True)
class EngineOptions:
    """What engines are asked for; see docs/tensorrt.md.

    sm: compute capability. batch: smallest, usual, largest, None: the bundle's. shapes: by input, see `parse_shapes`.
    timing_cache: a file, made or added to. raw_plan: the bare plan beside each engine. force: build again.
    """

    sm: int
    precision: str
    batch: tuple[int, int, int] | None = None
    shapes: Mapping[str, Shapes] = field(default_factory=dict)
    workspace_bytes: int | None = None
    timing_cache: Path | None = None
    raw_plan: bool = False
    force: bool = False


@dataclass(frozen=True)
class EngineReport:
    """built: False where the engine was there already. products: see `BuiltPlan`; empty where not built."""

    stage: str
    file: Path
    bytes: int
    seconds: float
    built: bool
    products: dict[str, int]


def build_engines(
    bundle: Path, tensorrt: TensorRT, options: EngineOptions, say: Callable[[str], None]
) -> Iterator[EngineReport]:
    """Builds one engine per stage, and names each in the manifest when it is complete; what was built before stays.

    Raises `ExportError` for what cannot be built, before the first engine where that can be known.
    """
    tensorrt.check_target(options.sm, options.precision, options.timing_cache is not None)
    manifest = read_manifest(bundle)
    check_given(manifest, options.shapes)
    batch = _batch(manifest, options)
    # All files and profiles are looked at before minutes are spent on the first engine.
    plans = []
    for stage in manifest["stages"]:
        profile = stage_profile(manifest, stage, batch, options.shapes)
        onnx_file, sha256 = _graph(bundle, stage, options.precision)
        key = EngineKey(
            backend=tensorrt.name,
            backend_version=tensorrt.version,
            sm=options.sm,
            precision=options.precision,
            stage=stage["name"],
            onnx_sha256=sha256,
            source_sha256=stage["sha256"],
            profiles=[as_json(profile)],
            builder_options=_noted(options),
        )
        plans.append((stage, profile, onnx_file, key))
    for number, (stage, profile, onnx_file, key) in enumerate(plans, 1):
        step = f"stage {key.stage} ({number} of {len(plans)})"
        yield _one_engine(bundle, manifest, stage, profile, onnx_file, key, tensorrt, options, say, step)


def _one_engine(
    bundle: Path,
    manifest: dict[str, Any],
    stage: dict[str, Any],
    profile: Mapping[str, Shapes],
    onnx_file: Path,
    key: EngineKey,
    tensorrt: TensorRT,
    options: EngineOptions,
    say: Callable[[str], None],
    step: str,
) -> EngineReport:
    file = bundle / _FOLDER / key.file_name
    raw = file.with_suffix(".plan")
    if not options.force and _has_key(file, key) and (raw.is_file() or not options.raw_plan):
        say(f"{step}: up to date")
        _note(bundle, manifest, stage, file, key)
        return EngineReport(key.stage, file, file.stat().st_size, 0.0, False, {})
    say(f"{step}: building for sm_{key.sm}, {key.precision}, {key.backend} {key.backend_version}")
    start = time.monotonic()
    built = _build(tensorrt, onnx_file, profile, options, step)
    write_engine(file, key, built.plan)
    if options.raw_plan:
        write_parts(raw, (built.plan,))
    if options.timing_cache is not None and built.timing_cache is not None:
        write_atomically(options.timing_cache, built.timing_cache)
    _note(bundle, manifest, stage, file, key)
    return EngineReport(key.stage, file, file.stat().st_size, time.monotonic() - start, True, built.products)


def _build(
    tensorrt: TensorRT, onnx_file: Path, profile: Mapping[str, Shapes], options: EngineOptions, step: str
) -> BuiltPlan:
    cache = b"" if options.timing_cache is not None else None
    if options.timing_cache is not None and options.timing_cache.is_file():
        cache = options.timing_cache.read_bytes()
    with shown_progress(step) as progress:
        return build_plan(
            tensorrt,
            onnx_file,
            options.sm,
            options.precision,
            profile,
            BuilderOptions(options.workspace_bytes, cache),
            progress,
        )


def _graph(bundle: Path, stage: dict[str, Any], precision: str) -> tuple[Path, str]:
    """The ONNX file of the stage in this precision, and its sha256."""
    source = stage_file(bundle, stage)
    if precision == "fp32":
        return source, stage["sha256"]
    entry = typed_entry(bundle, stage)
    if entry is None:
        raise ExportError(f"{bundle}: stage {stage['name']} has no FP16 form that is up to date: --precision fp16")
    return bundle / entry["file"], entry["sha256"]


def _batch(manifest: Mapping[str, Any], options: EngineOptions) -> tuple[int, int, int]:
    own = manifest["batch"]["min"], manifest["batch"]["opt"], manifest["batch"]["max"]
    batch = options.batch or own
    if not 1 <= batch[0] <= batch[1] <= batch[2] <= own[2]:
        raise ExportError(
            f"--batch: expected 1 <= MIN <= OPT <= MAX <= {own[2]}, which is the bundle's largest batch; "
            f"found {','.join(map(str, batch))}"
        )
    return batch


def _noted(options: EngineOptions) -> dict[str, Any]:
    noted: dict[str, Any] = {"strongly_typed": True, "tf32": False}
    if options.workspace_bytes is not None:
        noted["workspace_bytes"] = options.workspace_bytes
    return noted


def _has_key(file: Path, key: EngineKey) -> bool:
    with contextlib.suppress(ExportError):
        return file.is_file() and read_key(file) == key
    return False


def _note(bundle: Path, manifest: dict[str, Any], stage: dict[str, Any], file: Path, key: EngineKey) -> None:
    """The engine into the manifest, in the place of an older one of its name; entries without a file go."""
    entry = {
        "file": file.relative_to(bundle).as_posix(),
        "backend": key.backend,
        "backend_version": key.backend_version,
        "sm": key.sm,
        "precision": key.precision,
        "onnx_sha256": key.onnx_sha256,
        "size": file.stat().st_size,
    }
    old = stage.get("engines") or []
    others = [one for one in old if one["file"] != entry["file"] and (bundle / one["file"]).is_file()]
    if [*others, entry] != old:
        stage["engines"] = [*others, entry]
        update_manifest(bundle, manifest)
