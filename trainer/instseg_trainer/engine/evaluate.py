"""COCO evaluation of a Paddle model on a data set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import paddle

from ..data import CocoDataset
from ..evaluation import CocoEvaluator, CocoMetrics, encode_masks
from .inputs import sized_input

if TYPE_CHECKING:
    from ..models.base import InstanceSegmentationModel


def evaluate_model(
    model: InstanceSegmentationModel,
    dataset: CocoDataset,
    image_size: Sequence[int] | None = None,
    *,
    batch_size: int = 1,
    on_progress: Callable[[int], None] = lambda _count: None,
) -> tuple[CocoMetrics, CocoEvaluator]:
    """Predicts every image of `dataset` (read with allow_empty=True) and compares with its annotations.

    `image_size` replaces height and width of the model's own input. Where the ratio is kept, images of a batch are
    padded to the largest: only a batch of 1 gives the reference's numbers exactly. `on_progress` gets the number of
    images done. The model is left in the mode it was in.
    """
    evaluator = CocoEvaluator(dataset.annotation_file)
    spec = sized_input(model.input_spec, image_size)
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
