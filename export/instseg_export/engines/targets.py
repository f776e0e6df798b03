"""What engines are built for, by the names of the command line."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import ExportError

TARGETS: Mapping[str, int] = {"t4": 75, "sm75": 75, "sm80": 80, "sm86": 86, "sm89": 89, "sm90": 90, "sm120": 120}
"""Name -> compute capability, as in sm_75."""

BACKENDS: Mapping[str, str] = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
"""Name on the command line -> Python module, name in files and in the runtime."""

TENSORRT_FOR_T4 = "10.13"
"""The release of TensorRT that engines for a T4 are made with and checked against."""


def target_sm(target: str) -> int:
    if target not in TARGETS:
        raise ExportError(f"--target {target}: expected one of {', '.join(TARGETS)}")
    return TARGETS[target]


def spelling(module: str) -> str:
    """A module's name on the command line."""
    return next(name for name, found in BACKENDS.items() if found == module)
