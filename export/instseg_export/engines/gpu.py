"""The GPU of this machine, asked of NVIDIA's driver; no other package is needed."""

from __future__ import annotations

import ctypes
import sys

_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR


class NoGpu(Exception):
    """Why there is none; one line."""


def gpu_sm(index: int = 0) -> int:
    """Compute capability of a visible GPU, 75 for a T4; raises `NoGpu`."""
    library = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(library)
    except OSError as error:
        raise NoGpu(f"NVIDIA's driver is not there ({error})") from error
    _check(driver.cuInit(0), "cuInit")
    count = ctypes.c_int()
    _check(driver.cuDeviceGetCount(ctypes.byref(count)), "cuDeviceGetCount")
    if index >= count.value:
        raise NoGpu(f"the driver shows {count.value} GPUs")
    device = ctypes.c_int()
    _check(driver.cuDeviceGet(ctypes.byref(device), index), "cuDeviceGet")
    parts = []
    for attribute in (_MAJOR, _MINOR):
        value = ctypes.c_int()
        _check(driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, device), "cuDeviceGetAttribute")
        parts.append(value.value)
    return 10 * parts[0] + parts[1]


def _check(status: int, call: str) -> None:
    if status != 0:
        raise NoGpu(f"{call} of NVIDIA's driver gave error {status}")
