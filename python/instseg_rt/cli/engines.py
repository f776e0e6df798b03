"""The engines of a bundle, as `instseg inspect` shows them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from instseg_rt import _core
from instseg_rt.errors import Error

_MIB = 1 << 20
_LIBRARIES = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT-RTX"}


@dataclass(frozen=True, slots=True)
class ListedEngine:
    """An engine that the manifest lists, or a file under engines/ that it does not (stage: None).

    takes: sizes of the first axis of the first input, by its profiles, "1 to 8".
    verified: the sha256 of the plan was compared, and is right. problem: why it cannot be used, else None.
    """

    stage: str | None
    file: Path
    backend: str | None = None
    backend_version: str | None = None
    sm: int | None = None
    precision: str | None = None
    onnx_sha256: str | None = None
    size: int | None = None
    takes: str | None = None
    verified: bool = False
    problem: str | None = None

    def data(self) -> dict[str, object]:
        """As JSON shows it."""
        return {**asdict(self), "file": str(self.file)}

    def text(self, bundle: Path) -> str:
        """On one line."""
        parts = [str(self.file.relative_to(bundle))]
        if self.stage is not None:
            library = _LIBRARIES.get(self.backend or "", self.backend)
            parts += [f"stage {self.stage}", f"{library} {self.backend_version}", f"sm_{self.sm}", f"{self.precision}"]
            parts += [f"{(self.size or 0) / _MIB:.1f} MiB"]
        if self.takes:
            parts.append(f"takes {self.takes}")
        if self.verified:
            parts.append("sha256 verified")
        if self.problem:
            parts.append(f"cannot be used: {self.problem}")
        return ", ".join(parts)


def listed_engines(info: _core.BundleInfo, *, verify: bool) -> list[ListedEngine]:
    """All engines of a bundle: those of the manifest, in its order, then other files. verify: compare their sha256."""
    engines = [_listed(stage, spec, verify=verify) for stage in info.stages for spec in stage.engines]
    known = {engine.file for engine in engines}
    others = sorted(set((info.path / "engines").glob("*.engine")) - known)
    return engines + [ListedEngine(None, file, problem="the manifest does not list it") for file in others]


def _listed(stage: _core.StageSpec, spec: _core.EngineSpec, *, verify: bool) -> ListedEngine:
    takes, problem = None, None
    try:
        header = _core.read_engine(spec.file, verify=verify)
        takes = _first_axis(header)
        problem = _difference(stage, spec, header)
    except Error as error:
        problem = str(error)
    return ListedEngine(
        stage.name,
        spec.file,
        spec.backend,
        spec.backend_version,
        spec.sm,
        spec.precision,
        spec.onnx_sha256,
        spec.size,
        takes,
        verify and problem is None,
        problem,
    )


def _difference(stage: _core.StageSpec, spec: _core.EngineSpec, header: _core.Engine) -> str | None:
    compared = (
        ("backend", header["backend"], spec.backend),
        ("backend_version", header["backend_version"], spec.backend_version),
        ("sm", header["sm"], spec.sm),
        ("precision", header["precision"], spec.precision),
        ("onnx_sha256", header["onnx_sha256"], spec.onnx_sha256),
        ("stage", header["stage"], stage.name),
    )
    for key, found, expected in compared:
        if found != expected:
            return f"its header says {key} {found}, the manifest {expected}"
    if header["source_sha256"] != stage.sha256:
        return "it was built from another model than the bundle's stage: build it again with instseg-export"
    size = spec.file.stat().st_size
    return None if size == spec.size else f"it has {size} bytes, the manifest says {spec.size}"


def _first_axis(header: _core.Engine) -> str:
    ranges = []
    for profile in header["profiles"]:
        shapes = next(iter(profile.values()), None)
        if shapes is not None and shapes["min"]:
            ranges.append(f"{shapes['min'][0]} to {shapes['max'][0]}")
    return " or ".join(ranges)
