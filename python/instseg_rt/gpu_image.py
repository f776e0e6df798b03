"""Images on a GPU, from any library that shows them: the CUDA Array Interface (`__cuda_array_interface__`, version 2
or 3) and DLPack (`__dlpack__`). The pixels are not copied.

What these protocols say about an array is taken for a claim: everything is checked before it reaches the GPU.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np

from instseg_rt import _core, image_file
from instseg_rt.errors import Error, InvalidArgumentError
from instseg_rt.type_names import type_name

# DLDeviceType of DLPack.
_HOST = (1, 3)  # kDLCPU, kDLCUDAHost: page-locked
DLPACK_CUDA = 2  # kDLCUDA
_GPU = (DLPACK_CUDA, 13)  # and kDLCUDAManaged
_LEGACY_STREAM = 1  # in both protocols, and as a cudaStream_t
_MAX_ADDRESS = 2**64 - 1
_MAX_STRIDE = 2**40
_UINT8 = ("|u1", "<u1", ">u1")

_EXPECTED = "expected uint8 of the shape HxW, HxWx1, HxWx3 or HxWx4"
_CHANNELS_LAST = "channels come last: .permute(1, 2, 0).contiguous() in PyTorch"


@dataclass(slots=True)
class TakenImage:
    """Pixels on a GPU that are ours until `release()`.

    image: for the core. keep: what owns the pixels.
    """

    image: _core.GpuImage
    keep: Any

    def release(self) -> None:
        """Give the pixels back to their owner. May be called again."""
        if isinstance(self.keep, _core.DlpackTensor):
            self.keep.release()
        self.keep = None


def is_foreign_array(item: Any) -> bool:
    """Is it an array of another library, on a GPU or on the host?"""
    return _has(item, "__dlpack__") or _has(item, "__cuda_array_interface__")


def host_array(item: Any) -> np.ndarray | None:
    """The array as one of numpy, without a copy, where it lies on the host; None where it lies on a GPU.

    Raises `InvalidArgumentError` for what is on another kind of device, or is refused by its own library.
    """
    name = _name(item)
    if _cuda_interface(item, name) is not None:
        return None
    if not (_has(item, "__dlpack__") and _has(item, "__dlpack_device__")):
        raise InvalidArgumentError(
            f"{name}: it gives neither a __cuda_array_interface__ nor __dlpack__ with its device"
        )
    device = _call(lambda: item.__dlpack_device__(), name)  # noqa: PLW0108 (looking it up is foreign code too)
    if not (isinstance(device, tuple) and len(device) == 2 and isinstance(device[0], int)):
        raise InvalidArgumentError(f"{name}: expected a device (type, number) from __dlpack_device__, found {device!r}")
    if device[0] in _GPU:
        return None
    if device[0] not in _HOST:
        raise InvalidArgumentError(
            f"{name}: expected pixels on the host or on a CUDA GPU, found DLPack's device type {int(device[0])}"
        )
    return _call(lambda: np.from_dlpack(item), name)


def take_image(item: Any) -> TakenImage:
    """Take over an image on a GPU, in the thread that predicts: the order of streams is that thread's.

    Where an object offers both protocols, the one is used that says on which stream the pixels are written:
    the CUDA Array Interface from version 3 on, else DLPack. A dictionary of version 2 alone says nothing of streams;
    the pixels are then those of the legacy default stream.

    Raises `InvalidArgumentError` for everything but contiguous uint8 pixels, in rows of any distance.
    """
    name = _name(item)
    interface = _cuda_interface(item, name)
    if interface is None or ("stream" not in interface and _has(item, "__dlpack__")):
        return _from_dlpack(item, name)
    return _from_interface(interface, item, name)


def _has(item: Any, attribute: str) -> bool:
    """Without running code of the object's."""
    return inspect.getattr_static(item, attribute, None) is not None


def _name(item: Any) -> str:
    return f"GPU image ({type_name(item)})"


def _call(function: Callable[[], Any], name: str) -> Any:
    """Runs code of the other library; its errors become ours, of one line."""
    try:
        return function()
    except Error:
        raise
    except Exception as error:
        text = " ".join(str(error).split())
        raise InvalidArgumentError(f"{name}: {type(error).__name__}: {text}") from error


def _cuda_interface(item: Any, name: str) -> dict[str, Any] | None:
    """None where there is none, as for a tensor of PyTorch on the host."""
    found = _call(lambda: getattr(item, "__cuda_array_interface__", None), name)
    if found is not None and not isinstance(found, dict):
        raise InvalidArgumentError(f"{name}: expected a dict from __cuda_array_interface__, found {type_name(found)}")
    return found


def _from_interface(interface: dict[str, Any], item: Any, name: str) -> TakenImage:
    version = interface.get("version")
    if not _is_int(version) or version < 2:
        raise InvalidArgumentError(f"{name}: expected __cuda_array_interface__ of version 2 or 3, found {version!r}")
    if interface.get("mask") is not None:
        raise InvalidArgumentError(f"{name}: expected an array without a mask, found one")
    data = interface.get("data")
    if not (isinstance(data, tuple) and len(data) == 2):
        raise InvalidArgumentError(f"{name}: expected data (address, read-only), found {data!r}")
    typestr = interface.get("typestr")
    dtype = "uint8" if typestr in _UINT8 else f"typestr {typestr!r}"
    shape, strides = interface.get("shape"), interface.get("strides")
    stream = _interface_stream(interface.get("stream", _LEGACY_STREAM), name)
    return TakenImage(_checked(name, data[0], dtype, shape, strides, stream), item)


def _interface_stream(stream: Any, name: str) -> int:
    """0: nothing to wait for."""
    if stream is None:
        return 0
    if not _is_int(stream) or not 0 < stream <= _MAX_ADDRESS:
        raise InvalidArgumentError(
            f"{name}: expected a stream of None, 1 (legacy default), 2 (per-thread default) or a cudaStream_t, "
            f"found {stream!r}"
        )
    return int(stream)


def _from_dlpack(item: Any, name: str) -> TakenImage:
    # The producer makes the stream that is named here wait for its own, and we wait for that one.
    capsule = _call(lambda: item.__dlpack__(stream=_LEGACY_STREAM), name)
    tensor = _call(lambda: _core.DlpackTensor(capsule), name)
    try:
        device, number = tensor.device
        if device not in _GPU:
            raise InvalidArgumentError(f"{name}: expected a tensor on a CUDA GPU, found device ({device}, {number})")
        # Of uint8 an element is a byte.
        image = _checked(name, tensor.address, tensor.dtype, tensor.shape, tensor.strides, _LEGACY_STREAM)
    except BaseException:
        tensor.release()
        raise
    return TakenImage(image, tensor)


def _checked(name: str, address: Any, dtype: str, shape: Any, strides: Any, stream: int) -> _core.GpuImage:
    if dtype != "uint8":
        raise InvalidArgumentError(f"{name}: {_EXPECTED}, found {dtype}: convert it yourself, its range is not known")
    sizes = _sizes(name, shape)
    height, width = sizes[:2]
    channels = sizes[2] if len(sizes) == 3 else 1
    stride = _row_stride(name, height, width, channels, _checked_strides(name, strides, sizes))
    if not _is_int(address) or not 0 < address <= _MAX_ADDRESS:
        raise InvalidArgumentError(f"{name}: expected the address of pixels on a GPU, found {address!r}")
    return _core.GpuImage(int(address), height, width, channels, stride, stream)


def _sizes(name: str, shape: Any) -> tuple[int, ...]:
    if not isinstance(shape, tuple | list) or not all(_is_int(size) for size in shape):
        raise InvalidArgumentError(f"{name}: {_EXPECTED}, found the shape {shape!r}")
    sizes = tuple(int(size) for size in shape)
    text = "x".join(map(str, sizes)) or "a scalar"
    if len(sizes) == 3 and sizes[2] not in (1, 3, 4) and sizes[0] in (1, 3, 4):
        raise InvalidArgumentError(f"{name}: {_EXPECTED}, found {text}; {_CHANNELS_LAST}")
    if not (len(sizes) == 2 or (len(sizes) == 3 and sizes[2] in (1, 3, 4))):
        hint = "; for a batch give a list of images" if len(sizes) == 4 else ""
        raise InvalidArgumentError(f"{name}: {_EXPECTED}, found {text}{hint}")
    if min(sizes) < 1:
        raise InvalidArgumentError(f"{name}: expected at least one pixel, found the shape {text}")
    # The core refuses long sides; what it is given has to fit into an int.
    image_file.check_pixel_count(sizes[0], sizes[1], name)
    return sizes


def _checked_strides(name: str, strides: Any, sizes: Sequence[int]) -> tuple[int, ...] | None:
    if strides is None:
        return None
    if (
        not isinstance(strides, tuple | list)
        or len(strides) != len(sizes)
        or not all(_is_int(stride) and abs(stride) <= _MAX_STRIDE for stride in strides)
    ):
        raise InvalidArgumentError(f"{name}: expected {len(sizes)} strides of bytes, found {strides!r}")
    return tuple(int(stride) for stride in strides)


def _row_stride(name: str, height: int, width: int, channels: int, strides: tuple[int, ...] | None) -> int:
    """Bytes from row to row. Axes of size 1 have strides without meaning."""
    row = width * channels
    if strides is None:
        return row
    pixels_apart = width > 1 and strides[1] != channels
    channels_apart = channels > 1 and strides[2] != 1
    if pixels_apart or channels_apart or (height > 1 and strides[0] < row):
        expected = f"({row} or more, {channels}{', 1' if len(strides) == 3 else ''})"
        raise InvalidArgumentError(
            f"{name}: expected pixels without gaps, strides {expected}, found {strides}: "
            "call .contiguous() (PyTorch) or ascontiguousarray (CuPy) first"
        )
    return strides[0] if height > 1 else row


def _is_int(value: Any) -> TypeGuard[int]:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
