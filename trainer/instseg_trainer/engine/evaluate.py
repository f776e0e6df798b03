"""COCO evaluation of a Paddle model on a data set."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import paddle

from ..data import CocoDataset
from ..evaluation import CocoEvaluator, CocoMetrics, encode_masks

if TYPE_CHECKING:
    from ..models.base import InstanceSegmentationModel

INTERPOLATION = 2
"""OpenCV's number of the resize to the network input in training: cubic, as in evaluation and bundles."""


def evaluate_model(
    model: InstanceSegmentationModel,
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
    spec = dataclasses.replace(model.input_spec, height=image_size[0], width=image_size[1])
    category_ids = np.asarray(dataset.category_ids)
    training = model.training
    model.eval()
    try:
        for start in range(0, len(dataset), batch_size):
            samples = [dataset[i] for i in range(start, min(start + batch_size, len(dataset)))]
            pixels, sizes = spec.batch([sample.image for sample in samples])
            found = model.predict(
                paddle.to_tensor(pixels), [sample.original_size for sample in samples], input_sizes=sizes
            )
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
