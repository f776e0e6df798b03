"""Run instance-segmentation bundles: `Predictor(bundle)(image)`.

The names below are loaded on first use, so that `import instseg_rt` itself stays cheap (no OpenCV, no
backend).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from instseg_rt._core import BundleInfo, load_bundle
    from instseg_rt.backend import backends, register_backend
    from instseg_rt.embedded import default_bundle, embedded_bundles
    from instseg_rt.errors import (
        BackendError,
        BadBundleError,
        Error,
        IncompatibleEngineError,
        InternalError,
        InvalidArgumentError,
        IoError,
        OutOfMemoryError,
        UnsupportedError,
    )
    from instseg_rt.gpu_result import GpuMasks, GpuResult
    from instseg_rt.paddlex import create_model, create_pipeline
    from instseg_rt.predictor import Predictor
    from instseg_rt.result import Result, Timings

__all__ = [
    "BackendError",
    "BadBundleError",
    "BundleInfo",
    "Error",
    "GpuMasks",
    "GpuResult",
    "IncompatibleEngineError",
    "InternalError",
    "InvalidArgumentError",
    "IoError",
    "OutOfMemoryError",
    "Predictor",
    "Result",
    "Timings",
    "UnsupportedError",
    "backends",
    "create_model",
    "create_pipeline",
    "default_bundle",
    "embedded_bundles",
    "load_bundle",
    "register_backend",
]

_MODULES = {
    "BundleInfo": "_core",
    "GpuMasks": "gpu_result",
    "GpuResult": "gpu_result",
    "Predictor": "predictor",
    "Result": "result",
    "Timings": "result",
    "backends": "backend",
    "create_model": "paddlex",
    "create_pipeline": "paddlex",
    "default_bundle": "embedded",
    "embedded_bundles": "embedded",
    "load_bundle": "_core",
    "register_backend": "backend",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
