"""The weights that a training's evaluations leave, in folders and under names that PaddleX uses.

`best_model/` holds those of the best evaluation, `epoch_<n>/` (counted from 1) those of the newest ones. In each
folder, under its name: `.pdparams` (the weights that were evaluated), `.pdema` (where these are averages: those that
the optimizer works on; PaddleX has the two names this way round), `.pdopt` and `.pdstates` (mask AP and epoch).
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import paddle

from ..weights import read_states, write_pdparams

BEST = "best_model"
BUNDLE = "bundle"
STATIC_GRAPH = "inference"
SUFFIXES = ("pdopt", "pdstates", "pdema", "pdparams")
"""In the order in which they are written: what a command reads comes last."""

_EPOCH = re.compile(r"epoch_(\d+)")


@dataclass(frozen=True)
class Evaluated:
    """A model at an evaluation. trained: the weights beside averaged ones, None without averages. score: mask AP."""

    weights: Mapping[str, paddle.Tensor]
    trained: Mapping[str, paddle.Tensor] | None
    optimizer: Mapping[str, object]
    score: float
    epoch: int

    def write(self, folder: Path, name: str) -> None:
        tensors = {key: value for key, value in self.optimizer.items() if isinstance(value, paddle.Tensor)}
        contents: dict[str, Mapping[str, object] | None] = {
            "pdopt": {**tensors, "last_epoch": self.epoch},
            "pdstates": {"metric": float(self.score), "epoch": self.epoch},
            "pdema": self.trained,
            "pdparams": self.weights,
        }
        for suffix in SUFFIXES:
            content = contents[suffix]
            if content is not None:
                write_pdparams(folder / f"{name}.{suffix}", content)


def save_evaluated(output: Path, model: Evaluated, *, best: bool, kept: int) -> None:
    """Writes the folder of an epoch, of which the newest `kept` stay, and where it is the `best` so far, `best_model`.

    An epoch's folder is renamed when it is complete, and so is each file of `best_model`. What was made of earlier best
    weights, bundle and static graph, is removed.
    """
    if not best and kept == 0:
        return
    name = f"epoch_{model.epoch}"
    temporary = output / f".{name}.{os.getpid()}.tmp"
    temporary.mkdir()
    model.write(temporary, name)
    if best:
        _publish(temporary, name, output / BEST)
    if kept == 0:
        shutil.rmtree(temporary)
        return
    shutil.rmtree(output / name, ignore_errors=True)
    temporary.rename(output / name)
    for old in saved_epochs(output)[kept:]:
        shutil.rmtree(output / f"epoch_{old}")


def saved_epochs(output: Path) -> list[int]:
    """Epochs with a folder, the newest first."""
    matches = (_EPOCH.fullmatch(path.name) for path in output.glob("epoch_*") if path.is_dir())
    return sorted((int(match[1]) for match in matches if match), reverse=True)


def drop_epochs_after(output: Path, epoch: int) -> None:
    """Removes the folders of later epochs: those of an earlier training, or that a resumed one will do again."""
    for later in saved_epochs(output):
        if later > epoch:
            shutil.rmtree(output / f"epoch_{later}")


def best_up_to(output: Path, epoch: int) -> tuple[float, int]:
    """Mask AP and number of the best evaluated epoch up to `epoch` that is there; -1 and -1 without any.

    Where `best_model` is of a later epoch, it becomes that one's.
    """
    best_states = output / BEST / f"{BEST}.pdstates"
    if best_states.is_file():
        states = read_states(best_states)
        if states["epoch"] <= epoch:
            return float(states["metric"]), int(states["epoch"])
    scores = [
        (read_states(output / name / f"{name}.pdstates")["metric"], number)
        for number in saved_epochs(output)
        if number <= epoch
        for name in [f"epoch_{number}"]
    ]
    if not scores:
        return -1.0, -1
    score, number = max(scores)
    _publish(output / f"epoch_{number}", f"epoch_{number}", output / BEST)
    return float(score), number


def remove_leftovers(output: Path) -> None:
    """Removes what a training that was killed had not finished writing: hidden files and folders, `.….tmp`."""
    for folder in (
        output,
        output / "checkpoints",
        output / BEST,
        *(output / f"epoch_{n}" for n in saved_epochs(output)),
    ):
        for place in (folder, folder / STATIC_GRAPH):
            for path in place.glob(".*.tmp"):
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)


def _publish(folder: Path, name: str, best: Path) -> None:
    """Puts the files of `folder` into `best`; they share their place on the disk where the file system can."""
    best.mkdir(exist_ok=True)
    for made in (BUNDLE, STATIC_GRAPH):
        shutil.rmtree(best / made, ignore_errors=True)
    for suffix in SUFFIXES:
        source, target = folder / f"{name}.{suffix}", best / f"{BEST}.{suffix}"
        if not source.is_file():
            target.unlink(missing_ok=True)
            continue
        temporary = best / f".{target.name}.tmp"
        temporary.unlink(missing_ok=True)
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)
        temporary.replace(target)
