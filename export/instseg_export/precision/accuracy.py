"""Mask AP of a bundle in several precisions, on a labelled data set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from instseg_rt import Predictor

from ..bundle_manifest import read_manifest, stage_file, update_manifest
from ..errors import ExportError
from .comparison import GraphStage, RoundedStage, RunStage, stage_predictor
from .typed_entry import typed_entry
from .typed_stages import METHOD


@dataclass(frozen=True)
class Accuracy:
    """Of masks, 0 to 1; -1 where the data set has no objects."""

    mask_ap: float
    mask_ap50: float

    def rounded(self) -> dict[str, float]:
        """As the manifest has it."""
        return {key: round(value, 5) for key, value in asdict(self).items()}


def add_accuracy(bundle: Path, dataset: Path, say: Callable[[str], None]) -> dict[str, Accuracy]:
    """Evaluates both precisions on the data set's val part, and notes it in the manifest's entries of FP16.

    Raises `ExportError` where the bundle has no FP16 stages, or other categories.
    """
    manifest = read_manifest(bundle)
    entries = [typed_entry(bundle, stage) for stage in manifest["stages"]]
    if not all(entries):
        raise ExportError(f"{bundle}: no FP16 stages that are up to date")
    precisions: dict[str, dict[str, RunStage]] = {"fp32": {}, "fp16": {}}
    for stage, entry in zip(manifest["stages"], entries, strict=True):
        assert entry is not None
        precisions["fp32"][stage["name"]] = GraphStage(onnx.load(stage_file(bundle, stage)))
        precisions["fp16"][stage["name"]] = RoundedStage(onnx.load(bundle / entry["file"]))
    result = {}
    for name, stages in precisions.items():
        say(f"AP on {dataset}, {name}")
        with stage_predictor(bundle, stages) as predictor:
            result[name] = evaluate(predictor, dataset)
    noted: dict[str, Any] = {
        "dataset": dataset.name,
        "method": METHOD,
        **{name: ap.rounded() for name, ap in result.items()},
    }
    for stage in manifest["stages"]:
        for entry in stage["typed"]:
            if entry["precision"] == "fp16":
                entry["verification"]["ap"] = noted
    update_manifest(bundle, manifest)
    return result


def evaluate(predictor: Predictor, dataset: Path) -> Accuracy:
    """On the data set's val part; the predictor gives every detection.

    Raises `ExportError` where the bundle has other categories.
    """
    from instseg_trainer.data import CocoDataset
    from instseg_trainer.evaluation import CocoEvaluator

    samples = CocoDataset(dataset, "annotations/instance_val.json", allow_empty=True)
    category_ids = predictor.info.category_ids
    if list(samples.category_ids) != list(category_ids):
        raise ExportError(f"{dataset}: its category ids are not the bundle's")
    evaluator = CocoEvaluator(samples.annotation_file)
    for index in range(len(samples)):
        sample = samples[index]
        result = predictor(np.ascontiguousarray(sample.image[..., ::-1]))
        evaluator.add_result(sample.image_id, result, category_ids)
    mask = evaluator.evaluate().mask
    return Accuracy(mask.ap, mask.ap50)
