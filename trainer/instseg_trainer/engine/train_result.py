"""`train_result.json`: PaddleX's keys, with paths relative to the output folder, and a few of our own."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..files import write_text
from ..weights import read_states
from .saved_models import BEST, BUNDLE, STATIC_GRAPH, SUFFIXES, saved_epochs

_FILE = "train_result.json"
_LAST_MODELS = 5  # PaddleX lists so many
# PaddleX's keys of the files of a static graph; it has a fourth file with graphs of an older form.
_STATIC_GRAPH = {"inference_config": "inference.yml", "pdmodel": "inference.json", "pdiparams": "inference.pdiparams"}
_NEVER = "pdiparams.info"


@dataclass(frozen=True)
class TrainingResult:
    """best_ap: mask AP of the best evaluation on the val set, -1 before the first; best_epoch counts from 1;
    final_loss: the last iteration's loss, None before the end.
    """

    best_ap: float
    best_epoch: int
    final_loss: float | None
    iterations: int
    best_weights: Path


def write_train_result(output: Path, model: str, result: TrainingResult, *, done: bool) -> None:
    """done: the training is at its end."""
    models: dict[str, dict[str, Any]] = {f"last_{number}": {} for number in range(1, _LAST_MODELS + 1)}
    for number, epoch in enumerate(saved_epochs(output)[:_LAST_MODELS], 1):
        name = f"epoch_{epoch}"
        score = read_states(output / name / f"{name}.pdstates")["metric"]
        models[f"last_{number}"] = _entry(output, name, score)
    models["best"] = {}
    if result.best_epoch > 0:
        models["best"] = _entry(output, BEST, result.best_ap)
        models["best"][BUNDLE] = f"{BEST}/{BUNDLE}" if (output / BEST / BUNDLE).is_dir() else None
    content = {
        "done_flag": done,
        "model_name": model,
        "label_dict": "categories.json",
        "train_log": "train.log",
        "visualdl_log": None,
        "config": "config.yaml",
        "models": models,
        **asdict(result),
    }
    write_text(output / _FILE, json.dumps(content, default=str, indent=2) + "\n")


def _entry(output: Path, name: str, score: float) -> dict[str, Any]:
    paths = {suffix: f"{name}/{name}.{suffix}" for suffix in SUFFIXES}
    found = {suffix: path for suffix, path in paths.items() if (output / path).is_file()}
    graph = {key: f"{name}/{STATIC_GRAPH}/{file}" for key, file in _STATIC_GRAPH.items()}
    there = {key: path if (output / path).is_file() else None for key, path in graph.items()}
    return {"score": score, **found, **there, _NEVER: None}
