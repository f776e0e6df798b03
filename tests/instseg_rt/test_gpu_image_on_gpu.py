"""Images and results on a real GPU: `pytest -m gpu`, with INSTSEG_GPU_BUNDLE naming a bundle with engines for it."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from instseg_rt import Predictor
from instseg_rt.result import Result

EXAMPLE = Path(__file__).parents[2] / "examples" / "gpu_images.py"


@pytest.fixture(scope="module")
def pycuda_arrays() -> Any:
    """The module pycuda.gpuarray, with a context on the first GPU."""
    pytest.importorskip("pycuda", reason="needs pycuda")
    try:
        import pycuda.autoprimaryctx  # noqa: F401 (makes the context)
        from pycuda import gpuarray
    except Exception as error:
        pytest.skip(f"no GPU: {error}")
    return gpuarray


@pytest.fixture(scope="module")
def predictor() -> Iterator[Predictor]:
    bundle = os.environ.get("INSTSEG_GPU_BUNDLE")
    if not bundle:
        pytest.skip("INSTSEG_GPU_BUNDLE names no bundle with engines for the GPU")
    with Predictor(bundle, device="gpu:0", threshold=0.05) as opened:
        if opened.ops != "gpu:0":
            pytest.skip(f"the ops are not on the GPU: {opened.ops}")
        yield opened


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    y, x = np.mgrid[:480, :640]
    return np.stack([x * 255 // 640, y * 255 // 480, (x * y) % 256], axis=2).astype(np.uint8)


def assert_same(found: Result, expected: Result) -> None:
    np.testing.assert_array_equal(found.class_ids, expected.class_ids)
    np.testing.assert_array_equal(found.scores, expected.scores)
    np.testing.assert_array_equal(found.boxes, expected.boxes)
    np.testing.assert_array_equal(found.masks, expected.masks)


@pytest.mark.gpu
def test_pycuda(pycuda_arrays: Any, predictor: Predictor, photo: np.ndarray) -> None:
    expected = predictor(photo)
    on_gpu = pycuda_arrays.to_gpu(photo)
    assert_same(predictor(on_gpu), expected)
    assert_same(predictor(on_gpu[:, :400]), predictor(photo[:, :400]))
    for result in predictor.predict([photo, on_gpu], batch_size=2):
        assert_same(result, expected)


@pytest.mark.gpu
def test_torch(predictor: Predictor, photo: np.ndarray) -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    if not torch.cuda.is_available():
        pytest.skip("PyTorch finds no GPU")
    expected = predictor(photo)
    assert_same(predictor(torch.from_numpy(photo).cuda()), expected)
    # Written on a stream that is still busy when the call begins.
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        busy = torch.zeros(8192, 8192, device="cuda")
        for _ in range(20):
            busy = busy @ busy
        late = torch.from_numpy(photo).cuda(non_blocking=True)
        assert_same(predictor(late), expected)


@pytest.mark.gpu
def test_results_for_pycuda(pycuda_arrays: Any, predictor: Predictor, photo: np.ndarray) -> None:
    expected = predictor(photo)
    on_gpu = pycuda_arrays.to_gpu(photo)
    kept = list(predictor.predict_on_gpu([photo, on_gpu, photo[:, :403]], batch_size=2))
    for result, host in zip(kept, [expected, expected, predictor(photo[:, :403])], strict=True):
        assert_same(result.to_host(), host)
        if len(result):
            address, _ = result.masks.__cuda_array_interface__["data"]
            array = pycuda_arrays.GPUArray(result.masks.shape, np.uint8, base=result.masks, gpudata=address)
            np.testing.assert_array_equal(array.get(), host.masks)


@pytest.mark.gpu
def test_results_for_torch(predictor: Predictor, photo: np.ndarray) -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    if not torch.cuda.is_available():
        pytest.skip("PyTorch finds no GPU")
    expected = predictor(photo).masks
    tensors = []
    for _ in range(4):
        (result,) = predictor.predict_on_gpu(photo)
        tensors.append(torch.from_dlpack(result.masks))
        if len(result):
            np.testing.assert_array_equal(torch.as_tensor(result.masks, device="cuda").cpu().numpy(), expected)
        del result
    for tensor in tensors:
        np.testing.assert_array_equal(tensor.cpu().numpy(), expected)


def test_the_example_says_what_is_missing(tiny_bundle: Path, tmp_path: Path) -> None:
    def run(image: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(EXAMPLE), str(tiny_bundle), str(image)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    nowhere = run(tmp_path / "nowhere.jpg")
    assert nowhere.returncode == 1
    assert nowhere.stderr.strip().splitlines()[-1].endswith("nowhere.jpg: cannot be read as an image")
    if importlib.util.find_spec("pycuda") is None:
        photo = tmp_path / "photo.png"
        cv2.imwrite(str(photo), np.zeros((8, 8, 3), np.uint8))
        without = run(photo)
        assert without.returncode == 1
        assert without.stderr.strip().splitlines()[-1] == "No module named 'pycuda': pip install pycuda"
