"""A predictor on the C++ tests' stand-in for a GPU (cpp/tests/device), with images in that GPU's memory."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from instseg_rt import Predictor
from instseg_rt.errors import InvalidArgumentError
from instseg_rt.result import Result

from .foreign_arrays import CudaArray, DlpackArray

Upload = Callable[[np.ndarray, int], int]


@pytest.fixture(scope="module")
def upload(gpu_plugins: Path) -> Upload:
    """`upload(pixels, stream)`: the address of a copy of the pixels' memory; stream 0: it is there at once."""
    function = ctypes.CDLL(str(gpu_plugins / "libinstseg_host_gpu.so")).instseg_test_gpu_upload
    function.restype = ctypes.c_void_p
    function.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
    return lambda pixels, stream: function(pixels.ctypes.data, pixels.strides[0] * pixels.shape[0], stream)


def same(found: Result, expected: Result) -> bool:
    pairs = [(getattr(found, name), getattr(expected, name)) for name in ("boxes", "scores", "class_ids", "masks")]
    return all(np.array_equal(one, other) for one, other in pairs)


def wrap(protocol: str, pixels: np.ndarray, address: int, stream: int | None) -> Any:
    if protocol == "cuda":
        return CudaArray(pixels, data=(address, False), strides=pixels.strides, stream=stream)
    return DlpackArray(pixels, strides=True, address=address)


@pytest.mark.parametrize("protocol", ["cuda", "dlpack"])
def test_images_on_the_gpu(gpu_predictor: Predictor, upload: Upload, colored_image: np.ndarray, protocol: str) -> None:
    wide = np.zeros((128, 200, 3), np.uint8)
    wide[:, :192] = colored_image
    pixels = wide[:, :192]
    expected = gpu_predictor(pixels)
    assert len(expected) > 0
    item = wrap(protocol, pixels, upload(wide, 0), None)
    assert same(gpu_predictor(item), expected)
    batches = ([pixels, item, pixels], [pixels, pixels, pixels])
    for result, other in zip(*(gpu_predictor.predict(batch, batch_size=3) for batch in batches), strict=True):
        assert same(result, other)


def test_the_stream_is_waited_for(gpu_predictor: Predictor, upload: Upload, colored_image: np.ndarray) -> None:
    expected = gpu_predictor(colored_image)
    late = upload(colored_image, 1)  # on the legacy default stream
    assert not same(gpu_predictor(wrap("cuda", colored_image, late, None)), expected)
    assert same(gpu_predictor(wrap("cuda", colored_image, late, 1)), expected)
    late = upload(colored_image, 1)
    assert same(gpu_predictor(wrap("dlpack", colored_image, late, None)), expected)


def test_memory_that_is_no_gpus(gpu_predictor: Predictor, colored_image: np.ndarray) -> None:
    item = DlpackArray(colored_image)
    with pytest.raises(InvalidArgumentError, match="memory of the host"):
        gpu_predictor(item)
    assert item.deleted == 1
