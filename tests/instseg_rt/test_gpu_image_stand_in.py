"""A predictor on the C++ tests' stand-in for a GPU (cpp/tests/device), with images in that GPU's memory."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conftest import REPOSITORY

from instseg_rt import Predictor, _core
from instseg_rt.errors import InvalidArgumentError
from instseg_rt.result import Result

from .foreign_arrays import CudaArray, DlpackArray

Upload = Callable[[np.ndarray, int], int]


@pytest.fixture(scope="module")
def plugins() -> Path:
    """The test plug-ins of the `dev` build, or where INSTSEG_TEST_PLUGINS says."""
    folder = Path(os.environ.get("INSTSEG_TEST_PLUGINS", REPOSITORY / "build" / "dev" / "test_plugins"))
    if not (folder / "gpu" / "libinstseg_backend_test_gpu.so").is_file():
        pytest.skip(f"no stand-in for a GPU in {folder} (make test-cpp builds it)")
    return folder


@pytest.fixture(scope="module")
def predictor(plugins: Path, tiny_bundle: Path) -> Iterator[Predictor]:
    openvino = next(backend["path"] for backend in _core.backends() if backend["name"] == "openvino")
    Predictor(tiny_bundle).close()  # OpenVINO's libraries are loaded: the stand-in's copy need not look for them
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("INSTSEG_CUDA_LIBRARY", str(plugins / "libinstseg_host_gpu.so"))
        environment.setenv("INSTSEG_PLUGIN_PATH", f"{plugins / 'gpu'}:{Path(str(openvino)).parent}")
        with Predictor(tiny_bundle, device="gpu:0", backend="test_gpu", threshold=0.05, threads=2) as opened:
            assert opened.ops == "gpu:0"
            yield opened


@pytest.fixture(scope="module")
def upload(plugins: Path) -> Upload:
    """`upload(pixels, stream)`: the address of a copy of the pixels' memory; stream 0: it is there at once."""
    function = ctypes.CDLL(str(plugins / "libinstseg_host_gpu.so")).instseg_test_gpu_upload
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
def test_images_on_the_gpu(predictor: Predictor, upload: Upload, colored_image: np.ndarray, protocol: str) -> None:
    wide = np.zeros((128, 200, 3), np.uint8)
    wide[:, :192] = colored_image
    pixels = wide[:, :192]
    expected = predictor(pixels)
    assert len(expected) > 0
    item = wrap(protocol, pixels, upload(wide, 0), None)
    assert same(predictor(item), expected)
    batches = ([pixels, item, pixels], [pixels, pixels, pixels])
    for result, other in zip(*(predictor.predict(batch, batch_size=3) for batch in batches), strict=True):
        assert same(result, other)


def test_the_stream_is_waited_for(predictor: Predictor, upload: Upload, colored_image: np.ndarray) -> None:
    expected = predictor(colored_image)
    late = upload(colored_image, 1)  # on the legacy default stream
    assert not same(predictor(wrap("cuda", colored_image, late, None)), expected)
    assert same(predictor(wrap("cuda", colored_image, late, 1)), expected)
    late = upload(colored_image, 1)
    assert same(predictor(wrap("dlpack", colored_image, late, None)), expected)


def test_memory_that_is_no_gpus(predictor: Predictor, colored_image: np.ndarray) -> None:
    item = DlpackArray(colored_image)
    with pytest.raises(InvalidArgumentError, match="memory of the host"):
        predictor(item)
    assert item.deleted == 1
