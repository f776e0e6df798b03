"""Bundles, a predictor on a stand-in for a GPU, and results made without a model."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import yaml
from tests.conftest import REPOSITORY

from instseg_rt import Predictor
from instseg_rt._core import PackedMask, StageSpec, TensorSpec, backends
from instseg_rt.cli import main
from instseg_rt.result import Result, Timings
from instseg_rt.sources import SourceImage

from ..open_bundle import write_open_bundle
from ..tiny_bundle import write_tiny_bundle

Run = Callable[..., tuple[int, str, str]]  # exit code, stdout, stderr

NAMES = ("person", "bicycle", "wine glass")
CATEGORY_IDS = (1, 2, 46)
HEIGHT, WIDTH = 60, 80

MakeResult = Callable[..., Result]


def ellipse_mask(box: Sequence[float], height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """(height, width) bool: the ellipse inside the box."""
    x1, y1, x2, y2 = box
    y, x = np.mgrid[:height, :width] + 0.5
    return ((2 * x - x1 - x2) / (x2 - x1)) ** 2 + ((2 * y - y1 - y2) / (y2 - y1)) ** 2 < 1


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that finds red, green and blue areas (see tests/tiny_bundle.py)."""
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny.bundle")


@pytest.fixture(scope="session")
def open_stages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, StageSpec]:
    """Stages with open sizes: `features`, `box_head`, `select` (see tests/open_bundle.py)."""
    folder = write_open_bundle(tmp_path_factory.mktemp("bundles") / "open.bundle")
    manifest = yaml.safe_load((folder / "manifest.yaml").read_text(encoding="utf-8"))
    return {
        stage["name"]: StageSpec(
            stage["name"],
            folder / stage["file"],
            [TensorSpec(**tensor) for tensor in stage["inputs"]],
            [TensorSpec(**tensor) for tensor in stage["outputs"]],
        )
        for stage in manifest["stages"]
    }


@pytest.fixture(scope="module")
def gpu_plugins() -> Path:
    """The test plug-ins of the `dev` build, or where INSTSEG_TEST_PLUGINS says."""
    folder = Path(os.environ.get("INSTSEG_TEST_PLUGINS", REPOSITORY / "build" / "dev" / "test_plugins"))
    if not (folder / "gpu" / "libinstseg_backend_test_gpu.so").is_file():
        pytest.skip(f"no stand-in for a GPU in {folder} (make test-cpp builds it)")
    return folder


@pytest.fixture(scope="module")
def gpu_predictor(gpu_plugins: Path, tiny_bundle: Path) -> Iterator[Predictor]:
    """On the C++ tests' stand-in for a GPU (cpp/tests/device)."""
    openvino = next(backend["path"] for backend in backends() if backend["name"] == "openvino")
    Predictor(tiny_bundle).close()  # OpenVINO's libraries are loaded: the stand-in's copy need not look for them
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("INSTSEG_CUDA_LIBRARY", str(gpu_plugins / "libinstseg_host_gpu.so"))
        environment.setenv("INSTSEG_PLUGIN_PATH", f"{gpu_plugins / 'gpu'}:{Path(str(openvino)).parent}")
        with Predictor(tiny_bundle, device="gpu:0", backend="test_gpu", threshold=0.05, threads=2) as opened:
            assert opened.ops == "gpu:0"
            yield opened


@pytest.fixture(scope="session")
def colored_image() -> np.ndarray:
    """(128, 192, 3) uint8 BGR: dark, with coloured areas on whole cells of the tiny model.

    One red and two blue areas score above 0.5; a paler red one scores about 0.3.
    """
    image = np.full((128, 192, 3), 20, np.uint8)
    image[0:32, 48:96] = (10, 10, 250)
    image[64:96, 144:192] = (250, 10, 10)
    image[96:128, 0:48] = (230, 70, 70)
    image[32:64, 0:48] = (90, 90, 200)
    return image


@pytest.fixture
def make_result() -> MakeResult:
    """`make_result(boxes, class_ids=…, scores=…, …)`: elliptic masks on an image of 60 x 80 pixels."""

    def make(
        boxes: Sequence[Sequence[float]] = ((10, 5, 50, 35), (30, 20, 79, 59), (2, 40, 22, 58)),
        *,
        class_ids: Sequence[int] | None = None,
        scores: Sequence[float] | None = None,
        names: Sequence[str] = NAMES,
        input_path: str | None = "photos/a.jpg",
        page_index: int | None = None,
    ) -> Result:
        count = len(boxes)
        image = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
        return Result(
            np.array(boxes, np.float32).reshape(-1, 4),
            np.linspace(0.9, 0.4, count) if scores is None else scores,
            np.arange(count) % len(names) if class_ids is None else class_ids,
            [PackedMask.from_dense(ellipse_mask(box)) for box in boxes],
            names=names,
            orig_shape=(HEIGHT, WIDTH),
            category_ids=CATEGORY_IDS if len(names) == len(CATEGORY_IDS) else None,
            source=SourceImage(image, "bgr", input_path, page_index),
            timings=Timings(decode_ms=1.5, total_ms=4.0),
        )

    return make


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """`run("predict", bundle, …)` -> exit code, stdout, stderr."""

    def call(*arguments: object) -> tuple[int, str, str]:
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as error:  # argparse
            code = int(error.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call
