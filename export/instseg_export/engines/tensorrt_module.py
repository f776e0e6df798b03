"""The Python modules `tensorrt` (10 and 11) and `tensorrt_rtx`, and all that differs between them.

Both have the same classes. TensorRT builds for the GPU that is there, and measures on it; TensorRT-RTX builds for the
compute capabilities that it is told, without a GPU, and leaves the last step to the machine that loads the engine.
"""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from ..errors import ExportError
from .gpu import NoGpu, gpu_sm
from .targets import BACKENDS, TENSORRT_FOR_T4, spelling

_TURING = 75


@dataclass(frozen=True)
class BuilderOptions:
    """workspace_bytes: most device memory for scratch, None: TensorRT's own limit. timing_cache: what was measured
    earlier, None: without.
    """

    workspace_bytes: int | None = None
    timing_cache: bytes | None = None


class TensorRT:
    """One of the two modules. `name`: as in files; `version`: of the library."""

    def __init__(self, backend: str) -> None:
        """backend: a name of the command line. Raises `ExportError` where it is not installed."""
        self.name = BACKENDS[backend]
        self.module = _import(self.name)
        self.version = str(self.module.__version__)
        self._rtx = self.name == "tensorrt_rtx"

    @property
    def needs_gpu(self) -> bool:
        return not self._rtx

    def sm_of_this_machine(self) -> int:
        """The compute capability that TensorRT builds for; raises `ExportError` without a GPU."""
        try:
            return gpu_sm()
        except NoGpu as error:
            raise ExportError(
                f"--backend {spelling(self.name)} builds engines on the GPU that they are for, and this machine has "
                f"none: {error}. Run it there, or build FP16 engines here with --backend tensorrt-rtx"
            ) from error

    def check_target(self, sm: int, precision: str, timing_cache: bool) -> None:
        """Raises `ExportError` for what this module cannot build."""
        if self._rtx:
            self._check_rtx(sm, precision, timing_cache)
            return
        found = self.sm_of_this_machine()
        if found != sm:
            raise ExportError(
                f"--target sm{sm}: TensorRT builds only for the GPU of this machine, which is sm_{found}: run the same "
                f"command on a machine with an sm_{sm} GPU, or build with --backend tensorrt-rtx"
            )

    def _check_rtx(self, sm: int, precision: str, timing_cache: bool) -> None:
        known = self._capabilities()
        if sm not in known:
            raise ExportError(
                f"--target sm{sm}: TensorRT-RTX {self.version} builds for {', '.join(f'sm{one}' for one in known)} "
                f"only: build with --backend tensorrt on a machine with such a GPU"
            )
        if sm == _TURING and precision != "fp16":
            raise ExportError(
                "--precision fp32: TensorRT-RTX has no float32 matrix products for sm75 (T4): use --precision fp16, "
                f"or build with full TensorRT on the T4 itself: --backend tensorrt (pip install "
                f"'tensorrt=={TENSORRT_FOR_T4}.*')"
            )
        if timing_cache:
            raise ExportError("--timing-cache: TensorRT-RTX measures nothing while it builds, so it has no such cache")

    def _capabilities(self) -> list[int]:
        """What TensorRT-RTX can build for."""
        names = [name for name in dir(self.module.ComputeCapability) if name.startswith("SM")]
        return sorted(int(name.removeprefix("SM")) for name in names)

    def create_network(self, builder: Any) -> Any:
        """Strongly typed: the types of the ONNX graph are those of the engine. From TensorRT 11 on there is nothing
        else, and the flag may be gone one day.
        """
        flag = getattr(self.module.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
        return builder.create_network(0 if flag is None else 1 << int(flag))

    def configure(self, config: Any, sm: int, options: BuilderOptions) -> None:
        """Sets what is no matter of profiles or of progress."""
        if options.workspace_bytes is not None:
            config.set_memory_pool_limit(self.module.MemoryPoolType.WORKSPACE, options.workspace_bytes)
        # TensorFloat-32 has 10 bits of mantissa, as float16: what is called fp32 here is float32.
        config.clear_flag(self.module.BuilderFlag.TF32)
        if self._rtx:
            config.num_compute_capabilities = 1
            config.set_compute_capability(getattr(self.module.ComputeCapability, f"SM{sm}"), 0)
        elif options.timing_cache is not None:
            cache = config.create_timing_cache(options.timing_cache)
            if not config.set_timing_cache(cache, ignore_mismatch=False):
                raise ExportError("--timing-cache: the file is of another GPU or version of TensorRT: name a new one")

    def timing_cache(self, config: Any) -> bytes | None:
        """What the build measured; None where nothing is measured."""
        cache = None if self._rtx else config.get_timing_cache()
        return None if cache is None else bytes(cache.serialize())


def _import(name: str) -> ModuleType:
    extra = "rtx" if name == "tensorrt_rtx" else "tensorrt"
    if importlib.util.find_spec(name) is None:
        raise ExportError(
            f"--backend {spelling(name)}: its Python package is not installed: pip install 'instseg-rt[{extra}]'"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return importlib.import_module(name)
    except (ImportError, OSError, RuntimeError) as error:
        said = " ".join(str(error).split())
        raise ExportError(f"--backend {spelling(name)}: its Python package cannot be loaded: {said}") from error
