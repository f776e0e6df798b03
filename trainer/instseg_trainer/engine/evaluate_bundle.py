"""COCO evaluation of a bundle in the C++ runtime, with the same code that evaluates a Paddle model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

import instseg_rt

from ..data import CocoDataset
from ..errors import ConfigError
from ..evaluation import CocoEvaluator, CocoMetrics


def evaluate_bundle(
    bundle: Path,
    dataset: CocoDataset,
    *,
    on_progress: Callable[[int], None] = lambda _count: None,
) -> tuple[CocoMetrics, CocoEvaluator]:
    """Predicts every image of `dataset` with every detection the bundle gives (no score threshold of its own), in
    float32, as Paddle does; `instseg benchmark --ap` evaluates other precisions.

    Raises `ConfigError` when the bundle's categories are not the data set's.
    """
    evaluator = CocoEvaluator(dataset.annotation_file)
    with instseg_rt.Predictor(bundle, precision="fp32", threshold=0.0) as predictor:
        category_ids = predictor.info.category_ids
        if tuple(category_ids) != tuple(dataset.category_ids):
            raise ConfigError(
                f"{bundle}: its category ids {list(category_ids)[:5]}… are not those of "
                f"{dataset.annotation_file} ({list(dataset.category_ids)[:5]}…): export with "
                f"--labels {dataset.annotation_file}"
            )
        for index in range(len(dataset)):
            sample = dataset[index]
            result = predictor(np.ascontiguousarray(sample.image[..., ::-1]))
            evaluator.add_result(sample.image_id, result, category_ids)
            on_progress(index + 1)
    return evaluator.evaluate(), evaluator
