"""Results that stay on the GPU, with the C++ tests' stand-in for one (cpp/tests/device)."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from instseg_rt import GpuResult, Predictor, Result, _core
from instseg_rt.errors import InvalidArgumentError, UnsupportedError

Download = Callable[[Any], np.ndarray]
Pieces = Callable[[], int]


@pytest.fixture(scope="module")
def library(gpu_plugins: Path) -> ctypes.CDLL:
    return ctypes.CDLL(str(gpu_plugins / "libinstseg_host_gpu.so"))


@pytest.fixture(scope="module")
def download(library: ctypes.CDLL) -> Download:
    """`download(array)`: what is behind the CUDA Array Interface, as another library would read it."""
    function = library.instseg_test_gpu_download
    function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
    function.restype = None

    def read(array: Any) -> np.ndarray:
        interface = array.__cuda_array_interface__
        assert interface["version"] == 3
        assert interface["stream"] is None
        assert interface["strides"] is None
        address, read_only = interface["data"]
        assert not read_only
        found = np.full(interface["shape"], 7, interface["typestr"])
        function(found.ctypes.data, address, found.nbytes)
        return found

    return read


@pytest.fixture(scope="module")
def pieces(library: ctypes.CDLL) -> Pieces:
    """`pieces()`: how many pieces of the GPU's memory are in use."""
    function = library.instseg_test_gpu_pieces
    function.restype = ctypes.c_int64

    def count() -> int:
        gc.collect()
        return int(function())

    return count


@pytest.fixture
def result(gpu_predictor: Predictor, colored_image: np.ndarray) -> GpuResult:
    return next(gpu_predictor.predict_on_gpu(colored_image))


def assert_same(found: GpuResult | Result, expected: Result) -> None:
    for name in ("boxes", "scores", "class_ids"):
        one, other = getattr(found, name), getattr(expected, name)
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype
    for name in ("labels", "names", "orig_shape", "input_path", "page_index"):
        assert getattr(found, name) == getattr(expected, name)
    assert len(found) == len(expected)


def test_what_predict_gives(gpu_predictor: Predictor, colored_image: np.ndarray, download: Download) -> None:
    expected = gpu_predictor(colored_image)
    assert len(expected) > 1
    (found,) = gpu_predictor.predict_on_gpu(colored_image)
    assert_same(found, expected)
    np.testing.assert_array_equal(download(found.masks), expected.masks)
    assert found.timings.batch_size == 1
    assert found.timings.total_ms > 0
    assert found.device == found.masks.device == "gpu:0"
    assert repr(found) == repr(expected).replace("Result", "GpuResult")

    host = found.to_host()
    assert_same(host, expected)
    np.testing.assert_array_equal(host.masks, expected.masks)
    assert host.timings == found.timings
    assert host.family == expected.family
    assert host.category_ids == expected.category_ids
    np.testing.assert_array_equal(host.plot(), expected.plot())


def test_every_input_and_batch(gpu_predictor: Predictor, colored_image: np.ndarray, tmp_path: Path) -> None:
    path = str(tmp_path / "a.png")
    cv2.imwrite(path, colored_image)
    inputs = [path, colored_image, colored_image[:96, :160], np.zeros((40, 50), np.uint8), path]
    expected = list(gpu_predictor.predict(inputs, batch_size=2, threshold=0.2))
    found = list(gpu_predictor.predict_on_gpu(inputs, batch_size=2, threshold=0.2))
    assert [one.timings.batch_size for one in found] == [2, 2, 2, 2, 1]
    for one, other in zip(found, expected, strict=True):
        assert_same(one, other)
        np.testing.assert_array_equal(one.to_host().masks, other.masks)
    (swapped,) = gpu_predictor.predict_on_gpu(colored_image[:, :, ::-1], color="rgb")
    assert_same(swapped, gpu_predictor(colored_image))


def test_masks_are_made_once(result: GpuResult) -> None:
    assert result.masks is result.masks
    assert result.masks.shape == (len(result), 128, 192)
    assert result.masks.dtype == np.uint8
    assert len(result.masks) == len(result)
    assert repr(result.masks) == f"GpuMasks({len(result)}x128x192 uint8; gpu:0)"


@pytest.mark.parametrize("version", [None, (0, 8), (1, 0), (1, 1)])
def test_dlpack(result: GpuResult, version: tuple[int, int] | None) -> None:
    masks = result.masks
    assert masks.__dlpack_device__() == (2, 0)
    for stream in (None, -1, 1, 2, 12345):
        capsule = masks.__dlpack__(stream=stream, max_version=version, dl_device=(2, 0), copy=False)
        assert ("dltensor_versioned" in repr(capsule)) == (version is not None and version[0] >= 1)
        tensor = _core.DlpackTensor(capsule)
        assert tensor.address == masks.__cuda_array_interface__["data"][0]
        assert tuple(tensor.shape) == masks.shape
        assert tensor.strides == [128 * 192, 192, 1]
        assert (tensor.dtype, tensor.device) == ("uint8", (2, 0))
        with pytest.raises(InvalidArgumentError, match="not used yet"):
            _core.DlpackTensor(capsule)


@pytest.mark.parametrize("version", [None, (1, 0)])
def test_a_tensor_keeps_the_memory(
    gpu_predictor: Predictor,
    colored_image: np.ndarray,
    download: Download,
    pieces: Pieces,
    version: tuple[int, int] | None,
) -> None:
    expected = gpu_predictor(colored_image).masks
    result: GpuResult | None = next(gpu_predictor.predict_on_gpu(colored_image))
    masks = result.masks if result else None
    assert masks is not None
    shown = type("Shown", (), {"__cuda_array_interface__": masks.__cuda_array_interface__})()
    with_masks = pieces()
    unused = masks.__dlpack__(max_version=version)
    tensor = _core.DlpackTensor(masks.__dlpack__(max_version=version))
    del masks, result
    list(gpu_predictor.predict_on_gpu([colored_image] * 2))  # takes the memory that came back
    np.testing.assert_array_equal(download(shown), expected)
    assert pieces() == with_masks
    tensor.release()
    tensor.release()
    assert pieces() == with_masks
    del unused  # the capsule that nobody took was the last
    assert pieces() == with_masks - 1


def test_a_copy_or_another_device_is_refused(result: GpuResult) -> None:
    with pytest.raises(BufferError, match="a copy"):
        result.masks.__dlpack__(copy=True)
    with pytest.raises(BufferError, match=r"are on gpu:0, found dl_device=\(1, 0\)"):
        result.masks.__dlpack__(dl_device=(1, 0))


def test_nothing_found(gpu_predictor: Predictor, colored_image: np.ndarray) -> None:
    (empty,) = gpu_predictor.predict_on_gpu(colored_image, threshold=1.0)
    assert len(empty) == len(empty.to_host()) == 0
    assert empty.boxes.shape == (0, 4)
    assert empty.masks.shape == (0, 128, 192)
    assert empty.masks.__cuda_array_interface__["data"] == (0, False)
    tensor = _core.DlpackTensor(empty.masks.__dlpack__())
    assert (tensor.address, tensor.shape) == (0, [0, 128, 192])
    assert repr(empty) == "GpuResult(nothing found; 192x128; no path)"


def test_results_outlive_the_predictor(
    gpu_predictor: Predictor, tiny_bundle: Path, colored_image: np.ndarray, download: Download, pieces: Pieces
) -> None:
    expected = gpu_predictor(colored_image)
    before = pieces()
    with Predictor(tiny_bundle, device="gpu:0", backend="test_gpu", threshold=0.05, threads=2) as other:
        kept = list(other.predict_on_gpu([colored_image] * 3))
    del other
    for result in kept:
        np.testing.assert_array_equal(result.to_host().masks, expected.masks)
        np.testing.assert_array_equal(download(result.masks), expected.masks)
    del kept, result
    assert pieces() == before


def test_many_threads(gpu_predictor: Predictor, colored_image: np.ndarray, download: Download) -> None:
    expected = gpu_predictor(colored_image)

    def work(_: int) -> list[GpuResult]:
        return list(gpu_predictor.predict_on_gpu([colored_image] * 3, batch_size=2))

    with ThreadPoolExecutor(3) as threads:
        kept = [result for results in threads.map(work, range(6)) for result in results]
    assert len(kept) == 18
    for result in kept:
        np.testing.assert_array_equal(result.to_host().masks, expected.masks)
        np.testing.assert_array_equal(download(result.masks), expected.masks)


def test_ops_on_the_cpu(tiny_bundle: Path, colored_image: np.ndarray) -> None:
    with Predictor(tiny_bundle) as cpu, pytest.raises(UnsupportedError, match=r"device is 'cpu'; use predict"):
        cpu.predict_on_gpu(colored_image)


def test_arguments(gpu_predictor: Predictor, colored_image: np.ndarray) -> None:
    with pytest.raises(InvalidArgumentError, match="threshold"):
        gpu_predictor.predict_on_gpu(colored_image, threshold=2)
    with pytest.raises(InvalidArgumentError, match="batch_size"):
        gpu_predictor.predict_on_gpu(colored_image, batch_size=0)
    with pytest.raises(InvalidArgumentError, match="found float"):
        list(gpu_predictor.predict_on_gpu(0.5))
