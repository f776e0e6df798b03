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
    build = _BundleBuild(bundle, tensorrt, options, say)
    # All files and profiles are looked at before minutes are spent on the first engine.
    jobs = build.jobs()
    for number, job in enumerate(jobs, 1):
        yield build.run(job, f"stage {job.key.stage} ({number} of {len(jobs)})")


@dataclass(frozen=True)
class _Job:
    """stage: its entry in the manifest. onnx_file: of the precision that is asked for."""

    stage: dict[str, Any]
    onnx_file: Path
    profile: Mapping[str, Shapes]
    key: EngineKey


class _BundleBuild:
    def __init__(self, bundle: Path, tensorrt: TensorRT, options: EngineOptions, say: Callable[[str], None]) -> None:
        self._bundle, self._tensorrt, self._options, self._say = bundle, tensorrt, options, say
        self._manifest = read_manifest(bundle)

    def jobs(self) -> list[_Job]:
        check_given(self._manifest, self._options.shapes)
        batch = _batch(self._manifest, self._options)
        return [self._job(stage, batch) for stage in self._manifest["stages"]]

    def _job(self, stage: dict[str, Any], batch: tuple[int, int, int]) -> _Job:
        options = self._options
        profile = stage_profile(self._manifest, stage, batch, options.shapes)
        onnx_file, sha256 = _graph(self._bundle, stage, options.precision)
        key = EngineKey(
            backend=self._tensorrt.name,
            backend_version=self._tensorrt.version,
            sm=options.sm,
            precision=options.precision,
            stage=stage["name"],
            onnx_sha256=sha256,
            source_sha256=stage["sha256"],
            profiles=[as_json(profile)],
            builder_options=_noted(options),
        )
        return _Job(stage, onnx_file, profile, key)

    def run(self, job: _Job, step: str) -> EngineReport:
        """The engine, built where it is not up to date, and named in the manifest."""
        key, options = job.key, self._options
        file = self._bundle / _FOLDER / key.file_name
        raw = file.with_suffix(".plan")
        start, products = time.monotonic(), {}
        built = options.force or not _has_key(file, key) or (options.raw_plan and not raw.is_file())
        if built:
            self._say(f"{step}: building for sm_{key.sm}, {key.precision}, {key.backend} {key.backend_version}")
            result = self._build(job, step)
            products = result.products
            write_engine(file, key, result.plan)
            if options.raw_plan:
                write_parts(raw, (result.plan,))
            if options.timing_cache is not None and result.timing_cache is not None:
                write_atomically(options.timing_cache, result.timing_cache)
        else:
            self._say(f"{step}: up to date")
        self._note(job, file)
        return EngineReport(key.stage, file, file.stat().st_size, time.monotonic() - start, built, products)

    def _build(self, job: _Job, step: str) -> BuiltPlan:
        options = self._options
        cache = b"" if options.timing_cache is not None else None
        if options.timing_cache is not None and options.timing_cache.is_file():
            cache = options.timing_cache.read_bytes()
        builder_options = BuilderOptions(options.workspace_bytes, cache)
        with shown_progress(step) as progress:
            return build_plan(
                self._tensorrt, job.onnx_file, options.sm, options.precision, job.profile, builder_options, progress
            )

    def _note(self, job: _Job, file: Path) -> None:
        """The engine into the manifest, in the place of an older one of its name; entries without a file go."""
        entry = {
            "file": file.relative_to(self._bundle).as_posix(),
            "backend": job.key.backend,
            "backend_version": job.key.backend_version,
            "sm": job.key.sm,
            "precision": job.key.precision,
            "onnx_sha256": job.key.onnx_sha256,
            "size": file.stat().st_size,
        }
        old = job.stage.get("engines") or []
        others = [one for one in old if one["file"] != entry["file"] and (self._bundle / one["file"]).is_file()]
        if [*others, entry] != old:
            job.stage["engines"] = [*others, entry]
            update_manifest(self._bundle, self._manifest)


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
