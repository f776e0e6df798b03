"""COCO evaluation of a Paddle model on a data set."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import paddle

from ..data import CocoDataset, Normalization
from ..data.transforms import Resize
from ..evaluation import CocoEvaluator, CocoMetrics, encode_masks

if TYPE_CHECKING:
    from ..models.ppyoloe_seg import PPYOLOESeg

INTERPOLATION = 2
"""OpenCV's number of the resize to the network input: cubic, in training, evaluation and bundles alike."""


def evaluate_model(
    model: PPYOLOESeg,
    dataset: CocoDataset,
    image_size: tuple[int, int],
    *,
    batch_size: int = 4,
    on_progress: Callable[[int], None] = lambda _count: None,
) -> tuple[CocoMetrics, CocoEvaluator]:
    """Predicts every image of `dataset` (read with allow_empty=True) and compares with its annotations.

    `on_progress` gets the number of images done. The model is left in the mode it was in.
    """
    evaluator = CocoEvaluator(dataset.annotation_file)
    resize = Resize(target_size=image_size, keep_ratio=False, interp=INTERPOLATION)
    normalization = Normalization()
    rng = np.random.default_rng(0)  # Resize draws nothing from it
    category_ids = np.asarray(dataset.category_ids)
    training = model.training
    model.eval()
    try:
        for start in range(0, len(dataset), batch_size):
            samples = [dataset[i] for i in range(start, min(start + batch_size, len(dataset)))]
            pixels = np.stack([resize(sample, rng).image.transpose(2, 0, 1) for sample in samples])
            found = model.predict(paddle.to_tensor(normalization(pixels)), [s.original_size for s in samples])
            for sample, detections in zip(samples, found, strict=True):
                evaluator.add(
                    sample.image_id,
                    detections.boxes,
                    detections.scores,
                    category_ids[detections.class_ids],
                    encode_masks(detections.masks),
                )
            on_progress(start + len(samples))
    finally:
        if training:
            model.train()
    return evaluator.evaluate(), evaluator
