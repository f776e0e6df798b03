"""The best weights of a training, in the folder and under the names that PaddleX gives them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import paddle

from ..weights import write_pdparams

BEST = "best_model"
BUNDLE = "bundle"


def save_best_model(
    output: Path,
    evaluated: Mapping[str, paddle.Tensor],
    trained: Mapping[str, paddle.Tensor] | None,
    optimizer: Mapping[str, object],
    *,
    score: float,
    epoch: int,
) -> Path:
    """Writes `best_model/best_model.pdparams` (the weights that were evaluated), `.pdema` (where these are averages:
    those that the optimizer works on; PaddleX has the two names this way round), `.pdopt` and `.pdstates` (mask AP and
    epoch, counted from 1). Each file is renamed when it is complete, the weights last. A bundle of earlier weights is
    removed. Returns the `.pdparams`.
    """
    folder = output / BEST
    folder.mkdir(exist_ok=True)
    shutil.rmtree(folder / BUNDLE, ignore_errors=True)
    averages = folder / f"{BEST}.pdema"
    if trained is None:
        averages.unlink(missing_ok=True)
    else:
        write_pdparams(averages, trained)
    tensors = {name: value for name, value in optimizer.items() if isinstance(value, paddle.Tensor)}
    write_pdparams(folder / f"{BEST}.pdopt", {**tensors, "last_epoch": epoch})
    write_pdparams(folder / f"{BEST}.pdstates", {"metric": float(score), "epoch": epoch})
    weights = folder / f"{BEST}.pdparams"
    write_pdparams(weights, evaluated)
    return weights
