"""Batches of images of many sizes in the C++ runtime: equal to one by one, and to the same padded batch in Paddle."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

paddle = pytest.importorskip("paddle", reason="needs the [train] extra")

import instseg_rt
from instseg_trainer.models import build_model
from instseg_trainer.models.detections import Detections
from instseg_trainer.models.mask_rcnn import MaskRCNNDecode
from instseg_trainer.weights import load_weights
from tests.long_tests import with_long_ones
from tests.reference_kit import EXPORTED_MODELS, IMAGES, OTHER_MODELS, ReferenceModel, mask_iou, match_rows

pytestmark = pytest.mark.slow

SHORT_SIDE, LONG_SIDE = 224, 373
"""Instead of 800 and 1333, for models that take any size."""
FEWER = {"rpn_post_nms_top_n": 60, "score_threshold": 0.02}
"""Of R-CNN models, instead of 1000 and 0.05: the heads of C4 models take a second for a hundred proposals, and so few
would give no detections.
"""


# Of the other kinds of R-CNN minutes each, with batches as these.
ALWAYS = ("PP-YOLOE_seg-S", "Mask-RT-DETR-S", "SOLOv2", "MaskRCNN-ResNet50-FPN")
ON_REQUEST = tuple(model for model in (*EXPORTED_MODELS, *OTHER_MODELS) if model not in ALWAYS)


@pytest.fixture(scope="module", params=with_long_ones(ALWAYS, ON_REQUEST))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def bundle(name: str, seeded_bundle_of: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The seeded bundle, for small network inputs where it takes any."""
    source = seeded_bundle_of(name)
    manifest = yaml.safe_load((source / "manifest.yaml").read_text())
    if manifest["input"]["resize"] == "stretch":
        return source
    manifest["input"] |= {"short_side": SHORT_SIDE, "long_side": LONG_SIDE}
    if "rpn_post_nms_top_n" in manifest["decode"]:
        manifest["decode"] |= FEWER
    copy = tmp_path_factory.mktemp("small") / source.name
    shutil.copytree(source, copy)
    (copy / "manifest.yaml").write_text(yaml.safe_dump(manifest))
    return copy


@pytest.fixture(scope="module")
def predictor(bundle: Path) -> instseg_rt.Predictor:
    return instseg_rt.Predictor(bundle, precision="fp32", threshold=0.0)


@pytest.fixture(scope="module")
def photos(shared: Path) -> list[np.ndarray]:
    """Eight images, BGR, of sizes that differ in both directions."""
    a, b = (cv2.imread(str(shared / "reference" / "images" / f"{name}.png")) for name in IMAGES)
    turned = np.rot90(b)
    images = [a, b, a[:, ::-1], b[:301, :517], a[::2], turned, a[40:, 60:], b[:, :200]]
    return [np.ascontiguousarray(image) for image in images]


def rows_of(result: instseg_rt.Result) -> np.ndarray:
    return np.column_stack([result.class_ids, result.scores, result.boxes])


def share_equal(
    rows: np.ndarray, masks: np.ndarray, found: instseg_rt.Result, *, box: float, score: float, iou: float
) -> float:
    """Of the rows the share that has an equal detection."""
    assert abs(len(found) - len(rows)) <= 2
    if not len(rows):
        return 1.0
    matches = match_rows(rows, found.class_ids, found.scores, found.boxes)
    good = [
        match >= 0
        and np.abs(found.boxes[match] - row[2:]).max() <= box
        and abs(found.scores[match] - row[1]) <= score
        and (mask_iou(found.masks[match], mask) >= iou or mask.sum() < 100)
        for row, mask, match in zip(rows, masks, matches, strict=True)
    ]
    return float(np.mean(good))


@pytest.mark.parametrize("count", [2, 5, 8])
def test_images_of_one_size_equal_one_by_one(
    predictor: instseg_rt.Predictor, photos: Sequence[np.ndarray], count: int
) -> None:
    mixed = predictor.info.input.resize == "stretch"
    images = photos[:count] if mixed else [np.roll(photos[0], 40 * i, axis=1) for i in range(count)]
    single = [predictor(image) for image in images]
    assert sum(len(result) for result in single) > 0
    together = list(predictor.predict(images, batch_size=count))
    if len(predictor.info.stages) == 1:  # no heads that take the RoIs of all images together
        for expected, found in zip(single, together, strict=True):
            np.testing.assert_array_equal(rows_of(found), rows_of(expected))
            np.testing.assert_array_equal(found.masks, expected.masks)
        return
    shares = [
        share_equal(rows_of(expected), expected.masks, found, box=0.05, score=1e-4, iou=0.99)
        for expected, found in zip(single, together, strict=True)
    ]
    assert min(shares) >= 0.97, shares


def test_mixed_sizes_equal_the_padded_batch_in_paddle(
    name: str, shared: Path, predictor: instseg_rt.Predictor, photos: Sequence[np.ndarray]
) -> None:
    if name in OTHER_MODELS:
        # Mask-RT-DETR-L's agree on 43% of an image here, and Paddle with itself on 16% after one grey level of noise.
        pytest.skip("random weights of larger models: their choice of queries turns on rounding")
    model = build_model(name, 80)
    load_weights(model, ReferenceModel.load(shared, name).seeded_state(), source=name)
    model.eval()
    spec = model.input_spec
    if spec.resize == "keep_ratio":
        spec = replace(spec, height=SHORT_SIDE, width=LONG_SIDE)
    if isinstance(model.decode, MaskRCNNDecode):
        model.decode = replace(model.decode, **FEWER)
    images = photos[:5]
    pixels, sizes = spec.batch([cv2.cvtColor(image, cv2.COLOR_BGR2RGB) for image in images])
    expected: list[Detections] = model.predict(
        paddle.to_tensor(pixels), [image.shape[:2] for image in images], input_sizes=sizes
    )
    found = list(predictor.predict(images, batch_size=5))
    assert sum(len(detections.scores) for detections in expected) > 0
    shares = [
        share_equal(
            np.column_stack([one.class_ids, one.scores, one.boxes]), one.masks, result, box=0.5, score=1e-3, iou=0.98
        )
        for one, result in zip(expected, found, strict=True)
    ]
    # A pixel of the resize that is rounded the other way moves some of the boxes of random weights.
    assert min(shares) >= 0.9, shares
    assert np.mean(shares) >= 0.97, shares
