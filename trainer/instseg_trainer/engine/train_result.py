"""`train_result.json`: PaddleX's keys, with paths relative to the output folder, and a few of our own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..files import write_text
from .best_model import BEST, BUNDLE
from .checkpoint import latest_checkpoint

_FILE = "train_result.json"
_LAST_MODELS = 5  # PaddleX lists so many; of ours the newest checkpoint is kept
_WEIGHTS = ("pdparams", "pdema", "pdopt", "pdstates")
# PaddleX's static graph, which this training does not write.
_STATIC_GRAPH = ("inference_config", "pdmodel", "pdiparams", "pdiparams.info")


@dataclass(frozen=True)
class TrainingResult:
    """best_ap: mask AP of the best evaluation on the val set, -1 before the first; best_epoch counts from 1;
    last_ap: mask AP of the newest evaluation of this process, None before it; final_loss: the last iteration's loss,
    None before the end.
    """

    best_ap: float
    best_epoch: int
    last_ap: float | None
    final_loss: float | None
    iterations: int
    best_weights: Path


def write_train_result(output: Path, model: str, result: TrainingResult, *, done: bool) -> None:
    """done: the training is at its end."""
    models: dict[str, dict[str, Any]] = {f"last_{number}": {} for number in range(1, _LAST_MODELS + 1)}
    newest = latest_checkpoint(output)
    if newest is not None:
        models["last_1"] = {"score": result.last_ap, **_files(output, newest, "model")}
    models["best"] = {}
    if result.best_epoch > 0:
        bundle = output / BEST / BUNDLE
        models["best"] = {
            "score": result.best_ap,
            **_files(output, output / BEST, BEST),
            BUNDLE: bundle.relative_to(output).as_posix() if bundle.is_dir() else None,
        }
    content = {
        "done_flag": done,
        "model_name": model,
        "label_dict": "categories.json",
        "train_log": "train.log",
        "visualdl_log": None,
        "config": "config.yaml",
        "models": models,
        "best_ap": result.best_ap,
        "best_epoch": result.best_epoch,
        "last_ap": result.last_ap,
        "final_loss": result.final_loss,
        "iterations": result.iterations,
        "best_weights": str(result.best_weights),
    }
    write_text(output / _FILE, json.dumps(content, indent=2) + "\n")


def _files(output: Path, folder: Path, stem: str) -> dict[str, str | None]:
    paths = {suffix: folder / f"{stem}.{suffix}" for suffix in _WEIGHTS}
    found = {name: path.relative_to(output).as_posix() for name, path in paths.items() if path.is_file()}
    return {**found, **dict.fromkeys(_STATIC_GRAPH)}
