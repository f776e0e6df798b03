"""Checkpoints: everything that a training needs to go on as if it had never stopped.

A checkpoint is a folder `checkpoints/iter_<n>` with `model.pdparams`, `model.pdopt`, `model.pdstates` (YAML) and, where
weights are averaged, `model.pdema`. It is
written under another name and renamed when it is complete, so a folder of that name is always whole.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import paddle
import yaml

from ..errors import CheckpointError
from ..weights import read_pdparams, write_pdparams
from .saved_models import saved_epochs

_PATTERN = re.compile(r"iter_(\d+)")


@dataclass
class TrainingState:
    """Where a training stands. `iteration` counts from 0 over all epochs: the next one to do.

    stop_best, stop_waited: of `EarlyStop`. loss_scale: of `Precision`.
    """

    iteration: int
    ema_step: int
    best_ap: float
    best_epoch: int
    iterations_per_epoch: int
    fingerprint: str
    stop_best: float = -1.0
    stop_waited: int = 0
    loss_scale: dict[str, float] | None = None


@dataclass
class Checkpoint:
    model: dict[str, np.ndarray]
    ema: dict[str, np.ndarray] | None
    optimizer: dict[str, np.ndarray]
    state: TrainingState


def save_checkpoint(
    output: Path,
    model: Mapping[str, paddle.Tensor],
    ema: Mapping[str, paddle.Tensor] | None,
    optimizer: Mapping[str, paddle.Tensor],
    state: TrainingState,
) -> Path:
    """Writes the checkpoint and removes older ones."""
    folder = output / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / f"iter_{state.iteration:08d}"
    temporary = folder / f".iter_{state.iteration:08d}.{os.getpid()}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    write_pdparams(temporary / "model.pdparams", model)
    if ema is not None:
        write_pdparams(temporary / "model.pdema", ema)
    write_pdparams(temporary / "model.pdopt", {k: v for k, v in optimizer.items() if isinstance(v, paddle.Tensor)})
    (temporary / "model.pdstates").write_text(yaml.safe_dump(asdict(state), sort_keys=False), encoding="utf-8")
    shutil.rmtree(final, ignore_errors=True)
    temporary.rename(final)
    for other in folder.iterdir():
        if other != final:
            shutil.rmtree(other, ignore_errors=True)
    return final


def latest_checkpoint(output: Path) -> Path | None:
    """The newest complete checkpoint of a training output folder, if there is one."""
    folder = output / "checkpoints"
    found = [(int(match[1]), path) for path in folder.glob("iter_*") if (match := _PATTERN.fullmatch(path.name))]
    return max(found)[1] if found else None


def load_checkpoint(output: Path) -> Checkpoint:
    """Raises `CheckpointError` where there is nothing to resume from or a file is damaged."""
    path = latest_checkpoint(output)
    if path is None:
        hint = "".join(
            f"; its newest epoch is Train.resume_path={output / f'epoch_{epoch}' / f'epoch_{epoch}.pdparams'}"
            for epoch in saved_epochs(output)[:1]
        )
        raise CheckpointError(f"{output}: nothing to resume from (expected {output / 'checkpoints'}/iter_*){hint}")
    states = path / "model.pdstates"
    try:
        state = TrainingState(**yaml.safe_load(states.read_text(encoding="utf-8")))
    except (OSError, TypeError, yaml.YAMLError) as error:
        raise CheckpointError(f"{states}: damaged: {error}") from error
    averages = path / "model.pdema"
    return Checkpoint(
        read_pdparams(path / "model.pdparams"),
        read_pdparams(averages) if averages.is_file() else None,
        read_pdparams(path / "model.pdopt"),
        state,
    )
