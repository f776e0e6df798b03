"""The exported bundle in the C++ runtime gives the reference's detections."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import instseg_rt
from instseg_rt.models import find_model
from tests.long_tests import with_long_ones
from tests.reference_kit import EXPORTED_MODELS, IMAGES, OTHER_MODELS, ReferenceModel, mask_iou, match_rows

pytestmark = pytest.mark.slow


# Pixels; IoU of masks below 1000 pixels, and of the others.
BOX, SCORE, SMALL_MASK_IOU, MASK_IOU = 0.5, 1e-3, 0.98, 0.99


@pytest.mark.parametrize("model", with_long_ones(EXPORTED_MODELS, OTHER_MODELS))
def test_detections_of_the_reference(shared: Path, seeded_bundle_of: Callable[[str], Path], model: str) -> None:
    reference = ReferenceModel.load(shared, model)
    family = find_model(model).family
    equal: list[bool] = []
    # Seeded weights give low scores: all that the model's own thresholds leave is compared.
    with instseg_rt.Predictor(seeded_bundle_of(model), precision="fp32", threshold=0.0) as predictor:
        for image in IMAGES:
            result = predictor(reference.folder / "images" / f"{image}.png")
            rows, masks = reference.detections(image)
            # Detections at the very threshold of the model may fall on either side of it.
            assert abs(len(result) - len(rows)) <= (2 if model == "PP-YOLOE_seg-S" else 0)
            matches = match_rows(rows, result.class_ids, result.scores, result.boxes)
            for row, mask, match in zip(rows, masks, matches, strict=True):
                equal.append(match >= 0 and is_equal(row, mask, result, match))
            check_order(result, family)
    assert equal
    assert np.mean(equal) >= 0.99, (np.sum(equal), len(equal))


def is_equal(row: np.ndarray, mask: np.ndarray, result: instseg_rt.Result, index: int) -> bool:
    least = SMALL_MASK_IOU if mask.sum() < 1000 else MASK_IOU
    return bool(
        np.abs(result.boxes[index] - row[2:]).max() <= BOX
        and abs(result.scores[index] - row[1]) <= SCORE
        and mask_iou(result.masks[index], mask) >= least
    )


def check_order(result: instseg_rt.Result, family: str) -> None:
    """By class and falling score, or by falling score alone: docs/bundle.md."""
    by_class = family in ("ppyoloe_seg", "mask_rcnn")
    keys = [(i if by_class else 0, -score) for i, score in zip(result.class_ids, result.scores, strict=True)]
    assert keys == sorted(keys)
