"""The families mask_rtdetr, solov2 and mask_rcnn on small networks, against their decode in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

import instseg_rt as rt
from instseg_rt.predictor import Predictor
from instseg_rt.result import Result

from ...family_bundles import WRITERS, write_c4, write_cascade, write_mask_rcnn, write_solov2
from .one_stage import decode_mask_rtdetr, decode_solov2
from .reference import Bundle, Detection, assert_equal
from .regions import decode_mask_rcnn

Image = NDArray[np.uint8]
DECODES: dict[str, Callable[[Bundle, Image], list[Detection]]] = {
    "mask_rtdetr": decode_mask_rtdetr,
    "solov2": decode_solov2,
    "mask_rcnn": decode_mask_rcnn,
}
VARIANTS = tuple(WRITERS)
ANY_SCORE = 0.0


class Model:
    """A bundle, its predictor, and what the reference finds, computed once for each image."""

    def __init__(self, folder: Path) -> None:
        self.bundle = Bundle(folder)
        self.predictor = Predictor(folder, threads=2)
        self.mask_threshold: float = self.bundle.decode["mask_threshold"]
        self._decode = DECODES[self.bundle.manifest["family"]]
        self._found: dict[tuple[bytes, tuple[int, ...]], list[Detection]] = {}

    def expected(self, image: Image, threshold: float) -> list[Detection]:
        key = (image.tobytes(), image.shape)
        if key not in self._found:
            self._found[key] = self._decode(self.bundle, image)
        return [detection for detection in self._found[key] if detection.score > threshold]

    def check(self, image: Image, result: Result, threshold: float) -> int:
        """Compares a result with the reference's; returns the number of detections."""
        expected = self.expected(image, threshold)
        assert_equal(result, expected, self.mask_threshold)
        return len(expected)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    folder = tmp_path_factory.mktemp("bundles")
    return {name: Model(write(folder / f"{name}.bundle")) for name, write in WRITERS.items()}


@pytest.fixture(params=VARIANTS)
def model(request: pytest.FixtureRequest, models: dict[str, Model]) -> Model:
    return models[request.param]


def cloudy(height: int, width: int, seed: int) -> Image:
    """Soft spots of all colours, none of them black; the mean colour depends on the seed."""
    random = np.random.default_rng(seed)
    coarse = random.uniform(0.1, 1, (4, 5, 3)) * random.uniform(0.3, 1, 3)
    smooth = cv2.resize((255 * coarse).astype(np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)
    return np.maximum(smooth, 10)


def black(height: int, width: int) -> Image:
    return np.zeros((height, width, 3), np.uint8)


# Landscape and portrait, smaller and larger than the network input; resized, all leave some padding on both sides, so
# that more of it in a batch makes no difference.
PICTURES = [cloudy(50, 70, 1), cloudy(181, 117, 2), cloudy(97, 131, 3), cloudy(40, 71, 4)]


@pytest.mark.parametrize("threshold", [ANY_SCORE, 0.3])
def test_agrees_with_the_reference(model: Model, threshold: float) -> None:
    found = [model.check(image, model.predictor(image, threshold), threshold) for image in PICTURES]
    assert sum(found) > len(PICTURES)


@pytest.mark.parametrize("batch_size", [3, 4])
def test_batches_of_mixed_sizes(model: Model, batch_size: int) -> None:
    """Each image gets what it gets alone, whatever is beside it; one has nothing to find."""
    images = [*PICTURES[:2], black(60, 45), *PICTURES[2:], PICTURES[0]]
    results = list(model.predictor.predict(images, batch_size, threshold=0.3))
    found = [model.check(image, result, 0.3) for image, result in zip(images, results, strict=True)]
    assert found[2] == 0
    assert sum(found) > 3
    assert max(result.timings.batch_size for result in results) == batch_size


def test_threshold_only_leaves_out(model: Model) -> None:
    image = PICTURES[1]
    every = model.predictor(image, ANY_SCORE)
    for threshold in np.quantile(every.scores, [0.2, 0.5, 0.9]):
        some = model.predictor(image, float(threshold))
        expected = every[every.scores > np.float32(threshold)]
        assert np.array_equal(some.class_ids, expected.class_ids)
        assert np.array_equal(some.scores, expected.scores)
        assert np.array_equal(some.boxes, expected.boxes)
        # The mask head may compute in another order for another number of boxes.
        assert np.mean(some.masks != expected.masks) < 1e-3
    assert len(model.predictor(image, 1.0)) == 0


@pytest.mark.parametrize("shape", [(1, 300), (200, 2)])
def test_thin_images(model: Model, shape: tuple[int, int]) -> None:
    image = cloudy(*shape, 5)
    model.check(image, model.predictor(image, 0.3), 0.3)


def test_one_pixel(model: Model) -> None:
    """One colour all over gives equal scores, whose order is open; the rest is known."""
    result = model.predictor(np.full((1, 1, 3), (30, 200, 90), np.uint8), ANY_SCORE)
    assert len(result) > 0
    assert result.masks.shape == (len(result), 1, 1)
    assert np.isfinite(result.boxes).all()


def test_times(model: Model) -> None:
    timings = model.predictor(PICTURES[0], ANY_SCORE).timings
    parts = timings.preprocess_ms + timings.inference_ms + timings.postprocess_ms
    assert timings.inference_ms > 0
    assert timings.postprocess_ms > 0
    assert parts <= timings.total_ms + 1e-6


@pytest.mark.parametrize("write", [write_mask_rcnn, write_cascade, write_c4])
def test_no_proposals(write: Callable[..., Path], tmp_path: Path) -> None:
    """Nothing is large enough to be one: neither head is run."""
    with Predictor(write(tmp_path / "none.bundle", rpn_min_size=1000.0)) as predictor:
        assert [len(result) for result in predictor.predict(PICTURES, 4, threshold=ANY_SCORE)] == [0, 0, 0, 0]


def test_solov2_features_of_another_size(tmp_path: Path) -> None:
    with (
        Predictor(write_solov2(tmp_path / "eight.bundle", feature_stride=8)) as predictor,
        pytest.raises(rt.BadBundleError, match=r"'mask_features' has 6 x 8 cells for an image of 48 x 64"),
    ):
        predictor(PICTURES[0])
