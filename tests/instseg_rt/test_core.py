"""The C++ module itself: arrays in, arrays out, errors, threads."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from instseg_rt import _core

from ..tiny_bundle import write_tiny_bundle

LABELS = ["red", "green", "blue"]
MASKS = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=70))


@pytest.fixture(scope="module")
def predictor(tiny_bundle: Path) -> _core.Predictor:
    return _core.Predictor(tiny_bundle)


def assert_same(a: _core.Result, b: _core.Result) -> None:
    np.testing.assert_array_equal(a.boxes, b.boxes)
    np.testing.assert_array_equal(a.class_ids, b.class_ids)
    np.testing.assert_allclose(a.scores, b.scores, atol=1e-6)
    np.testing.assert_array_equal(a.dense_masks(), b.dense_masks())


def test_shapes_and_types(predictor: _core.Predictor, colored_image: np.ndarray) -> None:
    result = predictor.predict([colored_image], "bgr")[0]
    count = len(result)
    assert count == 3
    assert (result.height, result.width) == colored_image.shape[:2]
    assert (result.boxes.shape, result.boxes.dtype) == ((count, 4), np.float32)
    assert (result.scores.shape, result.scores.dtype) == ((count,), np.float32)
    assert (result.class_ids.shape, result.class_ids.dtype) == ((count,), np.int32)
    assert result.dense_masks().shape == (count, *colored_image.shape[:2])
    assert list(result.class_ids) == [0, 2, 2]
    assert result.timings["batch"] == 1


@pytest.mark.parametrize(
    "view",
    [
        lambda image: image[::-1].copy()[::-1],  # rows backwards
        lambda image: image[:, ::-1].copy()[:, ::-1],  # pixels backwards
        np.asfortranarray,
        lambda image: np.repeat(image, 2, axis=0)[::2],  # rows far apart
        lambda image: np.concatenate([image, image], axis=1)[:, : image.shape[1]],
        lambda image: np.dstack([image, image])[:, :, :3],
    ],
)
def test_strides_do_not_matter(predictor: _core.Predictor, colored_image: np.ndarray, view) -> None:
    image = view(colored_image)
    np.testing.assert_array_equal(image, colored_image)
    assert_same(predictor.predict([image], "bgr")[0], predictor.predict([colored_image], "bgr")[0])


def test_channel_orders(predictor: _core.Predictor, colored_image: np.ndarray) -> None:
    expected = predictor.predict([colored_image], "bgr")[0]
    rgb = colored_image[:, :, ::-1]
    alpha = np.zeros((*colored_image.shape[:2], 1), np.uint8)
    assert_same(predictor.predict([rgb], "rgb")[0], expected)
    assert_same(predictor.predict([np.dstack([colored_image, alpha])], "bgr")[0], expected)
    assert_same(predictor.predict([np.dstack([rgb, alpha])], "rgb")[0], expected)
    grey = colored_image[:, :, 0]
    as_colour = predictor.predict([np.dstack([grey] * 3)], "bgr", 0.0)[0]
    assert_same(predictor.predict([grey], "bgr", 0.0)[0], as_colour)
    assert_same(predictor.predict([grey[:, :, None]], "rgb", 0.0)[0], as_colour)


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (np.zeros((4, 4, 3), np.float32), "float32"),
        (np.zeros((4, 4, 2), np.uint8), r"shape \(4, 4, 2\)"),
        (np.zeros((0, 4, 3), np.uint8), r"shape \(0, 4, 3\)"),
        (np.zeros(4, np.uint8), r"shape \(4,\)"),
        ([[1, 2]], "expected a numpy array"),
    ],
)
def test_wrong_images(predictor: _core.Predictor, colored_image: np.ndarray, image: object, reason: str) -> None:
    with pytest.raises(_core.InvalidArgumentError, match=f"image 1: .*{reason}"):
        predictor.predict([colored_image, image], "bgr")


def test_errors_are_of_one_family(tmp_path: Path, tiny_bundle: Path) -> None:
    with pytest.raises(_core.IoError) as error:
        _core.load_bundle(tmp_path / "nowhere")
    assert isinstance(error.value, _core.Error)
    assert isinstance(error.value, RuntimeError)
    assert error.value.code == "io"
    with pytest.raises(_core.UnsupportedError, match="gpu"):
        _core.Predictor(tiny_bundle, device="gpu")
    with pytest.raises(_core.InvalidArgumentError, match="format"):
        _core.Predictor(tiny_bundle).predict([np.zeros((2, 2, 3), np.uint8)], "hsv")


def test_bundle_attributes(predictor: _core.Predictor, tiny_bundle: Path) -> None:
    bundle = predictor.bundle
    assert bundle.path == tiny_bundle.resolve()
    assert bundle.labels == LABELS
    assert bundle.decode["nms_top_k"] == 1000
    assert isinstance(bundle.decode["nms_top_k"], int)
    assert bundle.stages[0].outputs[0].shape == ("batch", 16, 4)
    spec = bundle.input
    assert (spec.color, spec.interpolation) == ("rgb", "linear")
    assert (spec.resize, spec.height, spec.width, spec.normalize_first) == ("stretch", 64, 64, False)
    assert (spec.short_side, spec.long_side, spec.pad_stride) == (None, None, 1)


def test_normalising_first_changes_almost_nothing(
    predictor: _core.Predictor, tmp_path: Path, colored_image: np.ndarray
) -> None:
    # Interpolation and normalisation commute, but for the rounding to 8 bits that is left out.
    changed = _core.Predictor(write_tiny_bundle(tmp_path / "b.bundle", normalize_first=True))
    assert changed.bundle.input.normalize_first
    expected, found = (p.predict([colored_image], "bgr")[0] for p in (predictor, changed))
    np.testing.assert_array_equal(found.class_ids, expected.class_ids)
    np.testing.assert_array_equal(found.boxes, expected.boxes)
    np.testing.assert_allclose(found.scores, expected.scores, atol=0.01)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"resize": "keep_ratio", "height": None, "width": None, "short_side": 64, "long_side": 96},
            "'input.resize' must be stretch for family ppyoloe_seg",
        ),
        ({"resize": "keep_ratio", "short_side": 64, "long_side": 96}, "'input.height' must be absent"),
        ({"pad_stride": 32}, "'input.pad_stride' must be absent"),
        ({"interpolation": "cubic", "normalize_first": True}, "'input.normalize_first' must be false"),
    ],
)
def test_inputs_that_mean_nothing(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(_core.BadBundleError, match=message):
        _core.load_bundle(write_tiny_bundle(tmp_path / "b.bundle", **changes))


def test_many_threads(tiny_bundle: Path, colored_image: np.ndarray) -> None:
    predictor = _core.Predictor(tiny_bundle, threads=2, contexts=2)
    predictor.warm_up()
    expected = predictor.predict([colored_image], "bgr")[0]
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(20):
                for result in predictor.predict([colored_image, colored_image], "bgr"):
                    assert_same(result, expected)
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


@pytest.mark.parametrize("indent", [None, 0, 4])
@pytest.mark.parametrize("mask_format", ["crop", "rle"])
def test_json_is_laid_out_as_pythons(
    predictor: _core.Predictor, colored_image: np.ndarray, indent: int | None, mask_format: str
) -> None:
    result = predictor.predict([colored_image], "bgr", 0.0)[0]
    labels = ["красный", 'gr"een', "blue"]
    text = result.to_json("a/ü.jpg", None, labels, mask_format, indent)
    content = json.loads(text)
    assert text == json.dumps(content, ensure_ascii=False, indent=indent)
    assert [box["score"] for box in content["boxes"]] == [float(score) for score in result.scores]
    if mask_format == "crop":
        for box, mask, dense in zip(content["boxes"], content["masks"], result.dense_masks(), strict=True):
            x1, y1, x2, y2 = (round(value) for value in box["coordinate"])
            np.testing.assert_array_equal(np.array(mask, bool), dense[y1:y2, x1:x2])


@given(MASKS)
def test_masks_there_and_back(dense: np.ndarray) -> None:
    mask = _core.PackedMask.from_dense(dense)
    height, width = dense.shape
    np.testing.assert_array_equal(mask.dense(height, width), dense)
    np.testing.assert_array_equal(mask.crop(), dense)
    assert mask.area == dense.sum()
    bits = np.unpackbits(mask.words.view(np.uint8), axis=1, bitorder="little")
    np.testing.assert_array_equal(bits[:, :width].astype(bool), dense)
    again = _core.PackedMask.from_rle(mask.rle(height, width), height, width)
    np.testing.assert_array_equal(again.dense(height, width), dense)
    assert again.area == mask.area
    np.testing.assert_array_equal(
        again.crop(), dense[again.y : again.y + again.height, again.x : again.x + again.width]
    )


@given(MASKS)
def test_rle_is_that_of_pycocotools(dense: np.ndarray) -> None:
    coco = pytest.importorskip("pycocotools.mask", reason="needs the [dev] extra")
    expected = coco.encode(np.asfortranarray(dense.astype(np.uint8)))["counts"]
    assert _core.PackedMask.from_dense(dense).rle(*dense.shape) == expected


@given(st.binary(max_size=40), st.integers(1, 30), st.integers(1, 30))
def test_damaged_rle_never_crashes(counts: bytes, height: int, width: int) -> None:
    try:
        mask = _core.PackedMask.from_rle(counts, height, width)
    except _core.InvalidArgumentError:
        return
    assert mask.dense(height, width).shape == (height, width)


def test_mask_sizes_are_checked() -> None:
    mask = _core.PackedMask.from_dense(np.ones((4, 5), bool))
    with pytest.raises(_core.InvalidArgumentError):
        mask.dense(3, 5)
    with pytest.raises(_core.InvalidArgumentError):
        mask.dense(-1, 5)
    with pytest.raises(_core.InvalidArgumentError):
        mask.rle(1 << 20, 1 << 20)
    with pytest.raises(_core.InvalidArgumentError):
        _core.PackedMask.from_dense(np.ones(4, bool))


def test_backends() -> None:
    openvino = next(backend for backend in _core.backends() if backend["name"] == "openvino")
    assert openvino["available"], openvino["error"]
    assert openvino["version"]
