"""The exported bundle in the C++ runtime gives the reference's detections."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

import instseg_rt
from tests.reference_kit import IMAGES, ReferenceModel, mask_iou, match_rows

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def reference(shared: Path) -> ReferenceModel:
    return ReferenceModel.load(shared, "PP-YOLOE_seg-S")


@pytest.fixture(scope="module")
def predictor(seeded_bundle: Path) -> instseg_rt.Predictor:
    return instseg_rt.Predictor(seeded_bundle, threshold=0.01)


@pytest.mark.parametrize("image", IMAGES)
def test_detections_of_the_reference(reference: ReferenceModel, predictor: instseg_rt.Predictor, image: str) -> None:
    result = predictor(reference.folder / "images" / f"{image}.png")
    rows = reference.golden[f"{image}/out.bbox"]
    masks = reference.masks(image)
    # Detections at the very threshold may fall on either side of it.
    assert abs(len(result) - len(rows)) <= 2
    matches = match_rows(rows, result.class_ids, result.scores, result.boxes)
    good = []
    for row, mask, match in zip(rows, masks, matches, strict=True):
        good.append(
            match >= 0
            and np.abs(result.boxes[match] - row[2:]).max() <= 0.5
            and abs(result.scores[match] - row[1]) <= 1e-3
            and mask_iou(result.masks[match], mask) >= 0.99
        )
    assert np.mean(good) >= 0.99, [tuple(row[:2]) for row, ok in zip(rows, good, strict=True) if not ok]
    above = rows[:, 1] > 0.05
    assert above.any()
    assert np.mean(np.asarray(good)[above]) >= 0.99


def test_a_batch_of_eight_equals_one_by_one(reference: ReferenceModel, predictor: instseg_rt.Predictor) -> None:
    photos = [cv2.imread(str(reference.folder / "images" / f"{name}.png")) for name in IMAGES]
    images = [
        photos[0],
        photos[1],
        photos[0][:, ::-1],
        photos[1][:301, :517],
        photos[0][::2],
        photos[1],
        photos[0],
        photos[1][:, ::-1],
    ]
    images = [np.ascontiguousarray(image) for image in images]
    single = [predictor(image) for image in images]
    for expected, found in zip(single, predictor.predict(images, batch_size=8), strict=True):
        assert len(expected) == len(found)
        matches = match_rows(
            np.column_stack([expected.class_ids, expected.scores, expected.boxes]),
            found.class_ids,
            found.scores,
            found.boxes,
        )
        assert (matches >= 0).all()
        assert np.abs(found.boxes[matches] - expected.boxes).max() <= 0.02
        assert np.abs(found.scores[matches] - expected.scores).max() <= 1e-4
        ious = [
            mask_iou(found.packed_masks[m].crop(), expected.packed_masks[i].crop())
            if _same_crop(found.packed_masks[m], expected.packed_masks[i])
            else mask_iou(found.masks[m], expected.masks[i])
            for i, m in enumerate(matches)
        ]
        assert min(ious) >= 0.99


def _same_crop(a: object, b: object) -> bool:
    return all(getattr(a, key) == getattr(b, key) for key in ("x", "y", "width", "height"))
