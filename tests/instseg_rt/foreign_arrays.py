"""Arrays as other libraries show them; their "GPU" is the host's memory."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

CPU, CUDA, CUDA_MANAGED = 1, 2, 13
UINT8 = (1, 8, 1)


class CudaArray:
    """With a `__cuda_array_interface__` of version 3; `changes` replace its entries, None as a value included."""

    def __init__(self, pixels: np.ndarray, **changes: Any) -> None:
        self.pixels = pixels
        self.interface = {
            "shape": pixels.shape,
            "typestr": pixels.dtype.str,
            "data": (pixels.ctypes.data, False),
            "strides": None if pixels.flags.c_contiguous else pixels.strides,
            "version": 3,
            "stream": None,
        } | changes

    @property
    def __cuda_array_interface__(self) -> Any:
        return self.interface


class _Device(ctypes.Structure):
    _fields_ = [("type", ctypes.c_int32), ("id", ctypes.c_int32)]


class _DataType(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16)]


class _Tensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device", _Device),
        ("ndim", ctypes.c_int32),
        ("dtype", _DataType),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


_Deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class _Managed(ctypes.Structure):
    _fields_ = [("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", _Deleter)]


class _ManagedVersioned(ctypes.Structure):
    _fields_ = [
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", _Deleter),
        ("flags", ctypes.c_uint64),
        ("tensor", _Tensor),
    ]


_new_capsule = ctypes.pythonapi.PyCapsule_New
_new_capsule.restype = ctypes.py_object
_new_capsule.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]


class DlpackArray:
    """With `__dlpack__`. deleted: how often a tensor was given back; streams: those that were asked for."""

    def __init__(
        self,
        pixels: np.ndarray,
        *,
        device: Any = (CUDA, 0),
        dtype: tuple[int, int, int] = UINT8,
        strides: bool = False,
        offset: int = 0,
        ndim: int | None = None,
        version: int | None = None,
        address: int | None = None,
    ) -> None:
        self.pixels = pixels
        self.device = device
        self.deleted = 0
        self.streams: list[Any] = []
        self._deleter = _Deleter(self._delete)
        axes = ctypes.c_int64 * pixels.ndim
        self._axes = [axes(*pixels.shape), axes(*(stride // pixels.itemsize for stride in pixels.strides))]
        tensor = _Tensor(
            (pixels.ctypes.data if address is None else address) - offset,
            _Device(*device) if device in [(CPU, 0), (CUDA, 0), (CUDA_MANAGED, 0)] else _Device(CUDA, 0),
            pixels.ndim if ndim is None else ndim,
            _DataType(*dtype),
            self._axes[0],
            self._axes[1] if strides else None,
            offset,
        )
        self._managed: Any = (
            _Managed(tensor, None, self._deleter)
            if version is None
            else _ManagedVersioned(version, 0, None, self._deleter, 0, tensor)
        )
        self._name = b"dltensor" if version is None else b"dltensor_versioned"

    def __dlpack__(self, *, stream: Any = None) -> Any:
        self.streams.append(stream)
        return _new_capsule(ctypes.addressof(self._managed), self._name, None)

    def __dlpack_device__(self) -> Any:
        return self.device

    def _delete(self, _: int) -> None:
        self.deleted += 1
